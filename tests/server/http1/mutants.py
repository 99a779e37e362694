"""Conversations with something wrong in them, made of the good ones by a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.server.http1.conversations import CONVERSATIONS

__all__ = ["mutants"]

_SPICE = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\0",
    b":",
    b",",
    b";",
    b"0",
    b"-1",
    b"0x1",
    b"\xff",
    b"%",
    b"%0a",
    b"Host: y\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"HTTP/1.0",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n",
]
_BASES = sorted(
    {
        data.replace(b"/v3/kv/range", b"/version")
        for data, _ in CONVERSATIONS.values()
        if len(data) < 1000
    }
)
"""Of pages alone, whose answers do not depend on when a client leaves."""


def mutants(seed: int, count: int) -> Iterator[bytes]:
    source = random.Random(seed)
    for _ in range(count):
        data = source.choice(_BASES)
        for _ in range(source.choice((1, 1, 1, 2, 3, 5))):
            data = _mutated(source, data)
        yield data


def _mutated(source: random.Random, data: bytes) -> bytes:
    at = source.randrange(len(data) + 1)
    end = min(len(data), at + source.choice((1, 1, 2, 5, 20)))
    match source.randrange(6):
        case 0:
            return data[:at] + source.choice(_SPICE) + data[at:]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:at] + source.choice(_SPICE) + data[end:]
        case 3:
            return data[:at] + source.randbytes(1) + data[end:]
        case 4:
            return data[:at] + data[at:end] * 2 + data[end:]
        case _:
            other = source.choice(_BASES)
            return data[:at] + other[source.randrange(len(other)) :]
