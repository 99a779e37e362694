"""HTTP/1.1 on the port of gRPC, on its own addresses, and until the end of a server."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.client.grpc import GrpcStore
from kvstore.keys import KeyRange
from kvstore.types import PutOp, RangeOp, Txn
from tests.support.kvserver import KvServer


def get(url: str, data: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, data, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KvServer]:
    served = KvServer(tmp_path_factory.mktemp("one") / "data", ["--in-memory"])
    yield served
    served.stop()


class TestOnePort:
    def test_what_one_writes_the_other_reads(self, server: KvServer) -> None:
        body = b'{"key": "aw==", "value": "dg=="}'
        status, answer = get(f"http://{server.target}/v3/kv/put", body)
        assert (status, "revision" in json.loads(answer)["header"]) == (200, True)
        with GrpcStore(server.target, timeout_s=10) as store:
            (kv,) = store.range(RangeOp(KeyRange(b"k"))).kvs
            assert kv.value == b"v"
            store.txn(Txn((), (PutOp(b"k", b"w"),)))
        _, answer = get(f"http://{server.target}/v3/kv/range", b'{"key": "aw=="}')
        assert json.loads(answer)["kvs"][0]["value"] == "dw=="

    @pytest.mark.parametrize("path", ["health", "livez", "readyz", "version", "debug/vars"])
    def test_pages(self, server: KvServer, path: str) -> None:
        assert get(f"http://{server.target}/{path}")[0] == 200

    def test_calls_of_both_are_counted(self, server: KvServer) -> None:
        get(f"http://{server.target}/v3/kv/range", b'{"key": "aw=="}')
        _, page = get(f"http://{server.target}/metrics")
        started = [
            line
            for line in page.decode().splitlines()
            if line.startswith("grpc_server_started_total") and 'grpc_method="Range"' in line
        ]
        assert float(started[0].rpartition(" ")[2]) >= 1


class TestOwnAddresses:
    @pytest.mark.parametrize("transport", ["native", "grpcio"])
    def test_http_moves_and_metrics_are_apart(self, tmp_path: Path, transport: str) -> None:
        flags = ["--in-memory", "--transport", transport]
        flags += ["--listen-client-http-urls", "http://127.0.0.1:0"]
        server = KvServer(
            tmp_path / "data", [*flags, "--listen-metrics-urls", "http://127.0.0.1:0"]
        )
        try:
            pages = server.logged(r"serving HTTP on http://(\S+)")
            metrics = server.logged(r"serving metrics and health on http://(\S+)")
            assert get(f"http://{pages}/version")[0] == 200
            assert get(f"http://{metrics}/health")[0] == 200
            assert get(f"http://{metrics}/version")[0] == 404
            with GrpcStore(server.target, timeout_s=10) as store:
                store.txn(Txn((), (PutOp(b"k", b"v"),)))
            with pytest.raises((OSError, http.client.HTTPException)):
                get(f"http://{server.target}/version")
        finally:
            server.stop()


def test_a_stream_over_http_ends_with_the_server(tmp_path: Path) -> None:
    server = KvServer(tmp_path / "data", ["--in-memory"])
    host, port = server.target.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        body = b'{"create_request": {"key": "aw=="}}'
        head = b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        client.sendall(head + body)
        seen = b""
        while b"created" not in seen:
            seen += client.recv(65536)
        server.stop()
        while data := client.recv(65536):
            seen += data
    assert b"server stopped" in seen
