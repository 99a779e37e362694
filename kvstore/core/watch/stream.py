"""A watch stream: many watchers, one ordered queue, pulled by its consumer.

Everything a client is told stands in this one queue (created, events, progress, canceled), so that
created comes before events, progress never runs ahead of them and a canceled id is silent after.

A slow consumer costs a bounded queue: when an event does not fit, its watcher leaves the hub and
starts CATCHING_UP at that revision. The past is read only when the consumer pulls and finds that
it has taken everything the watcher was given before (`after`); the piece read goes straight to the
consumer. So nothing is dropped, nothing is out of order and a stream nobody reads costs no reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from kvstore.core.watch.hub import Hub, Offer, WatchedChange
from kvstore.core.watch.watcher import State, Watcher
from kvstore.errors import Compacted
from kvstore.limits import WATCH_QUEUE_BYTES, WATCH_QUEUE_EVENTS
from kvstore.types import WatchCreate, WatchMessage

__all__ = ["WatchStream"]

DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
EMPTY_RANGE = "mvcc: watcher range is empty"
NO_WATCHER = -1
"""The id of refusals and of the progress messages of a whole stream."""


class WatchStream:
    def __init__(self, hub: Hub, on_ready: Callable[[], None]) -> None:
        """`on_ready` is called, without arguments and often, when `poll` may have something."""
        self._hub, self._on_ready = hub, on_ready
        self._totals = hub.totals
        self._queue: deque[tuple[WatchMessage, int, int]] = deque()  # with its bytes and events
        self._events = self._bytes = 0
        self._handed_out = self._queued = 0
        self._watchers: dict[int, Watcher] = {}
        self._behind: dict[Watcher, None] = {}
        self._next_id = 0
        self._past_turn = False
        self.closed = False
        hub.streams.add(self)

    def __repr__(self) -> str:
        return (
            f"WatchStream({len(self._watchers)} watchers, {len(self._behind)} behind, "
            f"{len(self._queue)} messages queued)"
        )

    # -- the client's side -----------------------------------------------------------------------

    def create(self, request: WatchCreate) -> None:
        """Add a watcher; the answer, also a refusal, is queued."""
        if not request.range.key:
            request = request._replace(range=request.range._replace(key=b"\x00"))
        key_range, history = request.range, self._hub.history
        if request.watch_id and request.watch_id in self._watchers:
            return self._refuse(DUPLICATE_ID)
        upper = key_range.upper
        if not key_range.is_single and upper is not None and upper <= key_range.key:
            return self._refuse(EMPTY_RANGE)
        if request.start_revision < 0:
            return self._refuse(Compacted.message)
        watcher = Watcher(request.watch_id or self._free_id(), request, self)
        self._watchers[watcher.id] = watcher
        self._hub.watchers += 1
        self._put(WatchMessage(watcher.id, history.durable, created=True))
        if 0 < request.start_revision <= history.durable:
            self._fall_behind(watcher, request.start_revision)
        else:
            watcher.next_revision = max(history.durable + 1, request.start_revision)
            self._hub.join(watcher)
        return None

    def cancel(self, watch_id: int) -> None:
        watcher = self._watchers.pop(watch_id, None)
        if watcher is not None:
            self._stop(watcher)
            self._put(WatchMessage(watch_id, self._hub.history.durable, canceled=True))

    def request_progress(self) -> None:
        revision = self._hub.history.durable
        if len(self._queue) >= WATCH_QUEUE_EVENTS:
            return  # the client asks faster than it reads
        if self._watchers and all(
            w.state is State.SYNCED and w.start_revision <= revision
            for w in self._watchers.values()
            if w.state is not State.CANCELED
        ):
            self._put(WatchMessage(NO_WATCHER, revision))

    def tick_progress(self) -> None:
        """The interval passed: tell each synced watcher that asked and got nothing since."""
        revision = self._hub.history.durable
        for watcher in self._watchers.values():
            if watcher.progress_notify and watcher.state is State.SYNCED:
                is_due = not watcher.notified and watcher.start_revision <= revision
                if is_due and not self._is_full:
                    self._put(WatchMessage(watcher.id, revision))
                watcher.notified = False

    def close(self) -> None:
        """Forget all watchers and whatever is queued."""
        self.closed = True
        self._hub.streams.discard(self)
        for watcher in self._watchers.values():
            self._stop(watcher)
        self._watchers.clear()
        self._queue.clear()
        self._events = self._bytes = 0
        self._on_ready()

    # -- the hub's side --------------------------------------------------------------------------

    def offer(self, watcher: Watcher, offer: Offer) -> None:
        """All changes of some revisions in the watcher's interval."""
        revision, first = offer.revision, watcher.next_revision
        if revision < first:
            return
        if not (watcher.puts and watcher.deletes) or offer.changes[0].packed >> 32 < first:
            changes = [c for c in _filter(watcher, offer.changes) if c.packed >> 32 >= first]
            if not changes:
                return
            offer = Offer(self._hub.history, revision, changes)
        if self._events >= WATCH_QUEUE_EVENTS or self._bytes >= WATCH_QUEUE_BYTES:
            self._fall_behind(watcher, offer.changes[0].packed >> 32)
            return
        watcher.notified = True
        events = offer.events(prev=watcher.prev_kv)
        message = WatchMessage(watcher.id, revision, events, False, False, 0, "", watcher.fragment)
        self._put(message, offer.size_bytes, len(offer.changes))

    def recall(self, revision: int) -> int:
        """As `Hub.recall`; returns how many watchers there are. In any state of an exception."""
        queue, durable = self._queue, self._hub.history.durable
        for message, _, _ in queue:
            if message.events and message.revision > revision:
                fallen = self._watchers[message.watch_id]
                first = message.events[0].kv.mod_revision
                fallen.next_revision = min(fallen.next_revision, first)
        while queue and queue[-1][0].events and queue[-1][0].revision > revision:
            queue.pop()
        self._bytes, self._events = sum(each[1] for each in queue), sum(each[2] for each in queue)
        self._queued = self._handed_out + len(queue)
        self._behind = {}
        live = [w for w in self._watchers.values() if w.state is not State.CANCELED]
        for watcher in live:
            if watcher.state is State.SYNCED:
                watcher.next_revision = max(watcher.start_revision, revision + 1)
                if watcher.next_revision > durable:  # it waits for a revision to come
                    self._hub.join(watcher)
                    continue
                watcher.after = self._queued
                watcher.state = State.CATCHING_UP
            self._behind[watcher] = None
        self._on_ready()
        return len(live)

    # -- the consumer's side ---------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Is a `poll` worth while? Bounded work each, so go on while this holds."""
        return bool(self._queue) or bool(self._behind)

    def poll(self) -> WatchMessage | None:
        """The next message. None: nothing to say now, though `has_work` may ask to go on."""
        if self._behind:
            watcher = next(iter(self._behind))
            if watcher.after <= self._handed_out:
                # Take turns, so that neither the queue nor the past starves the other.
                self._past_turn = not self._past_turn
                if self._past_turn or not self._queue:
                    return self._catch_up(watcher)
        if not self._queue:
            return None
        message, size, events = self._queue.popleft()
        self._handed_out += 1
        self._events -= events
        self._bytes -= size
        self._totals.events += events
        return message

    def _catch_up(self, watcher: Watcher) -> WatchMessage | None:
        del self._behind[watcher]
        history = self._hub.history
        if watcher.next_revision < history.compacted:
            watcher.state = State.CANCELED
            self._hub.watchers -= 1
            return WatchMessage(watcher.id, 0, canceled=True, compact_revision=history.compacted)
        changes, next_revision = history.history(
            watcher.range, watcher.next_revision, prev=watcher.prev_kv
        )
        watcher.next_revision = next_revision
        if next_revision > history.durable:
            watcher.state = State.SYNCED
            self._hub.join(watcher)
        else:
            self._behind[watcher] = None  # at the end: watchers take turns
        seen = changes if watcher.sees_all else _filter(watcher, changes)
        if not seen:
            return None
        watcher.notified = True
        self._totals.events += len(seen)
        return self._message(watcher, history.durable, seen)

    @property
    def queued(self) -> tuple[int, int]:
        """Events in the queue, and their bytes."""
        return self._events, self._bytes

    @property
    def behind(self) -> int:
        """How many watchers catch up from the log."""
        return len(self._behind)

    # -- inside ----------------------------------------------------------------------------------

    @property
    def _is_full(self) -> bool:
        return self._events >= WATCH_QUEUE_EVENTS or self._bytes >= WATCH_QUEUE_BYTES

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
        while self._next_id in self._watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _fall_behind(self, watcher: Watcher, revision: int) -> None:
        self._hub.leave(watcher)
        watcher.next_revision = revision
        watcher.after = self._queued
        watcher.state = State.CATCHING_UP
        self._behind[watcher] = None
        self._on_ready()

    def _stop(self, watcher: Watcher) -> None:
        self._hub.leave(watcher)
        self._behind.pop(watcher, None)
        if watcher.state is not State.CANCELED:
            self._hub.watchers -= 1
            watcher.state = State.CANCELED

    def _put(self, message: WatchMessage, size_bytes: int = 0, events: int = 0) -> None:
        self._queue.append((message, size_bytes, events))
        self._queued += 1
        self._events += events
        self._bytes += size_bytes
        self._on_ready()


def _filter(watcher: Watcher, changes: Sequence[WatchedChange]) -> list[WatchedChange]:
    return [c for c in changes if (watcher.deletes if c.is_delete else watcher.puts)]
