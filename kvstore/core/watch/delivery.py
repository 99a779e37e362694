"""Published revisions on their way to the watchers they concern, in bounded pieces.

A delivery goes through the groups of the keys it has, then through the intervals in the order of
their tree, and through each group's watchers in the order of joining. Between two pieces anything
may happen to the watchers, and none of it needs care here:

    a watcher joins             its `next_revision` is above what is delivered: it passes this over
    it leaves, or falls behind  it is in no group, and reads the log if it has to
    it comes back               level with `durable`, which is above what is delivered
    a group empties             nobody is left in it, should it still be on the list
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from kvstore.core.watch.group import Group
from kvstore.core.watch.interval import IntervalTree
from kvstore.core.watch.shards import Shards
from kvstore.keys import KeyRange
from kvstore.types import Event

__all__ = ["Delivery", "History", "Offer", "Past", "WatchedChange"]

_LOOK_UP = 256
"""Keys or intervals that are looked up at once."""
_key, _packed = attrgetter("key"), attrgetter("packed")


if TYPE_CHECKING:  # nobody makes or asks for them when the program runs

    class WatchedChange(Protocol):
        """What the hub and the streams look at in a change (kvstore.core.mvcc.change.Change)."""

        @property
        def key(self) -> bytes: ...
        @property
        def packed(self) -> int: ...
        @property
        def is_delete(self) -> bool: ...
        @property
        def size_bytes(self) -> int: ...

    class History(Protocol):
        """The published past, as a watcher needs it; the engine."""

        @property
        def durable(self) -> int: ...
        @property
        def compacted(self) -> int: ...
        def history(self, key_range: KeyRange, first: int, *, prev: bool) -> Past:
            """Changes of an interval from revision `first` on, a bounded piece."""
            ...

        def events(self, changes: Sequence[WatchedChange], *, prev: bool) -> Sequence[Event]:
            """The changes as events, with `prev_kv` if asked for (and loaded)."""
            ...

        def load_prev(self, changes: Iterable[WatchedChange]) -> None:
            """See that `prev` of each change is loaded."""
            ...


class Past:
    """A piece of the log: whole revisions."""

    __slots__ = ("changes", "next_revision", "rows")

    def __init__(self, changes: Sequence[WatchedChange], next_revision: int, rows: int) -> None:
        self.changes = changes
        self.next_revision = next_revision
        """Where to go on; above `durable` at the end."""
        self.rows = rows
        """Rows of the log that were looked at: what it cost."""


class Offer:
    """All changes of some revisions in an interval; what watchers share of it is made once.

    The revisions end with `revision`, whether it has a change in the interval or not.
    """

    __slots__ = (
        "_history",
        "_plain",
        "_with_prev",
        "changes",
        "count",
        "first",
        "revision",
        "size_bytes",
    )

    def __init__(self, history: History, revision: int, changes: Sequence[WatchedChange]) -> None:
        self._history, self.revision, self.changes = history, revision, changes
        self.first, self.count = changes[0].packed >> 32, len(changes)
        self.size_bytes = sum([change.size_bytes for change in changes])
        self._plain: Sequence[Event] | None = None
        self._with_prev: Sequence[Event] | None = None

    def events(self, *, prev: bool) -> Sequence[Event]:
        if prev:
            if self._with_prev is None:
                self._with_prev = self._history.events(self.changes, prev=True)
            return self._with_prev
        if self._plain is None:
            self._plain = self._history.events(self.changes, prev=False)
        return self._plain


class Delivery:
    def __init__(self, history: History, changes: list[WatchedChange]) -> None:
        """All changes of some published revisions, in order; at least one."""
        self._history, self.changes = history, changes
        self.is_done = False
        self._sorted: list[WatchedChange] = []
        self._keys: list[bytes] = []  # of each of those
        self._at = 0  # keys before it were looked up
        self._after: KeyRange | None = None
        self._has_intervals = False
        self._found: list[tuple[Group, int, int]] = []  # to be visited, with their part of _sorted
        self._group: Group | None = None
        self._offer: Offer | None = None
        self._offered = (0, 0, False)

    def __repr__(self) -> str:
        return f"Delivery({len(self.changes)} changes from {self.first_revision}, {self._group})"

    @property
    def first_revision(self) -> int:
        return self.changes[0].packed >> 32

    @property
    def has_begun(self) -> bool:
        return bool(self._keys)

    def run(self, keys: Shards[bytes, Group], intervals: IntervalTree[Group], most: int) -> int:
        """Make offers until it is `most`; returns how much of that is left, or was too much."""
        if not self._keys:
            self._sorted = sorted(self.changes, key=_key)  # those of a key stay in their order
            self._keys = [change.key for change in self._sorted]
        while most > 0:
            if self._group is not None:
                assert self._offer is not None
                most -= self._group.offer_some(self._offer, most)
                if self._group.next is None:
                    self._group = None
            elif self._found:
                group, low, high = self._found.pop()
                most -= self._visit(group, low, high)
            elif self._at < len(self._keys):
                self._look_up_keys(keys)
                most -= 1
            elif not self._has_intervals:
                self._look_up_intervals(intervals)
                most -= 1
            else:
                self.is_done = True
                break
        return most

    def _visit(self, group: Group, low: int, high: int) -> int:
        """Begin with a group; returns what that costs beside its watchers."""
        if group.first is None:
            return 1
        what = (low, high, group.prev_kvs > 0)
        if self._offer is None or self._offered != what:
            self._offer, self._offered = self._make_offer(*what), what
        self._group, group.next = group, group.first
        return (high - low) >> 6

    def _make_offer(self, low: int, high: int, prev: bool) -> Offer:
        if high - low == len(self.changes):
            theirs = self.changes
        else:
            theirs = sorted(self._sorted[low:high], key=_packed)
        if prev:
            self._history.load_prev(theirs)
        return Offer(self._history, self.changes[-1].packed >> 32, theirs)

    def _look_up_keys(self, groups: Shards[bytes, Group]) -> None:
        keys, at = self._keys, self._at
        end = min(at + _LOOK_UP, len(keys))
        if not groups:
            at = end = len(keys)
        while at < end:
            key, low = keys[at], at
            while at < len(keys) and keys[at] == key:
                at += 1
            group = groups.get(key)
            if group is not None:
                self._found.append((group, low, at))
        self._at = at

    def _look_up_intervals(self, intervals: IntervalTree[Group]) -> None:
        found = intervals.stab_all(self._keys, self._after, _LOOK_UP)
        self._has_intervals = len(found) < _LOOK_UP
        if found:
            self._after = found[-1][0].range
        self._found.extend(found)
