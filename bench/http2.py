"""A small gRPC client over HTTP/2, so that the client is not what limits a measurement.

One call at a time on a connection, without TLS. It leaves out what a benchmark on the loopback can
do without: answers' headers are not decoded (a call that ends without a message has failed), and
requests stay below the 64 KiB that a server takes without being asked.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

__all__ = ["CallFailed", "Connection", "connect"]

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
WINDOW_UPDATE = 8
INITIAL_WINDOW_SIZE = 4
LARGEST_WINDOW = 2**31 - 1
HANDSHAKE_WINDOW = 65_535


class CallFailed(Exception):
    """The call ended without an answer."""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


_PREFACE = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + _frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
    + _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - HANDSHAKE_WINDOW))
)


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field that no table remembers (RFC 7541, 6.2.2), each part below 127 bytes."""
    assert len(name) < 127
    assert len(value) < 127
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def _headers(path: str, authority: str) -> bytes:
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    return b"".join(_literal(name.encode(), value.encode()) for name, value in fields.items())


class Connection(asyncio.Protocol):
    """One connection; `connect` makes it."""

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._body = bytearray()
        self._stream = -1
        self._answer: asyncio.Future[bytes] | None = None
        self._last: bytes | None = None
        self._on_message: Callable[[bytes], None] | None = None
        self._block: dict[str, bytes] = {}

    def unary(self, path: str, message: bytes) -> asyncio.Future[bytes]:
        """Call a method; the future is its answer. Raises CallFailed through it."""
        self._answer = asyncio.get_running_loop().create_future()
        self._last = None
        self._send(path, message, END_STREAM)
        return self._answer

    def stream(self, path: str, message: bytes, on_message: Callable[[bytes], None]) -> None:
        """Begin a stream with one message and tell every answer to `on_message`, until `close`."""
        self._on_message = on_message
        self._send(path, message, 0)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _send(self, path: str, message: bytes, flags: int) -> None:
        assert self._transport is not None
        block = self._block.get(path)
        if block is None:
            block = self._block[path] = _headers(path, self._authority)
        self._stream += 2
        body = struct.pack(">BI", 0, len(message)) + message
        self._body.clear()
        self._transport.write(
            _frame(HEADERS, END_HEADERS, self._stream, block)
            + _frame(DATA, flags, self._stream, body)
        )

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_PREFACE)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the connection was lost: {error}")

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        at, size = 0, len(received)
        while size - at >= 9:
            word, flags, stream = struct.unpack_from(">IBI", received, at)
            end = at + 9 + (word >> 8)
            if end > size:
                break
            self._take(word & 0xFF, flags, stream, received[at + 9 : end])
            at = end
        del received[:at]

    # --- frames

    def _take(self, kind: int, flags: int, stream: int, payload: bytearray) -> None:
        assert self._transport is not None
        if kind == DATA and stream == self._stream:
            assert not flags & PADDED
            self._body += payload
            self._take_messages()
        elif kind == SETTINGS and not flags & ACK:
            self._transport.write(_frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self._transport.write(_frame(PING, ACK, 0, bytes(payload)))
        elif kind in (RST_STREAM, GOAWAY):
            self._fail(f"the server ended the call with a frame of type {kind}")
        if kind in (DATA, HEADERS) and flags & END_STREAM and stream == self._stream:
            self._end()

    def _take_messages(self) -> None:
        body = self._body
        while len(body) >= 5:
            end = 5 + int.from_bytes(body[1:5], "big")
            if len(body) < end:
                return
            self._last = bytes(body[5:end])
            del body[:end]
            if self._on_message is not None:
                self._on_message(self._last)

    def _end(self) -> None:
        if self._last is None:
            self._fail("the call ended without an answer")
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(self._last)

    def _fail(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(CallFailed(why))


async def connect(port: int) -> Connection:
    """Connect to a server on the loopback. Raises OSError."""
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(f"127.0.0.1:{port}"), "127.0.0.1", port
    )
    return connection
