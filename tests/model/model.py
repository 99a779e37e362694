"""The trivial reference store: one whole dict per revision, and nothing remembered twice.

Written from the specification alone, to be compared with the real ones. It is slow on purpose,
knows no durability (whoever wants to crash it keeps a `clone`), and asks the caller for the time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

from kvstore.errors import (
    Compacted,
    FutureRevision,
    KeyNotFound,
    LeaseExists,
    LeaseNotFound,
    LeaseTtlTooLarge,
)
from kvstore.keys import KeyRange
from kvstore.types import (
    DeleteRangeOp,
    DeleteRangeResult,
    Event,
    EventType,
    KeyValue,
    Op,
    OpResult,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    Txn,
    TxnResult,
    WatchFilter,
)
from tests.model.request_checks import check_range, check_txn
from tests.model.state import State, select, succeeds

__all__ = ["Model", "ModelLease", "State"]

MAX_TXN_OPS = 128
MAX_TTL_S = 9_000_000_000


class ModelLease(NamedTuple):
    ttl_s: int
    expires_at_s: float


class Model:
    """Every state and every event since revision 1; compaction only forbids, it forgets nothing."""

    def __init__(self, *, min_lease_ttl_s: int = 2, max_txn_ops: int = MAX_TXN_OPS) -> None:
        self.states: dict[int, State] = {1: {}}
        self.events: dict[int, list[Event]] = {1: []}
        self.revision = 1
        self.compact_revision = -1
        self.leases: dict[int, ModelLease] = {}
        self.min_lease_ttl_s = min_lease_ttl_s
        self.max_txn_ops = max_txn_ops

    def clone(self) -> Model:
        """A copy that lives its own life; states and event lists are never changed once made."""
        other = copy.copy(self)
        other.states, other.events = dict(self.states), dict(self.events)
        other.leases = dict(self.leases)
        return other

    # -- reading

    def range(self, op: RangeOp) -> RangeResult:
        check_range(op)
        if op.revision > self.revision:
            raise FutureRevision
        revision = op.revision if op.revision > 0 else self.revision
        if revision < self.compact_revision:
            raise Compacted(self.compact_revision)
        return select(self.states[revision], op, self.revision)

    def watch(self, key_range: KeyRange, start: int, filters: Sequence[int] = ()) -> list[Event]:
        """All matching events from `start` on, with prev_kv wherever there was one."""
        hidden = {EventType.PUT: WatchFilter.NOPUT, EventType.DELETE: WatchFilter.NODELETE}
        return [
            event
            for revision in range(max(start, 1), self.revision + 1)
            for event in self.events[revision]
            if event.kv.key in key_range and hidden[event.type] not in filters
        ]

    # -- writing

    def txn(self, txn: Txn) -> TxnResult:
        """All or nothing: a refused transaction leaves the model as it was."""
        check_txn(txn, self.max_txn_ops)
        self._check_path(txn)
        run = _Run(self.states, self.revision)
        result = run.txn(txn)
        self._append(run)
        return result._replace(revision=self.revision)

    def compact(self, revision: int) -> int:
        if revision <= self.compact_revision:
            raise Compacted(self.compact_revision)
        if revision > self.revision:
            raise FutureRevision
        self.compact_revision = revision
        return self.revision

    def _append(self, run: _Run) -> None:
        if run.events:
            self.revision += 1
            self.states[self.revision] = run.state
            self.events[self.revision] = run.events

    def _check_path(self, txn: Txn) -> None:
        for op in _taken(txn, self.states[self.revision]):
            match op:
                case RangeOp() if op.revision != 0:
                    if op.revision > self.revision:
                        raise FutureRevision
                    if op.revision < self.compact_revision:
                        raise Compacted(self.compact_revision)
                case PutOp():
                    if op.lease and op.lease not in self.leases:
                        raise LeaseNotFound
                    if _keeps(op) and op.key not in self.states[self.revision]:
                        raise KeyNotFound
                case Txn():
                    self._check_path(op)

    # -- leases

    def lease_grant(self, ttl_s: int, lease_id: int, now_s: float) -> ModelLease:
        if ttl_s > MAX_TTL_S:
            raise LeaseTtlTooLarge
        if lease_id in self.leases:
            raise LeaseExists
        ttl_s = max(ttl_s, self.min_lease_ttl_s)
        self.leases[lease_id] = ModelLease(ttl_s, now_s + ttl_s)
        return self.leases[lease_id]

    def lease_keep_alive(self, lease_id: int, now_s: float) -> int:
        """The TTL it was given again, 0 when it is unknown or has run out."""
        if lease_id not in self.leases or self.leases[lease_id].expires_at_s <= now_s:
            return 0
        ttl_s = self.leases[lease_id].ttl_s
        self.leases[lease_id] = ModelLease(ttl_s, now_s + ttl_s)
        return ttl_s

    def lease_keys(self, lease_id: int) -> list[bytes]:
        state = self.states[self.revision]
        return sorted(key for key, kv in state.items() if kv.lease == lease_id)

    def lease_revoke(self, lease_id: int) -> int:
        if lease_id not in self.leases:
            raise LeaseNotFound
        run = _Run(self.states, self.revision)
        for key in self.lease_keys(lease_id):
            run.delete(key)
        del self.leases[lease_id]
        self._append(run)
        return self.revision

    def lease_due(self, now_s: float) -> list[int]:
        """Leases that have run out, the longest expired first."""
        due = [i for i, lease in self.leases.items() if lease.expires_at_s <= now_s]
        return sorted(due, key=lambda i: (self.leases[i].expires_at_s, i))

    def lease_restart(self, now_s: float) -> None:
        """After a crash every lease begins again with its full TTL."""
        for lease_id, lease in self.leases.items():
            self.leases[lease_id] = ModelLease(lease.ttl_s, now_s + lease.ttl_s)


class _Run:
    """One transaction under way: the state so far and the events so far."""

    def __init__(self, states: dict[int, State], revision: int) -> None:
        self.states, self.revision = states, revision
        self.before = states[revision]
        self.state: State = dict(self.before)
        self.events: list[Event] = []

    @property
    def header(self) -> int:
        return self.revision + 1 if self.events else self.revision

    def txn(self, txn: Txn) -> TxnResult:
        succeeded = succeeds(txn, self.before)
        branch = txn.success if succeeded else txn.failure
        return TxnResult(0, succeeded, tuple(self.op(op) for op in branch))

    def op(self, op: Op | None) -> OpResult:
        match op:
            case RangeOp():
                state = self.states[op.revision] if op.revision > 0 else self.state
                return select(state, op, self.header)
            case PutOp():
                return self.put(op)
            case DeleteRangeOp():
                gone = [self.state[key] for key in sorted(self.state) if key in op.range]
                for kv in gone:
                    self.delete(kv.key)
                return DeleteRangeResult(self.header, len(gone), tuple(gone) if op.prev_kv else ())
            case Txn():
                return self.txn(op)
        raise AssertionError(op)

    def put(self, op: PutOp) -> PutResult:
        old = self.state.get(op.key)
        revision = self.revision + 1
        known = old or KeyValue(op.key, create_revision=revision)
        kv = KeyValue(
            op.key,
            known.value if op.ignore_value else op.value,
            known.create_revision,
            revision,
            known.version + 1,
            known.lease if op.ignore_lease else op.lease,
        )
        created = kv.create_revision == revision
        self.events.append(Event(EventType.PUT, kv, None if created else self.before.get(op.key)))
        self.state[op.key] = kv
        return PutResult(self.header, old if op.prev_kv else None)

    def delete(self, key: bytes) -> None:
        tombstone = KeyValue(key, mod_revision=self.revision + 1)
        self.events.append(Event(EventType.DELETE, tombstone, self.before.get(key)))
        del self.state[key]


def _keeps(op: PutOp) -> bool:
    return op.ignore_value or op.ignore_lease


def _taken(txn: Txn, before: State) -> Sequence[Op | None]:
    return txn.success if succeeds(txn, before) else txn.failure
