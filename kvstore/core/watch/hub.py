"""Who watches what: hand each published revision to the synced watchers it concerns.

Watchers of one interval share a group, so that a revision is matched once for all of them. Only
synced watchers are in groups; what a watcher costs while it catches up is paid by its stream.

What concerns few watchers is offered to them at once. Any work that grows with the number of
watchers is done in pieces of `WATCH_TURN_WATCHERS`, so that nobody waits longer than for one. What
is done at once adds up to one piece; all beyond is left to whoever drives the hub, who is told by
`on_work` and calls `work` in a turn of its own, while there `has_work`:

    a delivery        to the watchers it concerns; the next begins when it is done
    held progress     of streams that asked while something was being delivered
    closed streams    take leave of their watchers

`delivered` is what every synced watcher was offered all of, and the most that progress may say. It
is `durable` while no delivery is under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from kvstore.core.totals import Totals
from kvstore.core.watch.delivery import Delivery, Offer
from kvstore.core.watch.group import LEAVE_COST, Group
from kvstore.core.watch.interval import IntervalTree
from kvstore.core.watch.shards import Shards
from kvstore.core.watch.watcher import Watcher
from kvstore.keys import KeyRange
from kvstore.limits import (
    CATCH_UP_BYTES,
    CATCH_UP_REVISIONS,
    WATCH_BACKLOG_BYTES,
    WATCH_BACKLOG_CHANGES,
    WATCH_TURN_WATCHERS,
)

if TYPE_CHECKING:
    from kvstore.core.watch.delivery import History, WatchedChange
    from kvstore.core.watch.stream import WatchStream

__all__ = ["Hub"]


class Hub:
    def __init__(self, history: History, totals: Totals) -> None:
        self.history, self.totals = history, totals
        self.on_work: Callable[[], None] = _nobody_works
        """Called when something is left for `work`; may be often."""
        self.watchers = 0
        """Watchers of all streams, canceled ones not counted."""
        self.behind = 0
        """Those of them that catch up from the log."""
        self._keys: Shards[bytes, Group] = Shards()
        self._intervals: IntervalTree[Group] = IntervalTree()
        self._synced = self._prev_kvs = 0  # watchers in groups, and who of them wants that
        self._deliveries: deque[tuple[Delivery, int]] = deque()  # with their bytes
        self._backlog_changes = self._backlog_bytes = 0
        self._asking: deque[WatchStream] = deque()
        self._to_answer = 0  # of those, since a delivery was done
        self._leaving: deque[WatchStream] = deque()
        self._spent = 0  # watchers that something was done for since `work`
        self.streams: set[WatchStream] = set()
        """All that are open."""
        self.is_torn = False
        """An exception came out of a change of a stream or of `work`: call `recall`.

        Until then nobody works, and what is published waits, so that `delivered` stays true.
        """
        self._recalling: int | None = None  # from which revision, while it is done

    def __repr__(self) -> str:
        return (
            f"Hub({self.watchers} watchers, {len(self._keys)} keys and {len(self._intervals)} "
            f"ranges with synced ones, {len(self._deliveries)} deliveries)"
        )

    # -- watchers --------------------------------------------------------------------------------

    def join(self, watcher: Watcher) -> None:
        """The watcher is synced: give it what is published from now on."""
        key_range = watcher.range
        if key_range.is_single:
            key = key_range.key
            shard = self._keys.shard_of(key)
            group = shard.get(key)
            if group is None:
                group = shard[key] = Group(key_range)
        else:
            group = self._intervals.get_or_add(key_range, Group)
        group.add(watcher)
        self._synced += 1
        if watcher.prev_kv:
            group.prev_kvs += 1
            self._prev_kvs += 1

    def leave(self, watcher: Watcher) -> None:
        """If it is synced."""
        group = watcher.line
        if type(group) is not Group:
            return
        if group.next is watcher:
            group.next = watcher.following
        group.remove(watcher)
        self._synced -= 1
        if watcher.prev_kv:
            group.prev_kvs -= 1
            self._prev_kvs -= 1
        if group.first is None:
            if group.range.is_single:
                self._keys.pop(group.range.key)
            else:
                self._intervals.remove(group.range)

    @property
    def is_idle(self) -> bool:
        return not self._synced and not self.is_torn

    # -- delivery --------------------------------------------------------------------------------

    @property
    def delivered(self) -> int:
        """Every synced watcher was offered what it is to have up to this revision."""
        if self._deliveries:
            return self._deliveries[0][0].first_revision - 1
        return self.history.durable

    @property
    def queued(self) -> tuple[int, int]:
        """Events in the queues of all streams, and their bytes."""
        queued = [stream.queued for stream in self.streams]
        return sum(events for events, _ in queued), sum(size for _, size in queued)

    @property
    def is_delivering(self) -> bool:
        return bool(self._deliveries)

    @property
    def is_backed_up(self) -> bool:
        """Is so much published and not delivered that the next commit has to wait?"""
        return (
            self._backlog_changes >= WATCH_BACKLOG_CHANGES
            or self._backlog_bytes >= WATCH_BACKLOG_BYTES
        )

    def deliver(self, changes: list[WatchedChange]) -> None:
        """Offer all changes of some published revisions, whole and in order, to whom they concern.

        There is at least one; the list is the hub's from now on.
        """
        if self.is_torn:
            self._deliveries.append((Delivery(self.history, changes), 0))
            return
        if not self._deliveries and self._spent < WATCH_TURN_WATCHERS:
            if self._deliver_one(changes) if len(changes) == 1 else self._deliver_few(changes):
                return
            delivery = Delivery(self.history, changes)
            left = delivery.run(self._keys, self._intervals, WATCH_TURN_WATCHERS)
            self._spend(WATCH_TURN_WATCHERS - left)
            if delivery.is_done:
                return
            self._defer(delivery)
        elif not self._deliveries or not self._extend_last(changes):
            self._defer(Delivery(self.history, changes))
        self.on_work()

    def _spend(self, watchers: int) -> None:
        self._spent += watchers
        if self._spent >= WATCH_TURN_WATCHERS:
            self.on_work()

    def _deliver_one(self, changes: list[WatchedChange]) -> bool:
        """At once, if it concerns few; the most frequent kind by far."""
        key = changes[0].key
        groups = self._intervals.stab(key, WATCH_TURN_WATCHERS)
        exact = self._keys.get(key)
        if exact is not None:
            groups.append(exact)
        watchers = 0
        for group in groups:
            watchers += group.size
        if watchers > WATCH_TURN_WATCHERS:
            return False
        if watchers:
            self._spend(watchers)
        plain: Offer | None = None
        with_prev: Offer | None = None
        revision = changes[0].packed >> 32
        for group in groups:
            if group.prev_kvs:
                if with_prev is None:
                    self.history.load_prev(changes)
                    with_prev = Offer(self.history, revision, changes)
                group.offer(with_prev)
            else:
                if plain is None:
                    plain = Offer(self.history, revision, changes)
                group.offer(plain)
        return True

    def _deliver_few(self, changes: list[WatchedChange]) -> bool:
        """The same of several changes, which costs less than a Delivery."""
        most = WATCH_TURN_WATCHERS
        concerned: dict[Group, list[WatchedChange]] = {}
        for change in changes:
            groups = self._intervals.stab(change.key, most)
            exact = self._keys.get(change.key)
            if exact is not None:
                groups.append(exact)
            for group in groups:
                theirs = concerned.get(group)
                if theirs is None:
                    concerned[group] = [change]
                    most -= group.size
                else:
                    theirs.append(change)
            most -= 1
            if most < 0:
                return False
        self._spend(WATCH_TURN_WATCHERS - most - len(changes))
        revision = changes[-1].packed >> 32
        for group, theirs in concerned.items():
            if group.prev_kvs:
                self.history.load_prev(theirs)
            group.offer(Offer(self.history, revision, theirs))
        return True

    def _defer(self, delivery: Delivery) -> None:
        self._load_prev(delivery.changes)
        size = sum(change.size_bytes for change in delivery.changes)
        self._deliveries.append((delivery, size))
        self._backlog_changes += len(delivery.changes)
        self._backlog_bytes += size

    def _extend_last(self, changes: list[WatchedChange]) -> bool:
        """Put them into the last delivery, if that has not begun and stays one message's worth."""
        delivery, size = self._deliveries[-1]
        more = sum(change.size_bytes for change in changes)
        if (
            delivery.has_begun
            or len(delivery.changes) + len(changes) > CATCH_UP_REVISIONS
            or size + more > CATCH_UP_BYTES
        ):
            return False
        self._load_prev(changes)
        delivery.changes += changes
        self._deliveries[-1] = (delivery, size + more)
        self._backlog_changes += len(changes)
        self._backlog_bytes += more
        return True

    def _load_prev(self, changes: list[WatchedChange]) -> None:
        """Now, before a compaction takes them away."""
        if self._prev_kvs:
            self.history.load_prev(changes)

    # -- what is left ----------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        if self.is_torn:
            return False
        return bool(self._deliveries or self._to_answer or self._leaving)

    def work(self) -> None:
        """One piece of what is left to do."""
        if self.is_torn:
            return
        try:
            self._work()
        except BaseException:
            self.is_torn = True
            raise

    def _work(self) -> None:
        self._spent = 0
        most = WATCH_TURN_WATCHERS
        while self._deliveries and most > 0:
            delivery, size = self._deliveries[0]
            most = delivery.run(self._keys, self._intervals, most)
            if delivery.is_done:
                self._deliveries.popleft()
                self._backlog_changes -= len(delivery.changes)
                self._backlog_bytes -= size
                self._to_answer = len(self._asking)
        for _ in range(min(self._to_answer, WATCH_TURN_WATCHERS)):
            self._to_answer -= 1
            stream = self._asking.popleft()
            if not stream.answer_progress():
                self._asking.append(stream)
        self._take_leave()

    def answer_later(self, stream: WatchStream) -> None:
        """Call its `answer_progress` when something more is delivered."""
        self._asking.append(stream)

    def retire(self, stream: WatchStream) -> None:
        """The stream is closed: see that its watchers leave."""
        self._leaving.append(stream)
        if len(self._leaving) == 1 and self._spent < WATCH_TURN_WATCHERS:
            self._take_leave()
        if self._leaving:
            self.on_work()

    def _take_leave(self) -> None:
        most = max(WATCH_TURN_WATCHERS // LEAVE_COST, 1)
        while self._leaving and most > 0:
            count = self._leaving[0].shed(most)
            self._spend(LEAVE_COST * count)
            if count < most:
                self._leaving.popleft()
            most -= max(count, 1)

    def recall(self, revision: int) -> None:
        """Something broke off: each watcher reads in the log what it may lack above `revision`.

        In any state that an exception leaves; may be called again if one comes out of it.
        """
        begun = revision if self._recalling is None else self._recalling
        self._recalling = first = min(begun, revision, self.delivered)
        self._keys, self._intervals = Shards(), IntervalTree()
        self._deliveries.clear()
        self._backlog_changes = self._backlog_bytes = self._synced = self._prev_kvs = 0
        self.watchers = self.behind = 0
        asking = set(self._asking)
        for stream in tuple(self.streams):
            if not stream.closed:
                stream.recall(first, is_asking=stream in asking)
                continue
            if stream not in self._leaving:  # closing it broke off
                self._leaving.append(stream)
            self.streams.discard(stream)
        for stream in self._leaving:
            stream.forget_lines()
        self._to_answer = len(self._asking)
        self._recalling, self.is_torn = None, False
        if self.has_work:
            self.on_work()

    def check(self) -> list[str]:
        wrong = self._intervals.check()
        filed = [(KeyRange(key), group) for key, group in self._keys.items()]
        for key_range, group in [*filed, *self._intervals.items()]:
            watchers = list(group)
            if key_range != group.range or not watchers:
                wrong.append(f"the group of {key_range} is empty or filed under a wrong interval")
            if (len(watchers), sum(w.prev_kv for w in watchers)) != (group.size, group.prev_kvs):
                wrong.append(f"{group} miscounts its watchers")
            wrong += [
                f"{watcher} is matched but not synced"
                for watcher in watchers
                if watcher.state.value != "synced" or watcher.line is not group
            ]
        if self._synced != sum(group.size for _, group in [*filed, *self._intervals.items()]):
            wrong.append(f"{self!r} counts {self._synced} synced watchers")
        if not self._deliveries and (self._backlog_changes or self._backlog_bytes):
            wrong.append(f"{self._backlog_bytes} bytes wait for a delivery that is not there")
        return wrong


def _nobody_works() -> None:
    """Until a shell says who."""
