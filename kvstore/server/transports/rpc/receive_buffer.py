"""What is kept of requests of one connection that have not come whole, or are not taken yet.

Above `MUCH_BYTES` only the oldest of those that need it is given more window. So the memory is
bounded, and yet one request after the other can come to its end, however many were begun. What is
whole and waits for something else, such as a client that takes no answers, needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvstore.server.transports.http2.errors import ConnectionFault
from kvstore.server.transports.http2.frames import ErrorCode
from kvstore.server.transports.http2.stream import Stream

if TYPE_CHECKING:
    from kvstore.server.transports.rpc.calls import Calls

__all__ = ["ReceiveBuffer"]

MUCH_BYTES: Final = 32 * 1024 * 1024
MOST_BYTES: Final = 160 * 1024 * 1024
"""The first windows of so many streams are no accident: the connection ends."""


class ReceiveBuffer:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._owed: dict[Stream, int] = {}  # not yet given back, the oldest first
        self._kept: dict[Stream, int] = {}
        self._line: dict[Stream, None] = {}  # of those, who needs window, the oldest first
        self._bytes = 0

    def __repr__(self) -> str:
        return f"ReceiveBuffer({len(self._kept)} requests, {self._bytes} bytes)"

    def keep(self, stream: Stream, size: int, owed: int, *, is_stuck: bool = False) -> None:
        """`size` bytes of requests on a stream are kept now, and `owed` more may be given back.

        `is_stuck`: more of the client's bytes would not get it on. Raises ConnectionFault.
        """
        before = self._kept.get(stream, 0)
        self._bytes += size - before
        if self._bytes > MOST_BYTES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too much of unfinished requests")
        if size:
            self._kept[stream] = size
        elif before:
            del self._kept[stream]
        owed += self._owed.pop(stream, 0)
        if not size or is_stuck:
            self._line.pop(stream, None)
        elif owed:
            self._line.setdefault(stream)
        if not size or self._bytes <= MUCH_BYTES or next(iter(self._line), None) is stream:
            self._calls.connection.credit(stream, owed)
        elif owed:
            self._owed[stream] = owed
        if size < before or is_stuck:
            self._give_back()

    def remove(self, stream: Stream) -> None:
        """Nothing of it is kept any more, or will be."""
        if self._kept or self._owed:
            self._bytes -= self._kept.pop(stream, 0)
            self._owed.pop(stream, None)
            self._line.pop(stream, None)
            self._give_back()

    def _give_back(self) -> None:
        if self._bytes <= MUCH_BYTES:
            for other, size in self._owed.items():
                self._calls.connection.credit(other, size)
            self._owed.clear()
        elif self._line:
            oldest = next(iter(self._line))
            self._calls.connection.credit(oldest, self._owed.pop(oldest, 0))
