"""A request of plain HTTP on a port that speaks gRPC over HTTP/2: it is told so.

It is heard to its end first, and answered with a text, as a server of HTTP answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvstore.server.transports.http2.header_block import encode_fields
from kvstore.server.transports.http2.stream import Stream
from kvstore.server.transports.rpc.head import Refusal
from kvstore.server.transports.rpc.replies import status_block

if TYPE_CHECKING:
    from kvstore.server.transports.rpc.calls import Calls

__all__ = ["PlainCall"]


class PlainCall:
    __slots__ = ("_calls", "_refusal", "_stream", "is_done")

    def __init__(self, calls: Calls, stream: Stream, refusal: Refusal) -> None:
        self._calls, self._stream, self._refusal = calls, stream, refusal
        self.is_done = False
        stream.call = self

    def data(self, data: bytes, *, is_end: bool) -> None:
        connection = self._calls.connection
        connection.credit(self._stream, len(data))
        if not is_end or self.is_done:
            return
        self.is_done = True
        code, message, http_status, _ = self._refusal
        head = [(b":status", b"%d" % http_status), (b"content-type", b"text/plain; charset=utf-8")]
        connection.send_headers(self._stream, encode_fields(head))
        connection.send_data(self._stream, message.encode("utf-8", "surrogateescape") + b"\n")
        connection.send_end(self._stream, status_block(code, message))

    def cancel(self) -> None:
        self.is_done = True

    def stop(self) -> None:
        """It ends by itself."""

    def writable(self) -> None:
        """Nothing waits for it."""
