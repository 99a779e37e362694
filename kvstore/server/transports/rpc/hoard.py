"""What is kept of unary requests of one connection that have not come whole.

Above `HOARD_BYTES` only the oldest of them is given more window. So the memory is bounded, and yet
one request after the other can come to its end, however many were begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvstore.server.transports.http2.errors import ConnectionFault
from kvstore.server.transports.http2.frames import ErrorCode
from kvstore.server.transports.http2.stream import Stream

if TYPE_CHECKING:
    from kvstore.server.transports.rpc.calls import Calls

__all__ = ["Hoard"]

HOARD_BYTES: Final = 32 * 1024 * 1024
MOST_BYTES: Final = 160 * 1024 * 1024
"""The first windows of so many streams are no accident: the connection ends."""


class Hoard:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._owed: dict[Stream, int] = {}  # not yet given back, the oldest first
        self._kept: dict[Stream, int] = {}
        self._bytes = 0

    def __repr__(self) -> str:
        return f"Hoard({len(self._kept)} requests, {self._bytes} bytes)"

    def add(self, stream: Stream, size: int) -> None:
        """`size` bytes of a request came and are kept. Raises ConnectionFault."""
        self._bytes += size
        if self._bytes > MOST_BYTES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too much of unfinished requests")
        self._kept[stream] = self._kept.get(stream, 0) + size
        if self._bytes <= HOARD_BYTES or next(iter(self._kept)) is stream:
            self._calls.connection.credit(stream, size)
        else:
            self._owed[stream] = self._owed.get(stream, 0) + size

    def release(self, stream: Stream) -> None:
        """What is kept of a request was used, and more of it may come."""
        owed = self._owed.get(stream, 0)
        self.remove(stream)
        self._calls.connection.credit(stream, owed)

    def remove(self, stream: Stream) -> None:
        """The request is whole, or not wanted any more."""
        kept = self._kept.pop(stream, 0)
        if not kept:
            return
        self._bytes -= kept
        self._owed.pop(stream, None)
        if self._bytes <= HOARD_BYTES:
            for other, size in self._owed.items():
                self._calls.connection.credit(other, size)
            self._owed.clear()
        elif self._kept:
            oldest = next(iter(self._kept))
            self._calls.connection.credit(oldest, self._owed.pop(oldest, 0))
