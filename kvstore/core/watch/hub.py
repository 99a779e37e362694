"""Who watches what: hand each published revision to the synced watchers it concerns.

Watchers of one interval share a group, so that a revision is matched once for all of them. Only
synced watchers are in groups; what a watcher costs while it catches up is paid by its stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from kvstore.core.totals import Totals
from kvstore.core.watch.interval import IntervalTree
from kvstore.core.watch.watcher import Watcher
from kvstore.keys import KeyRange
from kvstore.types import Event

if TYPE_CHECKING:
    from kvstore.core.watch.stream import WatchStream

__all__ = ["History", "Hub", "Offer", "WatchedChange"]


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
    def history(
        self, key_range: KeyRange, first: int, *, prev: bool
    ) -> tuple[list[WatchedChange], int]:
        """Changes of an interval from revision `first` on, whole revisions, a bounded piece.

        Returns them with the revision at which to go on, which is above `durable` at the end.
        """
        ...

    def events(self, changes: Sequence[WatchedChange], *, prev: bool) -> Sequence[Event]:
        """The changes as events, with `prev_kv` if asked for (and loaded)."""
        ...

    def load_prev(self, changes: Iterable[WatchedChange]) -> None:
        """See that `prev` of each change is loaded."""
        ...


class Offer:
    """All changes of some revisions in an interval; what watchers share of it is made once.

    The revisions end with `revision`, whether it has a change in the interval or not.
    """

    __slots__ = ("_history", "_plain", "_with_prev", "changes", "revision", "size_bytes")

    def __init__(self, history: History, revision: int, changes: Sequence[WatchedChange]) -> None:
        self._history, self.revision, self.changes = history, revision, changes
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


class Group:
    __slots__ = ("range", "watchers")

    def __init__(self, key_range: KeyRange) -> None:
        self.range = key_range
        self.watchers: dict[Watcher, None] = {}


class Hub:
    def __init__(self, history: History, totals: Totals) -> None:
        self.history, self.totals = history, totals
        self._groups: dict[KeyRange, Group] = {}
        self._keys: dict[bytes, Group] = {}
        self._intervals: IntervalTree[Group] = IntervalTree()
        self.is_torn = False
        """An exception came out of a change of a stream: `recall` is to be called."""
        self.streams: set[WatchStream] = set()
        """All that are open."""
        self.watchers = 0
        """Watchers of all streams, canceled ones not counted."""

    def __repr__(self) -> str:
        return f"Hub({self.watchers} watchers, {len(self._groups)} intervals with synced ones)"

    def join(self, watcher: Watcher) -> None:
        """The watcher is synced: give it what is published from now on."""
        group = self._groups.get(watcher.range)
        if group is None:
            group = self._groups[watcher.range] = Group(watcher.range)
            if watcher.range.is_single:
                self._keys[watcher.range.key] = group
            else:
                self._intervals.add(watcher.range, group)
        group.watchers[watcher] = None

    def leave(self, watcher: Watcher) -> None:
        group = self._groups.get(watcher.range)
        if group is None or watcher not in group.watchers:
            return
        del group.watchers[watcher]
        if not group.watchers:
            del self._groups[watcher.range]
            if watcher.range.is_single:
                del self._keys[watcher.range.key]
            else:
                self._intervals.remove(watcher.range)

    @property
    def is_idle(self) -> bool:
        return not self._groups

    def deliver(self, changes: Sequence[WatchedChange]) -> None:
        """Offer all changes of some published revisions, whole and in order, to whom they concern.

        There is at least one.
        """
        revision = changes[-1].packed >> 32
        if len(changes) == 1:
            for group in self._matching(changes[0].key):
                self._offer(group, revision, changes)
            return
        concerned: dict[Group, list[WatchedChange]] = {}
        for change in changes:
            for group in self._matching(change.key):
                concerned.setdefault(group, []).append(change)
        for group, theirs in concerned.items():
            self._offer(group, revision, theirs)

    def _matching(self, key: bytes) -> Iterable[Group]:
        exact = self._keys.get(key)
        ranges = self._intervals.stab(key, len(self._intervals))
        return (exact, *ranges) if exact is not None else ranges

    def _offer(self, group: Group, revision: int, changes: Sequence[WatchedChange]) -> None:
        if any(watcher.prev_kv for watcher in group.watchers):
            self.history.load_prev(changes)
        offer = Offer(self.history, revision, changes)
        for watcher in tuple(group.watchers):
            watcher.stream.offer(watcher, offer)

    def recall(self, revision: int) -> None:
        """A delivery broke off: each watcher reads in the log what comes after `revision`.

        What was delivered after it is taken back from the queues. May be called again.
        """
        self._groups, self._keys, self._intervals = {}, {}, IntervalTree()
        self.watchers = sum(stream.recall(revision) for stream in list(self.streams))
        self.is_torn = False

    def check(self) -> list[str]:
        wrong = self._intervals.check()
        for key_range, group in self._groups.items():
            if key_range != group.range or not group.watchers:
                wrong.append(f"the group of {key_range} is empty or filed under a wrong interval")
            wrong += [
                f"{watcher} is matched but not synced"
                for watcher in group.watchers
                if watcher.state.value != "synced"
            ]
        return wrong
