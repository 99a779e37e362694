"""The same requests to our site and to a real etcd: the answers are the same bytes.

Not compared: ids and dates; `error` beside `code` and `message` and `kvstore` in /version, which
etcd 3.7 does not have; the blanks that Go's protojson puts in or leaves out from build to build,
and the line and column in its errors; so neither are lengths.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.server.config import parse_config
from tests.support.etcd import EtcdServer, EtcdVersion
from tests.support.http_site import HttpSite, Wire, get, post

PAGES = [
    *(
        get(path, method=method)
        for path in ("/health", "/version", "/livez", "/readyz/non_learner", "/nope", "/debug/vars")
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT")
        if (path, method) != ("/debug/vars", "GET")
    ),
    *map(
        get,
        (
            "/health?serializable=true",
            "/health?exclude=NOSPACE&exclude=CORRUPT",
            "/livez?verbose",
            "/livez?exclude=serializable_read&verbose",
            "/livez/serializable_read?verbose",
            "/readyz",
            "/readyz/linearizable_read",
            "/readyz/nope",
            "/livez/",
            "/health/",
            "/version/x",
            "/",
            "/v2/keys",
            "/v3alpha/kv/range",
            "/debug/pprof/",
            "//version",
            "/./version",
            "/v3/../version",
            "/v3",
            "/v3/",
            "/v3/nope",
            "http://elsewhere/version",
        ),
    ),
    get("/v3/kv/range", method="HEAD"),
    get("/v3beta/kv/range"),
    get("/version", "Connection: close"),
    get("/version", version="1.0"),
    get("/version", "Connection: keep-alive", version="1.0"),
    get("/version", "Origin: http://somewhere"),
    get("/version", "Expect: miracles"),
    get("/version") * 3,
    b"GET /version HTTP/1.1\r\n\r\n",
    b"GET /version HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
]

_WATCH = '{"create_request":{"key":"YQ==","start_revision":"3","prev_kv":true}}'

CALLS = [
    ("/v3/kv/put", '{"key":"YQ==","value":"MQ=="}'),
    ("/v3/kv/put", '{"key":"YQ==","value":"Mg==","prev_kv":true}'),
    ("/v3/kv/put", '{"key":"YQ==","value":"MQ==","lease":"77"}'),
    ("/v3/kv/range", '{"key":"YQ=="}'),
    ("/v3/kv/range", ""),
    ("/v3/kv/range", "{}"),
    ("/v3/kv/range", '{"key":"YQ==","keysOnly":true,"countOnly":false}'),
    ("/v3/kv/range", '{"key":1}'),
    ("/v3/kv/range", '{"key":"!!"}'),
    ("/v3/kv/range", '{"key":"YQ"}'),
    ("/v3/kv/range", '{"key":"_-8="}'),
    ("/v3/kv/range", '{"key"'),
    ("/v3/kv/range", "x"),
    ("/v3/kv/range", "[]"),
    ("/v3/kv/range", '"x"'),
    ("/v3/kv/range", "null"),
    ("/v3/kv/range", '{"key":null}'),
    ("/v3/kv/range", '{"key":"YQ==","nope":[1,{"a":2}]}'),
    ("/v3/kv/range", '{"key":"YQ==","limit":"abc"}'),
    ("/v3/kv/range", '{"key":"YQ==","limit":1.5}'),
    ("/v3/kv/range", '{"key":"YQ==","limit":1e2}'),
    ("/v3/kv/range", '{"key":"YQ==","limit":99999999999999999999}'),
    ("/v3/kv/range", '{"key":"YQ==","sort_order":"DESCEND"}'),
    ("/v3/kv/range", '{"key":"YQ==","sort_order":"NOPE"}'),
    ("/v3/kv/range", '{"key":"YQ==","sort_order":77}'),
    ("/v3/kv/range", '{"key":"YQ==","keys_only":"true"}'),
    ("/v3/kv/range", '{"key":"YQ=="} trailing'),
    ("/v3/kv/range", '{"key":"YQ==","key":"Yg=="}'),
    ("/v3/kv/range", '{"key":"YQ==",}'),
    ("/v3/kv/range", '{"key":"YQ==","revision":100}'),
    ("/v3/kv/deleterange", '{"key":"eg==","prev_kv":true}'),
    (
        "/v3/kv/txn",
        '{"compare":[{"key":"YQ==","target":"VERSION","result":"GREATER","version":"0"}],'
        '"success":[{"requestRange":{"key":"YQ=="}},'
        '{"request_put":{"key":"Yg==","value":"MQ=="}}]}',
    ),
    ("/v3/kv/txn", '{"compare":[{"key":"YQ==","version":"0","mod_revision":"3"}]}'),
    (
        "/v3/kv/txn",
        '{"success":[{"request_delete_range":{"key":"Yg=="}},{"request_txn":{}}]}',
    ),
    ("/v3/kv/txn", "{}"),
    ("/v3/kv/txn", '{"success":[{}]}'),
    ("/v3/kv/compaction", '{"revision":"2"}'),
    ("/v3/kv/compaction", '{"revision":"1"}'),
    ("/v3/lease/grant", '{"TTL":"500","ID":"99"}'),
    ("/v3/lease/grant", '{"TTL":5,"ID":99}'),
    ("/v3/kv/lease/timetolive", '{"ID":"98"}'),
    ("/v3/lease/leases", "{}"),
    ("/v3/kv/lease/leases", ""),
    ("/v3/lease/keepalive", '{"ID":"99"}'),
    ("/v3/lease/keepalive", '{"ID":"5"}{"ID":"6"}'),
    ("/v3/lease/keepalive", ""),
    ("/v3/lease/keepalive", "x"),
    ("/v3/lease/keepalive", '{"ID":"5"}x'),
    ("/v3/lease/keepalive", '{"ID":[]}'),
    ("/v3/lease/revoke", '{"ID":"99"}'),
    ("/v3/kv/lease/revoke", '{"ID":"99"}'),
    ("/v3/cluster/member/list", "{}"),
    ("/v3/nope/x", "{}"),
    ("/v3/kv/range/", "{}"),
    ("/v3//kv/range", "{}"),
    ("/v3beta/kv/range", '{"key":"YQ=="}'),
    ("/v3/kv%2Frange", '{"key":"YQ=="}'),
    ("/v3/kv/range?keys_only=true", '{"key":"YQ=="}'),
    ("/v3/kv/put", f'{{"key":"YQ==","value":"{"eHh4" * 533_000}"}}'),
    ("/v3/kv/put", f'{{"key":"YQ==","value":"{"eHh4" * 733_000}"}}'),
]

FIELDS = [
    ("Expect: 100-continue", '{"key":"YQ=="}'),
    ("Content-Type: text/plain", '{"key":"YQ=="}'),
    ("Authorization: token", '{"key":"YQ=="}'),
    ("Grpc-Timeout: x", '{"key":"YQ=="}'),
    ("Te: trailers", '{"key":"YQ=="}'),
    ("Te: trailers", "{}"),
    (
        "X-HTTP-Method-Override: GET\r\nContent-Type: application/x-www-form-urlencoded",
        '{"key":"YQ=="}',
    ),
    ("Connection: close", '{"key":"YQ=="}'),
]

WATCHES = {
    '{"create_request":{"key":"YQ=="}}': 1,
    '{"create_request":{"key":"YQ=="}}x': 1,
    '{"create_request":{"key":"YQ==","start_revision":"1"}}': 2,
    _WATCH: 2,
    _WATCH + '{"cancel_request":{"watch_id":"7"}}': 2,
}
"""What the client says -> how many messages come."""


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    server = EtcdServer(EtcdVersion.ETCD_37, tmp_path_factory.mktemp("etcd") / "data")
    deadline_monotonic_s = time.monotonic() + 30
    while b"not_decided" in (said := exchange(port_of(server), get("/version"))) or (
        b'"storage":"3.7' not in said
    ):
        assert time.monotonic() < deadline_monotonic_s
        time.sleep(0.02)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def ours() -> Iterator[HttpSite]:
    site = HttpSite(parse_config([]))
    yield site
    site.close()


def port_of(server: EtcdServer) -> int:
    return int(server.target.rpartition(":")[2])


def exchange(port: int, request: bytes) -> bytes:
    """All of the answer: the client half-closes only when it has had enough."""
    with Wire(port) as wire:
        wire.send(request)
        method = request.partition(b" ")[0]
        answers = request.count(b"HTTP/1.")
        said = b""
        wire.socket.settimeout(10)
        while said.count(b"HTTP/1.") - said.count(b"100 Continue") < answers or not _is_whole(
            said, is_head=method == b"HEAD"
        ):
            data = wire.socket.recv(65536)
            if not data:
                return said + b"<closed>"
            said += data
        wire.socket.settimeout(0.02)
        try:
            rest = wire.socket.recv(65536)
        except TimeoutError:
            return said
        return said + (rest or b"<closed>")


def _is_whole(said: bytes, *, is_head: bool) -> bool:
    last = said[said.rindex(b"HTTP/1.") :]
    head, end, body = last.partition(b"\r\n\r\n")
    if not end:
        return False
    if is_head:
        return True
    if b"Transfer-Encoding: chunked" in head:
        return bool(re.search(rb"(^|\r\n)0\r\n(Grpc[^\r]*\r\n)?\r\n$", body))
    length = re.search(rb"Content-Length: ([0-9]+)", head)
    return length is not None and len(body) >= int(length[1])


def shown(answer: bytes) -> str:
    """The answer without what is not compared."""
    text = answer.decode()
    text = re.sub(r"Date: [^\r]*", "Date", text)
    text = re.sub(r"Content-Length: [1-9][0-9]*", "Content-Length", text)
    text = re.sub(r"\r\n[0-9a-f]+\r\n\{", "\r\nsize\r\n{", text)
    text = re.sub(r'([,:]) (?=["{])', r"\1", text)
    text = re.sub(r'"(cluster_id|member_id|ID|leader)":"[0-9]{9,}"', r'"\1":id', text)
    text = re.sub(r'"(cluster_id|member_id)":"[0-9]+"', r'"\1":id', text)
    text = re.sub(r'"(name|peerURLs|clientURLs)":("default"|\["[^"]*"\])', r'"\1":mine', text)
    text = re.sub(r'("members":\[\{"ID":)("22"|id)', r"\1id", text)
    text = re.sub(r',"error":"(\\"|[^"])*"\}', "}", text)
    text = text.replace(',"kvstore":"0.0.0"', "")
    text = re.sub(r"proto:.(\(line 1:[0-9]+\): )?", "proto: ", text)
    return text.replace(" (line 1:1)", "")


class TestLikeEtcd:
    @pytest.mark.parametrize("request_bytes", PAGES, ids=lambda data: data[:60].decode())
    def test_pages_are_the_same(
        self, etcd: EtcdServer, ours: HttpSite, request_bytes: bytes
    ) -> None:
        theirs = exchange(port_of(etcd), request_bytes)
        assert shown(exchange(ours.port, request_bytes)) == shown(theirs)

    def test_calls_are_the_same(self, tmp_path: Path) -> None:
        """One after the other: each stands on those before."""
        server, site = (
            EtcdServer(EtcdVersion.ETCD_37, tmp_path / "data"),
            HttpSite(parse_config([])),
        )
        try:
            requests = [post(path, body) for path, body in CALLS]
            requests += [post("/v3/kv/range", body, fields) for fields, body in FIELDS]
            requests += [
                post("/v3/lease/keepalive", '{"ID":"5"}', version="1.0"),
                get("/v3/kv/range", "Content-Length: 2", method="PUT") + b"{}",
            ]
            for request in requests:
                theirs = exchange(port_of(server), request)
                assert shown(exchange(site.port, request)) == shown(theirs), request[:200]
        finally:
            site.close()
            server.kill()

    def test_watches_are_the_same(self, tmp_path: Path) -> None:
        server, site = (
            EtcdServer(EtcdVersion.ETCD_37, tmp_path / "data"),
            HttpSite(parse_config([])),
        )
        try:
            for body in ('{"key":"YQ=="}', '{"key":"YQ==","value":"PD4m"}'):
                for port in (port_of(server), site.port):
                    exchange(port, post("/v3/kv/put", body))
            for port in (port_of(server), site.port):
                exchange(port, post("/v3/kv/deleterange", '{"key":"YQ=="}'))
                exchange(port, post("/v3/kv/compaction", '{"revision":"2"}'))
            for body, count in WATCHES.items():
                theirs = self.messages(port_of(server), body, count)
                assert self.messages(site.port, body, count) == theirs
        finally:
            site.close()
            server.kill()

    def messages(self, port: int, body: str, count: int) -> list[str]:
        with Wire(port) as wire:
            wire.send(post("/v3/watch", body))
            head = wire.until(b"\r\n\r\n")
            return [shown(part) for part in (head, *(wire.chunk() for _ in range(count)))]


class TestLikeOldEtcd:
    """etcd 3.4 differs in the order of an error's names, in more pages, and in little else."""

    def test_calls_that_succeed_are_the_same(self, tmp_path: Path) -> None:
        server, site = (
            EtcdServer(EtcdVersion.ETCD_34, tmp_path / "data"),
            HttpSite(parse_config([])),
        )
        try:
            compared = 0
            for path, body in CALLS:
                request = post(path, body)
                theirs, mine = exchange(port_of(server), request), exchange(site.port, request)
                # 3.7 refuses a repeated name and two members of a union; an empty stream has no
                # type there.
                is_empty = mine.endswith(b"\r\n\r\n0\r\n\r\n")
                if b" 200 OK\r\n" in theirs and b" 200 OK\r\n" in mine and not is_empty:
                    assert shown(mine) == shown(theirs), request[:200]
                    compared += 1
            assert compared > 20
        finally:
            site.close()
            server.kill()
