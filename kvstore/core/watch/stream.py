"""A watch stream: many watchers, one ordered queue, pulled by its consumer.

Everything a client is told stands in this one queue (created, events, progress, canceled), so that
created comes before events, progress never runs ahead of them and a canceled id is silent after.

A slow consumer costs a bounded queue: when an event does not fit, its watcher leaves the hub and
starts CATCHING_UP at that revision. The past is read only when the consumer pulls and finds that
it has taken everything the watcher was given before (`after`); the piece read goes straight to the
consumer. So nothing is dropped, nothing is out of order and a stream nobody reads costs no reads.

Whatever concerns all watchers of a stream takes turns: progress of the timer is made when the
consumer pulls, some at a time (`_due`); whether the whole stream may be told of progress is known
from who is behind and from `_ahead`; a closed stream sheds its watchers in pieces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sortedcontainers import SortedList

from kvstore.core.watch.delivery import Offer
from kvstore.core.watch.hub import Hub
from kvstore.core.watch.line import Line
from kvstore.core.watch.shards import Shards
from kvstore.core.watch.watcher import State, Watcher
from kvstore.errors import Compacted, StoreClosed, TooManyRequests
from kvstore.keys import KeyRange
from kvstore.limits import (
    CATCH_UP_AT_ONCE,
    CATCH_UP_INDEX_KEYS,
    WATCH_QUEUE_ANSWERS,
    WATCH_QUEUE_BYTES,
    WATCH_QUEUE_EVENTS,
)
from kvstore.types import WatchCreate, WatchMessage

if TYPE_CHECKING:
    from kvstore.core.watch.delivery import WatchedChange

__all__ = ["WatchStream"]

DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
EMPTY_RANGE = "mvcc: watcher range is empty"
NO_WATCHER = -1
"""The id of refusals and of the progress messages of a whole stream."""
_WATCHER_BYTES = 1000
"""Of the objects of a watcher, beside those of its interval."""
_DUE_AT_ONCE = 64
"""Watchers looked at for progress in one poll."""


class WatchStream:
    def __init__(
        self,
        hub: Hub,
        on_ready: Callable[[], None],
        hold: Callable[[int], bool] | None = None,
    ) -> None:
        """`on_ready` is called, without arguments and often, when `poll` may have something.

        `hold` is told how many bytes each watcher takes, and with a negative number when it went;
        with False it refuses one.
        """
        self._hub, self._on_ready, self._hold = hub, on_ready, hold
        self._totals = hub.totals
        self._queue: deque[tuple[WatchMessage, int, int]] = deque()  # with its bytes and events
        self._events = self._bytes = self._answers = 0
        self._handed_out = self._queued = 0
        self._watchers: Shards[int, Watcher] = Shards()
        self._active = 0  # of those, the canceled ones not counted
        self._behind = Line()
        self._ahead: SortedList | None = None  # of (bookmark, id), when it was above `delivered`
        self._notifying: dict[Watcher, None] = {}  # who wants progress of the timer
        self._due: list[Watcher] = []  # whom the timer has not been heard for yet
        self._is_asking = False
        self._next_id = 0
        self._has_chosen = False  # the client, an id
        self._past_turn = False
        self._pieces = 0  # of the past that were read
        self.is_spent = False
        """The last `poll` did a turn's work: let others have theirs."""
        self.closed = False
        hub.streams.add(self)

    def __repr__(self) -> str:
        return (
            f"WatchStream({len(self._watchers)} watchers, {self._behind.size} behind, "
            f"{len(self._queue)} messages queued)"
        )

    # -- the client's side -----------------------------------------------------------------------

    def create(self, request: WatchCreate) -> None:
        """Add a watcher; the answer, also a refusal, is queued. Raises StoreClosed."""
        self._check_open()
        if not request.range.key:
            request = request._replace(range=request.range._replace(key=b"\x00"))
        key_range, history = request.range, self._hub.history
        if request.watch_id:
            if request.watch_id in self._watchers:
                return self._refuse(DUPLICATE_ID)
            self._has_chosen = True
        if not key_range.is_single:
            upper = key_range.upper
            if upper is not None and upper <= key_range.key:
                return self._refuse(EMPTY_RANGE)
        if request.start_revision < 0:
            return self._refuse(Compacted.message)
        if self._hold is not None and not self._hold(_bytes_of(key_range)):
            return self._refuse(TooManyRequests.message)
        watcher = Watcher(request.watch_id or self._free_id(), request, self)
        self._watchers.shard_of(watcher.id)[watcher.id] = watcher
        self._active += 1
        self._hub.watchers += 1
        if watcher.progress_notify:
            self._notifying[watcher] = None
        self._put(WatchMessage(watcher.id, history.durable, created=True))
        if 0 < request.start_revision <= history.durable:
            self._fall_behind(watcher, request.start_revision)
        else:
            watcher.next_revision = max(history.durable + 1, request.start_revision)
            self._join(watcher)
        return None

    def cancel(self, watch_id: int) -> None:
        """Raises StoreClosed."""
        self._check_open()
        watcher = self._watchers.pop(watch_id)
        if watcher is not None:
            if watcher.state is not State.CANCELED:
                self._active -= 1
                self._hub.watchers -= 1
            self._stop(watcher)
            if self._hold is not None:
                self._hold(-_bytes_of(watcher.range))
            self._put(WatchMessage(watch_id, self._hub.history.durable, canceled=True))

    @property
    def room(self) -> int:
        """How many more answers may be queued; at 0 the client is to read before it asks more."""
        return max(WATCH_QUEUE_ANSWERS - self._answers, 0)

    def request_progress(self) -> None:
        """Tell the client of progress, if all watchers are synced, else nothing.

        While something is being delivered it waits for that; requests that wait share one answer.
        Raises StoreClosed.
        """
        self._check_open()
        if not self._watchers or self._behind.size or not self.room or self._is_asking:
            return  # without room the client asks faster than it reads
        self._is_asking = True
        if not self._hub.is_delivering:
            self.answer_progress()
        else:
            self._hub.answer_later(self)

    def answer_progress(self) -> bool:
        """More was delivered: answer a request that waits for it. False: it waits on."""
        if self.closed:
            return True
        revision, ahead = self._hub.delivered, self._ahead
        is_synced = not self._behind.size and not (ahead and ahead[-1][0] > revision)
        if self._watchers and is_synced:
            self._put(WatchMessage(NO_WATCHER, revision))
        elif self._watchers and not self._behind.size and self._hub.is_delivering:
            return False  # a watcher joined above what is delivered: wait until that is, too
        self._is_asking = False
        return True

    def tick_progress(self) -> None:
        """The interval passed: tell each synced watcher that asked and got nothing since."""
        if self._notifying and not self._due:
            self._due = list(reversed(self._notifying))
            self._on_ready()

    def close(self) -> None:
        """Forget all watchers and whatever is queued; what that takes is the hub's to do."""
        if self.closed:
            return
        self.closed = True
        hub = self._hub
        hub.watchers -= self._active
        hub.behind -= self._behind.size
        self._queue.clear()
        self._due.clear()
        self._events = self._bytes = self._answers = self._active = 0
        hub.retire(self)
        hub.streams.discard(self)
        self._on_ready()

    def shed(self, most: int) -> int:
        """Let up to so many watchers of a closed stream go; returns how many went."""
        count = 0
        while count < most and (shard := self._watchers.last) is not None:
            while shard and count < most:
                self._stop(shard.popitem()[1])
                count += 1
        return count

    # -- the hub's side --------------------------------------------------------------------------

    def offer(self, watcher: Watcher, offer: Offer) -> None:
        """All changes of some revisions in the watcher's interval."""
        revision, first = offer.revision, watcher.next_revision
        if revision < first or self.closed:
            return
        if offer.first < first or not watcher.sees_all:
            changes = [c for c in _filter(watcher, offer.changes) if c.packed >> 32 >= first]
            if not changes:
                return
            offer = Offer(self._hub.history, revision, changes)
        if self._events >= WATCH_QUEUE_EVENTS or self._bytes >= WATCH_QUEUE_BYTES:
            self._fall_behind(watcher, offer.first)
            return
        watcher.notified = True
        events = offer.events(prev=watcher.prev_kv)
        message = WatchMessage(watcher.id, revision, events, False, False, 0, "", watcher.fragment)
        size, count = offer.size_bytes, offer.count
        self._queue.append((message, size, count))
        watcher.told = revision
        self._queued += 1
        self._events += count
        self._bytes += size
        self._on_ready()

    def recall(self, revision: int, *, is_asking: bool) -> None:
        """As `Hub.recall`, which has no watchers any more and has counted none."""
        self.forget_lines()
        self._is_asking = is_asking
        queue, hub = self._queue, self._hub
        for message, _, events in queue:
            told = self._watchers.get(message.watch_id) if events else None
            if told is not None:
                told.told = max(told.told, message.revision)
        self._bytes, self._events = sum(each[1] for each in queue), sum(each[2] for each in queue)
        self._answers = sum(not each[2] for each in queue)
        self._queued = self._handed_out + len(queue)
        self._behind, self._ahead = Line(), None
        live = [w for w in self._watchers.values() if w.state is not State.CANCELED]
        self._notifying = {w: None for w in live if w.progress_notify}
        self._active = len(live)
        for watcher in live:
            if watcher.state is State.SYNCED:
                watcher.next_revision = max(watcher.next_revision, watcher.told + 1, revision + 1)
            if watcher.next_revision > hub.history.durable:  # it waits for a revision to come
                watcher.state = State.SYNCED
                self._join(watcher)
            else:
                watcher.state, watcher.after = State.CATCHING_UP, self._queued
                self._behind.add(watcher)
        hub.watchers += len(live)
        hub.behind += self._behind.size
        self._on_ready()

    def forget_lines(self) -> None:
        """Those that its watchers are in are no more."""
        for watcher in self._watchers.values():
            watcher.line = watcher.previous = watcher.following = None

    # -- the consumer's side ---------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Is a `poll` worth while? Bounded work each, so go on while this holds."""
        return bool(self._queue or self._behind.size or self._due)

    def poll(self) -> WatchMessage | None:
        """The next message. None: nothing to say now, though `has_work` may ask to go on.

        Raises StoreClosed when the stream was closed, as those of a closed store are.
        """
        if self.closed:
            raise StoreClosed
        self.is_spent = False
        watcher = self._behind.first
        if watcher is not None and watcher.after <= self._handed_out:
            # Take turns, so that neither the queue nor the past starves the other.
            self._past_turn = not self._past_turn
            if self._past_turn or not self._queue:
                return self._catch_up(watcher)
        if self._due:
            self._notify_some()
        if not self._queue:
            return None
        message, size, events = self._queue.popleft()
        self._handed_out += 1
        if not events:
            self._answers -= 1
            return message
        self._events -= events
        self._bytes -= size
        self._totals.events += events
        return message

    def _catch_up(self, watcher: Watcher) -> WatchMessage | None:
        history = self._hub.history
        if watcher.next_revision < history.compacted:
            self._leave_behind(watcher)
            watcher.state = State.CANCELED
            self._notifying.pop(watcher, None)
            self._active -= 1
            self._hub.watchers -= 1
            return WatchMessage(watcher.id, 0, canceled=True, compact_revision=history.compacted)
        past = history.history(watcher.range, watcher.next_revision, prev=watcher.prev_kv)
        self._pieces += 1
        is_large = past.rows > CATCH_UP_INDEX_KEYS
        self.is_spent = is_large or not self._pieces % CATCH_UP_AT_ONCE
        watcher.next_revision = past.next_revision
        if past.next_revision > history.durable:
            self._leave_behind(watcher)
            watcher.state = State.SYNCED
            self._join(watcher)
        else:
            self._behind.remove(watcher)
            self._behind.add(watcher)  # watchers take turns
        seen = past.changes if watcher.sees_all else _filter(watcher, past.changes)
        if not seen:
            return None
        watcher.notified = True
        self._totals.events += len(seen)
        return self._message(watcher, history.durable, seen)

    def _notify_some(self) -> None:
        """Queue what the timer has for some of the watchers, as far as there is room."""
        revision = self._hub.delivered
        for _ in range(min(len(self._due), _DUE_AT_ONCE, self.room)):
            watcher = self._due.pop()
            if watcher.state is State.SYNCED:
                if not watcher.notified and watcher.bookmark <= revision:
                    self._put(WatchMessage(watcher.id, revision))
                watcher.notified = False

    @property
    def queued(self) -> tuple[int, int]:
        """Events in the queue, and their bytes."""
        return self._events, self._bytes

    # -- inside ----------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.closed:
            raise StoreClosed

    def _message(
        self, watcher: Watcher, revision: int, changes: Sequence[WatchedChange]
    ) -> WatchMessage:
        events = self._hub.history.events(changes, prev=watcher.prev_kv)
        return WatchMessage(watcher.id, revision, events, fragment=watcher.fragment)

    def _refuse(self, reason: str) -> None:
        revision = self._hub.history.durable
        self._put(
            WatchMessage(NO_WATCHER, revision, created=True, canceled=True, cancel_reason=reason)
        )

    def _free_id(self) -> int:
        while self._has_chosen and self._next_id in self._watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _join(self, watcher: Watcher) -> None:
        self._hub.join(watcher)
        if watcher.bookmark > self._hub.delivered:
            if self._ahead is None:
                self._ahead = SortedList()
            self._ahead.add((watcher.bookmark, watcher.id))

    def _leave(self, watcher: Watcher) -> None:
        """The hub, if it is in it."""
        self._hub.leave(watcher)
        if self._ahead:
            self._ahead.discard((watcher.bookmark, watcher.id))

    def _fall_behind(self, watcher: Watcher, revision: int) -> None:
        self._leave(watcher)
        watcher.next_revision = revision
        watcher.after = self._queued
        watcher.state = State.CATCHING_UP
        self._behind.add(watcher)
        self._hub.behind += 1
        self._on_ready()

    def _leave_behind(self, watcher: Watcher) -> None:
        self._behind.remove(watcher)
        self._hub.behind -= 1

    def _stop(self, watcher: Watcher) -> None:
        """For good. It is not counted any more."""
        self._leave(watcher)
        if watcher.line is self._behind:
            self._behind.remove(watcher)
            if not self.closed:
                self._hub.behind -= 1
        if watcher.progress_notify:
            self._notifying.pop(watcher, None)
        watcher.state = State.CANCELED

    def _put(self, message: WatchMessage) -> None:
        """An answer."""
        self._queue.append((message, 0, 0))
        self._queued += 1
        self._answers += 1
        self._on_ready()


def _filter(watcher: Watcher, changes: Sequence[WatchedChange]) -> list[WatchedChange]:
    return [c for c in changes if (watcher.deletes if c.is_delete else watcher.puts)]


def _bytes_of(key_range: KeyRange) -> int:
    """What a watcher of it takes."""
    return _WATCHER_BYTES + len(key_range.key) + len(key_range.range_end)
