"""One stream of a connection, while it is open in either direction.

What is to be sent waits in `queue` for the windows of the stream and of the connection, and for a
peer that reads; `end` is the block of trailers that follows the last of it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["Stream"]


class Stream:
    __slots__ = (
        "call",
        "content_length",
        "credit",
        "end",
        "id",
        "is_closed",
        "is_local_closed",
        "is_remote_closed",
        "lingers",
        "open_bytes",
        "queue",
        "queued_bytes",
        "received_bytes",
        "recv_window",
        "window",
    )

    def __init__(
        self,
        stream_id: int,
        window: int,
        recv_window: int,
        is_remote_closed: bool = False,
        open_bytes: int = 0,
    ) -> None:
        self.id = stream_id
        self.window = window
        """Bytes of DATA that the peer takes; negative when he made his window smaller."""
        self.recv_window = recv_window
        """Bytes of DATA that the peer may send."""
        self.credit = 0
        """Bytes received and not yet given back to `recv_window`."""
        self.received_bytes = 0
        self.content_length: int | None = None
        self.is_remote_closed = is_remote_closed
        self.is_local_closed = self.is_closed = self.lingers = False
        """`lingers`: answered before its request was whole, it takes some of the rest before it is
        reset."""
        self.queue: deque[memoryview] | None = None  # a deque costs as much as all else here
        self.queued_bytes = 0
        self.open_bytes = open_bytes
        """What it counts among the open streams."""
        self.end: bytes | None = None
        self.call: Any = None
        """What the sink keeps of the stream."""

    def __repr__(self) -> str:
        is_half = self.is_remote_closed or self.is_local_closed
        state = "closed" if self.is_closed else "half-closed" if is_half else "open"
        return f"Stream({self.id}, {state}, window={self.window}, queued={self.queued_bytes})"
