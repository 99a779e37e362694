"""Whatever clients say, wherever it is logged: each record is one line, and says it escaped."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pytest

from kvstore.server.config import parse_config
from kvstore.server.log import set_up_logging
from kvstore.server.method import Call, Kind, Method
from kvstore.server.transports.web.messages import Answer, Handler, Site
from tests.support.http_site import HttpSite, get, post
from tests.support.logs import restored_logging

HOSTILE = "x\n\r\x1b[2J\0\x85\u2028\u202e2026-01-02T03:04:05.678Z INFO  server/app.py:1 forged"
FORMATS = ["text", "json"]


class Broken:
    """A site with a bug that shows what it was asked, as a message of an exception may."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def begin(self, answer: Answer) -> Handler | None:
        request = answer.request
        if "broken" in request.path:
            raise RuntimeError(f"cannot serve {request.path} {request.fields}")
        return self._site.begin(answer)


@pytest.fixture(params=FORMATS)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """Where the server logs; what is read of it is without the lines of tracebacks."""
    path = tmp_path / "log"
    format: Literal["text", "json"] = request.param

    def records() -> list[str]:
        text = path.read_bytes().decode()
        lines = text.split("\n")
        assert lines.pop() == ""
        assert all(line.isprintable() for line in lines)
        for line in lines:
            if format == "json":
                assert json.loads(line)["msg"]
        return [line for line in lines if not line.startswith("    ")]

    with restored_logging():
        set_up_logging(format=format, outputs=(str(path),))
        yield records


@pytest.fixture
def site() -> Iterator[HttpSite]:
    site = HttpSite(parse_config([]), wrap=Broken)
    yield site
    site.close()


class TestPages:
    @pytest.mark.parametrize("kind", ["livez", "readyz"])
    def test_names_of_checks(self, site: HttpSite, log: Callable[[], list[str]], kind: str) -> None:
        site.ask(get(f"/{kind}?exclude={quote(HOSTILE)}&exclude=y%0A"))
        (record,) = log()
        assert "no such checks" in record
        assert "forged" in record

    @pytest.mark.parametrize("kind", ["livez", "readyz"])
    def test_names_of_checks_that_do_not_end(
        self, site: HttpSite, log: Callable[[], list[str]], kind: str
    ) -> None:
        site.ask(get(f"/{kind}?exclude={'x' * 500_000}"))
        (record,) = log()
        assert len(record) < 2_000

    def test_a_bug_with_a_path_and_fields(
        self, site: HttpSite, log: Callable[[], list[str]]
    ) -> None:
        agent = "User-Agent: curl\x85\u00a0[31m"
        head, _ = site.ask(get(f"/broken{quote(HOSTILE)}", agent.encode().decode("latin-1")))
        assert head.startswith(b"HTTP/1.1 500")
        (record,) = log()
        assert "failed" in record

    def test_what_is_refused_is_not_logged(
        self, site: HttpSite, log: Callable[[], list[str]]
    ) -> None:
        body = json.dumps({HOSTILE: HOSTILE, "key": HOSTILE})
        for request in (
            get(f"/{quote(HOSTILE)}"),
            get("/version", f"X: {quote(HOSTILE)}", "Host: a b"),
            get("/version", method="FORGED"),
            post("/v3/kv/range", body),
            post("/v3/kv/range", "{}", f"Grpc-Timeout: {quote(HOSTILE)}"),
            post(f"/v3/{quote(HOSTILE)}", "{}"),
        ):
            site.ask(request)
        assert log() == []


class TestGateway:
    def test_a_bug_with_a_request(self, log: Callable[[], list[str]]) -> None:
        from kvstore.proto import rpc_pb2
        from kvstore.server.gateway.gateway import Gateway
        from kvstore.server.stats import CallStats

        def broken(request: rpc_pb2.RangeRequest, call: Call) -> None:
            raise RuntimeError(f"cannot serve {request.key.decode()} {call.metadata}")

        path = "/etcdserverpb.KV/Range"
        kinds = rpc_pb2.RangeRequest, rpc_pb2.RangeResponse
        table = {path: Method(path, Kind.UNARY, *kinds, broken)}

        class OnlyBroken:
            gateway = Gateway(table, CallStats(table), max_message_bytes=10_000)

            def begin(self, answer: Answer) -> Handler | None:
                return self.gateway.begin(answer, answer.request.path)

        site = HttpSite(parse_config([]), wrap=lambda site: OnlyBroken())
        try:
            key = b64encode(HOSTILE.encode()).decode()
            token = "Authorization: a\x85b"
            head, _ = site.ask(post("/v3/kv/range", json.dumps({"key": key}), token))
            assert head.startswith(b"HTTP/1.1 500")
        finally:
            site.close()
        (record,) = log()
        assert "/etcdserverpb.KV/Range failed" in record
