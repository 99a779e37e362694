"""One watcher.

    state         its next event comes from               leaves it when
    SYNCED        the hub, as revisions are published     its stream is full → CATCHING_UP
    CATCHING_UP   the log, from `next_revision`           level with durable → SYNCED
                                                          below compacted → CANCELED
    CANCELED      nowhere; its id stays taken until the client cancels it

A watcher that waits for a future revision is SYNCED: what the hub offers below `next_revision` is
passed over.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from kvstore.types import WatchCreate, WatchFilter

if TYPE_CHECKING:
    from kvstore.core.watch.line import Line
    from kvstore.core.watch.stream import WatchStream

__all__ = ["State", "Watcher"]


class State(Enum):
    SYNCED = "synced"
    CATCHING_UP = "catching up"
    CANCELED = "canceled"


class Watcher:
    __slots__ = (
        "after",
        "deletes",
        "following",
        "fragment",
        "id",
        "line",
        "next_revision",
        "notified",
        "prev_kv",
        "previous",
        "progress_notify",
        "puts",
        "range",
        "sees_all",
        "start_revision",
        "state",
        "stream",
        "told",
    )

    def __init__(self, watch_id: int, request: WatchCreate, stream: WatchStream) -> None:
        self.id, self.range, self.stream = watch_id, request.range, stream
        self.prev_kv, self.fragment = request.prev_kv, request.fragment
        self.progress_notify = request.progress_notify
        self.puts = WatchFilter.NOPUT not in request.filters
        self.deletes = WatchFilter.NODELETE not in request.filters
        self.sees_all = self.puts and self.deletes
        self.start_revision = request.start_revision
        """As asked for. Progress to less would be a step back for the client (progressIfSync)."""
        self.next_revision = 0
        self.told = 0
        """The last revision that the hub had something of for it."""
        self.state = State.SYNCED
        self.after = 0  # catching up begins when the stream has handed out this many messages
        self.notified = False  # got something since the last progress tick
        self.line: Line | None = None
        """Its group while it is synced, those behind of its stream while it catches up."""
        self.previous: Watcher | None = None
        self.following: Watcher | None = None

    def __repr__(self) -> str:
        return f"Watcher({self.id}, {self.range}, {self.state.value} at {self.next_revision})"

    @property
    def bookmark(self) -> int:
        """The least revision that progress may tell it while it is synced.

        Not less than it has seen, nor than it asked for.
        """
        start, seen = self.start_revision, self.next_revision - 1
        return start if start > seen else seen
