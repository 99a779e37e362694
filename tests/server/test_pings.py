"""Keep-alive pings of clients: answered, and punished as etcd does, on the native transport.

grpc-go's rule: data that was sent pardons; else more than two pings too early end the connection,
early being 5 s with a stream open and 2 h without.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kvserver import KvServer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACK = 1
ENHANCE_YOUR_CALM = 11


def frame(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags, 0, 0, 0, 0)) + payload


def read_frame(file: socket.SocketIO) -> tuple[int, int, bytes]:
    head = _read(file, 9)
    return head[3], head[4], _read(file, int.from_bytes(head[:3], "big"))


def _read(file: socket.SocketIO, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = file.read(size - len(data))
        assert more, "the server closed the connection"
        data += more
    return data


def ping_often(target: str, times: int) -> list[tuple[int, bytes]]:
    """Ping without a stream; the frames other than SETTINGS that came, up to a GOAWAY."""
    host, port = target.split(":")
    got: list[tuple[int, bytes]] = []
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        file = connection.makefile("rb", buffering=0)
        connection.sendall(PREFACE + frame(SETTINGS, 0, b""))
        for number in range(times):
            connection.sendall(frame(PING, 0, struct.pack(">Q", number)))
            while True:
                kind, flags, answer = read_frame(file)
                if kind == GOAWAY:
                    got.append((GOAWAY, answer))
                    file.close()
                    return got
                if kind == PING and flags & ACK:
                    got.append((PING, answer))
                    break
        file.close()
    return got


@pytest.fixture(params=["native", "grpcio"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KvServer]:
    served = KvServer(tmp_path / "data", ["--in-memory", "--transport", request.param])
    yield served
    served.stop()


def test_pings_without_a_stream(server: KvServer) -> None:
    got = ping_often(server.target, 50)
    answered = [payload for kind, payload in got if kind == PING]
    assert answered == [struct.pack(">Q", number) for number in range(len(answered))]
    if "native" in server.flags:
        kind, reason = got[-1]
        assert (kind, reason[4:]) == (
            GOAWAY,
            struct.pack(">I", ENHANCE_YOUR_CALM) + b"too_many_pings",
        )
        assert len(answered) == 4
    else:
        assert len(answered) == 50
