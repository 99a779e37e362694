"""Calls of the gateway over real sockets and a real store."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from kvstore.server.config import parse_config
from kvstore.server.gateway import calls, streams
from kvstore.server.gateway.context import call_of
from kvstore.server.gateway.routes import ROUTES
from kvstore.server.stats import MethodStats
from kvstore.server.status import Code
from kvstore.server.transports.web.messages import Request
from kvstore.server.transports.web.target import Target
from tests.support.http_site import HttpSite, Wire, get, post


def ask(site: HttpSite, path: str, document: Any, *fields: str) -> tuple[int, Any]:
    head, body = site.ask(post(path, json.dumps(document), *fields))
    return int(head.split()[1]), json.loads(body)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def stats(site: HttpSite, name: str) -> MethodStats:
    return site.stats.methods["/etcdserverpb." + name]


def until(is_so: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline_monotonic_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_monotonic_s
        time.sleep(0.005)


class TestUnary:
    def test_a_put_is_read_back(self, site: HttpSite) -> None:
        status, put = ask(site, "/v3/kv/put", {"key": b64(b"a"), "value": b64(b"1")})
        assert (status, put["header"]["revision"]) == (200, "2")
        status, found = ask(site, "/v3/kv/range", {"key": b64(b"a")})
        assert found["kvs"] == [
            {
                "key": b64(b"a"),
                "create_revision": "2",
                "mod_revision": "2",
                "version": "1",
                "value": b64(b"1"),
            }
        ]
        assert found["count"] == "1"

    def test_a_range_that_is_read_in_slices_is_whole(self, site: HttpSite) -> None:
        for number in range(600):
            ask(site, "/v3/kv/put", {"key": b64(b"k%04d" % number), "value": b64(b"v" * 3000)})
        _, found = ask(site, "/v3/kv/range", {"key": b64(b"k"), "range_end": b64(b"l")})
        assert len(found["kvs"]) == int(found["count"]) == 600

    def test_the_old_prefix_is_the_same(self, site: HttpSite) -> None:
        assert ask(site, "/v3beta/kv/put", {"key": b64(b"a")})[0] == 200

    def test_an_error_has_the_text_under_both_names(self, site: HttpSite) -> None:
        status, error = ask(site, "/v3/kv/put", {"key": b64(b"a"), "lease": 7})
        text = "etcdserver: requested lease not found"
        assert (status, error) == (404, {"code": 5, "message": text, "error": text})

    @pytest.mark.parametrize("path", sorted(ROUTES))
    def test_every_path_of_etcd_is_there(self, site: HttpSite, path: str) -> None:
        status, body = site.ask(get(path))[0].split()[1], site.ask(get(path))[1]
        assert (status, json.loads(body)["message"]) == (b"501", "Method Not Allowed")
        if ROUTES[path] not in site.stats.methods:
            status, error = ask(site, path, {})
            error = error if "code" in error else error["error"]
            assert (status, error["code"]) == (501, Code.UNIMPLEMENTED)
            assert error["message"].startswith("unknown ")

    def test_a_message_that_is_too_large_is_refused(self, site: HttpSite) -> None:
        status, error = ask(site, "/v3/kv/put", {"key": b64(b"a"), "value": b64(b"x" * 2_200_000)})
        assert (status, error["code"]) == (429, 8)
        assert error["message"] == "grpc: received message larger than max (2200008 vs. 2097152)"

    def test_a_body_without_end_is_refused(self, site: HttpSite) -> None:
        with site.wire() as wire:
            wire.send(get("/v3/kv/put", "Transfer-Encoding: chunked", method="POST"))
            chunk = b"%x\r\n%b\r\n" % (65536, b" " * 65536)
            try:
                for _ in range(1000):
                    wire.send(chunk)
            except OSError:
                pass
            else:
                pytest.fail("the whole body was taken")
            assert b"429 Too Many Requests" in wire.rest()

    def test_a_deadline_is_kept(self, site: HttpSite) -> None:
        status, error = ask(site, "/v3/kv/range", {}, "Grpc-Timeout: x")
        assert (status, error["message"]) == (400, "invalid grpc-timeout: x")
        status, error = ask(site, "/v3/watch", {}, "Grpc-Timeout: 10m")
        assert status == 504
        assert error["error"]["message"] == "context deadline exceeded"

    def test_a_call_counts_as_one_of_grpc(self, site: HttpSite) -> None:
        ask(site, "/v3/kv/put", {"key": b64(b"a")})
        ask(site, "/v3/kv/put", {})
        ask(site, "/v3/kv/put", {"key": 1})
        put = stats(site, "KV/Put")
        assert (put.started, put.received, put.sent) == (2, 2, 1)
        assert (put.handled[Code.OK], put.handled[Code.INVALID_ARGUMENT]) == (1, 1)

    def test_it_can_be_turned_off(self) -> None:
        site = HttpSite(parse_config(["--enable-grpc-gateway=false"]))
        try:
            head, body = site.ask(post("/v3/kv/range", "{}"))
            assert head.startswith(b"HTTP/1.1 404 ")
            assert body == b"404 page not found\n"
        finally:
            site.close()


class TestBugs:
    @pytest.mark.parametrize(
        ("path", "module"), [("/v3/kv/range", calls), ("/v3/lease/keepalive", streams)]
    )
    def test_one_in_reading_a_body_costs_one_request(
        self, site: HttpSite, monkeypatch: pytest.MonkeyPatch, path: str, module: ModuleType
    ) -> None:
        def broken(*args: object, **kwargs: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(module, "first_document", broken)
        with site.wire() as wire:
            for _ in range(2):
                wire.send(post(path, "{}"))
                head, body = wire.answer()
                assert head.startswith(b"HTTP/1.1 500")
                assert b"a bug" not in body


class TestMetadata:
    def test_fields_become_metadata(self) -> None:
        fields = [
            ("authorization", "token"),
            ("grpc-metadata-hasleader", "true"),
            ("grpc-metadata-x-bin", "YQ"),
            ("user-agent", "curl"),
        ]
        path = "/v3/kv/range"
        request = Request("POST", path, Target("", path, ""), fields)
        request.peer = "ipv4:127.0.0.1:5"
        call = call_of(request)
        assert call.metadata == {"authorization": "token", "hasleader": "true", "x-bin": b"a"}
        assert call.peer == "ipv4:127.0.0.1:5"


class TestKeepAlive:
    def test_it_ends_after_the_requests_of_the_body(self, site: HttpSite) -> None:
        ask(site, "/v3/lease/grant", {"ID": "7", "TTL": "60"})
        with site.wire() as wire:
            wire.send(post("/v3/lease/keepalive", '{"ID":"7"}\n{"ID":8}'))
            wire.until(b"\r\n\r\n")
            alive, gone, end = wire.chunk(), wire.chunk(), wire.chunk()
            assert alive.endswith(b"}\n")
            assert json.loads(alive)["result"]["TTL"] == "60"
            assert json.loads(gone)["result"].keys() == {"header", "ID"}
            assert end == b""
            wire.send(get("/version"))
            assert wire.answer()[0].startswith(b"HTTP/1.1 200")
        keep_alive = stats(site, "Lease/LeaseKeepAlive")
        assert (keep_alive.received, keep_alive.sent, keep_alive.handled[Code.OK]) == (2, 2, 1)

    def test_requests_may_come_slowly_and_in_pieces(self, site: HttpSite) -> None:
        with site.wire() as wire:
            wire.send(get("/v3/lease/keepalive", "Transfer-Encoding: chunked", method="POST"))
            wire.send(b'8\r\n{"ID":"5\r\n')
            wire.send(b'3\r\n"}{\r\n')
            wire.until(b"\r\n\r\n")
            assert json.loads(wire.chunk())["result"]["ID"] == "5"
            wire.send(b'7\r\n"ID":6}\r\n')
            assert json.loads(wire.chunk())["result"]["ID"] == "6"
            wire.send(b"0\r\n\r\n")
            assert wire.chunk() == b""

    @pytest.mark.parametrize("body", ["", "x", '{"ID":[]}'])
    def test_a_body_that_asks_nothing_gets_nothing(self, site: HttpSite, body: str) -> None:
        head, answer = site.ask(post("/v3/lease/keepalive", body))
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Type" not in head
        assert answer == b""

    def test_more_requests_than_fit_wait_their_turn(self, site: HttpSite) -> None:
        count = 5000
        _, body = site.ask(post("/v3/lease/keepalive", '{"ID":"1"}' * count))
        assert len(body.splitlines()) == count

    def test_a_document_without_end_is_refused(self, site: HttpSite) -> None:
        body = '{"ID":"' + "1" * (5 * 1024 * 1024)
        status, error = ask_raw(site, post("/v3/lease/keepalive", body))
        assert (status, error["error"]["code"]) == (429, 8)


def ask_raw(site: HttpSite, request: bytes) -> tuple[int, Any]:
    head, body = site.ask(request)
    return int(head.split()[1]), json.loads(body)


class TestWatch:
    def watch(self, wire: Wire, *documents: Any) -> None:
        wire.send(post("/v3/watch", "".join(map(json.dumps, documents))))
        wire.until(b"\r\n\r\n")

    def create(self, **options: Any) -> dict[str, Any]:
        return {"create_request": {"key": b64(b"a"), **options}}

    def test_each_message_is_one_chunk_and_one_line(self, site: HttpSite) -> None:
        with site.wire() as wire:
            self.watch(wire, self.create())
            created = wire.chunk()
            assert created.endswith(b"\n")
            assert json.loads(created)["result"]["created"] is True
            for number in range(3):
                ask(site, "/v3/kv/put", {"key": b64(b"a"), "value": b64(b"%d" % number)})
                chunk = wire.chunk()
                assert chunk.count(b"\n") == 1
                (event,) = json.loads(chunk)["result"]["events"]
                assert event["kv"]["value"] == b64(b"%d" % number)
                assert "type" not in event
            ask(site, "/v3/kv/deleterange", {"key": b64(b"a")})
            (event,) = json.loads(wire.chunk())["result"]["events"]
            assert event == {"type": "DELETE", "kv": {"key": b64(b"a"), "mod_revision": "5"}}

    def test_the_head_comes_with_the_first_message(self, site: HttpSite) -> None:
        with site.wire() as wire:
            wire.send(post("/v3/watch", "{}"))
            until(lambda: stats(site, "Watch/Watch").received == 1)
            wire.socket.settimeout(0.05)
            with pytest.raises(TimeoutError):
                wire.socket.recv(1)

    def test_it_is_closed_with_the_connection(self, site: HttpSite) -> None:
        with site.wire() as wire:
            self.watch(wire, self.create(), self.create())
            wire.chunk()
            wire.chunk()
            assert site.call(lambda: site.store.status().watchers) == 2
        until(lambda: site.call(lambda: site.store.status().watchers) == 0)
        assert stats(site, "Watch/Watch").handled[Code.CANCELED] == 1
        assert not site.connections

    def test_it_is_closed_when_the_client_half_closes(self, site: HttpSite) -> None:
        with site.wire() as wire:
            self.watch(wire, self.create())
            wire.chunk()
            wire.half_close()
            assert wire.chunk() == b""
            assert wire.rest() == b""
        until(lambda: site.call(lambda: site.store.status().watchers) == 0)

    @pytest.mark.parametrize("said", ["", '{"create_request":{"k', '{"create_request":{}}'])
    def test_it_is_closed_when_the_client_leaves_in_the_middle_of_its_body(
        self, site: HttpSite, said: str
    ) -> None:
        with site.wire() as wire:
            wire.send(post("/v3/watch", said + " " * 9)[:-9])
            until(lambda: bool(site.connections))
            wire.half_close()
            wire.rest()
        until(lambda: not site.connections)
        assert site.call(lambda: site.store.status().watchers) == 0

    def test_a_client_that_does_not_read_is_not_written_to_without_end(
        self, site: HttpSite
    ) -> None:
        with site.wire() as wire:
            self.watch(wire, self.create())
            wire.chunk()
            (connection,) = site.connections
            value = b64(b"x" * 100_000)
            for _ in range(100):
                ask(site, "/v3/kv/put", {"key": b64(b"a"), "value": value})
            held = site.call(lambda: connection._transport.get_write_buffer_size())
            assert held < 1024 * 1024
            revisions = []
            while len(revisions) < 100:
                events = json.loads(wire.chunk())["result"]["events"]
                revisions += [int(event["kv"]["mod_revision"]) for event in events]
            assert revisions == list(range(2, 102))

    def test_a_stopping_server_ends_it_with_an_error(self, site: HttpSite) -> None:
        with site.wire() as wire:
            self.watch(wire, self.create())
            wire.chunk()
            site.call(lambda: [one.drain() for one in list(site.connections)])
            error = json.loads(wire.chunk())["error"]
            assert (error["code"], error["grpc_code"], error["http_code"]) == (14, 14, 503)
            assert wire.chunk() == b""
            assert wire.rest() == b""
