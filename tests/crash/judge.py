"""What a store may look like after a crash, judged by what was acknowledged before it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

from kvstore.errors import WatchCanceled
from kvstore.keys import ALL_KEYS
from kvstore.store.interface import StoreProtocol
from kvstore.types import Event, EventType, KeyValue, RangeOp, WatchCreate
from tests.crash.workload import WRITERS, Acknowledged

__all__ = ["Judge", "replay", "watched"]

_POLL_S = 0.1
_WAIT_S = 30.0


def watched(store: StoreProtocol, start: int, head: int | Future[int]) -> list[Event]:
    """Every event from `start` to `head`, which must have one; `head` may be known only later.

    Raises WatchCanceled when `start` was compacted, AssertionError when nothing more comes.
    """
    events: list[Event] = []
    last, silent_s = start - 1, 0.0
    stream = store.watch_stream()
    try:
        stream.create(WatchCreate(ALL_KEYS, start_revision=start))
        while not _reached(head, last):
            message = stream.next(_POLL_S)
            silent_s = 0.0 if message else silent_s + _POLL_S
            assert silent_s < _WAIT_S, f"nothing comes after {last}, the head is {head}"
            if message is None:
                continue
            if message.canceled:
                raise WatchCanceled(message.cancel_reason, message.compact_revision)
            events += message.events
            last = events[-1].kv.mod_revision if events else last
    finally:
        stream.close()
    return events


def _reached(head: int | Future[int], last: int) -> bool:
    if isinstance(head, Future):
        return head.done() and last >= head.result()
    return last >= head


def replay(state: dict[bytes, KeyValue], events: Iterable[Event]) -> dict[bytes, KeyValue]:
    """The state after the events."""
    state = dict(state)
    for event in events:
        if event.type == EventType.PUT:
            state[event.kv.key] = event.kv
        else:
            state.pop(event.kv.key, None)
    return state


class Judge:
    """Keeps the whole history of one directory over many crashes."""

    def __init__(self) -> None:
        self.head = 1
        self.compact_revision = -1
        self.leases: set[int] = set()
        self.state: dict[bytes, KeyValue] = {}
        """At `head`."""

    def judge(self, store: StoreProtocol, told: list[Acknowledged]) -> list[str]:
        """Everything wrong with a reopened store; `told`: all acknowledged since the last time."""
        found: list[str] = []
        final = store.range(RangeOp(ALL_KEYS))
        last_told = max([self.head, *(a.revision for a in told)])
        if final.revision < last_told:
            found.append(f"the revision fell to {final.revision}; {last_told} was acknowledged")
        base, start = self.state, self.head + 1
        try:
            events = watched(store, start, final.revision)
        except WatchCanceled as canceled:
            start = canceled.compact_revision
            if start <= self.head:
                found.append(f"compaction at {start} ended a watch from {self.head + 1}")
            base = {kv.key: kv for kv in store.range(RangeOp(ALL_KEYS, revision=start)).kvs}
            events = watched(store, start, final.revision)
        self.compact_revision = max(
            [self.compact_revision, *(a.revision for a in told if a.kind == "compact")]
        )
        if start <= self.head and self.compact_revision > self.head:
            found.append(f"the compaction at {self.compact_revision} was forgotten")
        found += self._judge_events(events, start, final.revision, told)
        replayed = replay(base, events)
        if replayed != {kv.key: kv for kv in final.kvs}:
            found.append(f"the events lead to {replayed}, the state is {final.kvs}")
        found += self._judge_leases(store, told)
        self.head, self.state = final.revision, replayed
        return found

    def _judge_events(
        self, events: list[Event], start: int, head: int, told: list[Acknowledged]
    ) -> list[str]:
        found = []
        happened: dict[int, list[tuple[bytes, bytes | None]]] = {}
        places = [(event.kv.mod_revision, event.kv.key) for event in events]
        if [p[0] for p in places] != sorted(p[0] for p in places):
            found.append(f"events out of order: {places}")
        if len(set(places)) != len(places):
            found.append(f"an event came twice: {places}")
        for event in events:
            value = event.kv.value if event.type == EventType.PUT else None
            happened.setdefault(event.kv.mod_revision, []).append((event.kv.key, value))
        missing = [revision for revision in range(start, head + 1) if revision not in happened]
        if missing:
            found.append(f"no event has the revisions {missing} of {start}..{head}")
        acknowledged = {a.revision: list(a.writes) for a in told if a.kind == "write"}
        revoked = {a.revision for a in told if a.kind == "revoke"}
        for revision, writes in acknowledged.items():
            if revision >= start and happened.get(revision) != writes:
                found.append(
                    f"acknowledged at {revision}: {writes}, found: {happened.get(revision)}"
                )
        extra = set(happened) - set(acknowledged) - revoked
        if len(extra) > WRITERS:
            found.append(f"{len(extra)} revisions nobody was told of: {sorted(extra)}")
        return found

    def _judge_leases(self, store: StoreProtocol, told: list[Acknowledged]) -> list[str]:
        """Granted and not revoked: there; revoked: gone; at most one unanswered request each."""
        self.leases |= {a.lease for a in told if a.kind == "grant"}
        revoked = {a.lease for a in told if a.kind == "revoke"}
        there = set(store.lease_leases())
        found = [f"the revoked lease {lease} is back" for lease in sorted(there & revoked)]
        lost = self.leases - revoked - there
        if len(lost | (there - self.leases)) > WRITERS:
            found.append(f"leases {sorted(lost)} are gone, {sorted(there - self.leases)} are new")
        self.leases = there
        return found
