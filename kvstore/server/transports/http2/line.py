"""Streams that have DATA to send and windows to send it in: who is next.

Those with little to say (a small answer, an event) and those with much stand in two lines, of which
each has every second turn. So what is little waits for no more than one turn of what is large for
each that came before it, and a flood of small answers takes no more than half from the large ones.
"""

from __future__ import annotations

from typing import Final

from kvstore.server.transports.http2.stream import Stream

__all__ = ["TURN_OF_STREAM_BYTES", "Line"]

TURN_OF_STREAM_BYTES: Final = 64 * 1024
"""What one stream may send in its turn; with no more than this to say it is short."""


class Line:
    """A stream whose own window is shut does not stand here."""

    __slots__ = ("_is_turn_of_short", "_long", "_short")

    def __init__(self) -> None:
        self._short: dict[int, Stream] = {}
        self._long: dict[int, Stream] = {}
        self._is_turn_of_short = True

    def __repr__(self) -> str:
        return f"Line({len(self._short)} short, {len(self._long)} long)"

    def __bool__(self) -> bool:
        return bool(self._short or self._long)

    def join(self, stream: Stream) -> None:
        """Stand at the end; who stands already keeps his place, but may turn out to be long."""
        if stream.id in self._long:
            return
        if stream.queued_bytes <= TURN_OF_STREAM_BYTES:
            self._short[stream.id] = stream
        else:
            self._short.pop(stream.id, None)
            self._long[stream.id] = stream

    def leave(self, stream: Stream) -> None:
        self._short.pop(stream.id, None)
        self._long.pop(stream.id, None)

    def next(self) -> Stream:
        """Take who is next out of the line. There must be one."""
        line = self._short if self._is_turn_of_short else self._long
        self._is_turn_of_short = not self._is_turn_of_short
        line = line or self._short or self._long
        return line.pop(next(iter(line)))
