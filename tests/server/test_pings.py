"""Keep-alive pings of clients are answered and never punished, with or without streams."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from tests.support.kvserver import KvServer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACK = 1


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


def test_fifty_pings_in_a_row_without_a_stream_are_all_answered(tmp_path: Path) -> None:
    server = KvServer(tmp_path / "data", ["--in-memory"])
    try:
        host, port = server.target.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            file = connection.makefile("rb", buffering=0)
            connection.sendall(PREFACE + frame(SETTINGS, 0, b""))
            for number in range(50):
                payload = struct.pack(">Q", number)
                connection.sendall(frame(PING, 0, payload))
                while True:
                    kind, flags, answer = read_frame(file)
                    assert kind != GOAWAY, answer
                    if kind == PING and flags & ACK:
                        assert answer == payload
                        break
            file.close()
    finally:
        server.stop()
