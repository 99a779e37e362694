"""The engine: every decision of the store, and nothing that waits.

Two frontiers. Writes are decided against `head`; everything that leaves the process (reads, watch
events, answers) is evaluated at `durable`. The index is multi-version, so a pending write is just
a revision above the durable one, and both views come from the same structure.

    decide ──▶ outbox ──take_commit──▶ [commit, by a shell] ──publish──▶ durable moves, events go
                                              └─────────────rollback──▶ as if never decided

Every decision has a *sequence* number, since a lease grant or a compaction mark must be durable
before it is answered and yet makes no revision: an answer waits until `durable_sequence` reaches
the sequence of its decision. Shells call the engine from one thread at a time; it never does I/O
but through the RecordReader it was given.

An exception may come at any point, from the outside, too: Python raises what a signal handler
raises (Ctrl-C) in the middle of whatever runs. One that comes out of a decision takes back that
decision alone: the index and the lessor keep what it touches until one assignment at its end makes
it count. What a second exception leaves of that, or one that comes out of `publish` or `rollback`,
`mend` brings to its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from kvstore.core.lease.lessor import LeaseState, Lessor
from kvstore.core.mvcc.change import Change, Events
from kvstore.core.mvcc.key_index import Entry, entry_at, entry_last
from kvstore.core.mvcc.ranges import read_range
from kvstore.core.mvcc.record import encode, key_of, numbers_of
from kvstore.core.mvcc.revision import bound, main_of, unpack
from kvstore.core.mvcc.tree_index import TreeIndex
from kvstore.core.mvcc.txn import TxnRun, Write
from kvstore.core.mvcc.validate import check_range, check_txn, payload_bytes
from kvstore.core.totals import Totals
from kvstore.core.watch.delivery import Past
from kvstore.core.watch.hub import Hub
from kvstore.core.watch.stream import WatchStream
from kvstore.errors import (
    Compacted,
    CorruptStore,
    FutureRevision,
    KeyNotProvided,
    LeaseExists,
    LeaseNotFound,
    LeaseTtlTooLarge,
    RequestTooLarge,
    TooManyRequests,
)
from kvstore.keys import ALL_KEYS, KeyRange
from kvstore.limits import (
    CATCH_UP_BYTES,
    CATCH_UP_INDEX_KEYS,
    CATCH_UP_REVISIONS,
    CATCH_UP_SCAN_ROWS,
    COMMIT_BYTES,
    MAX_LEASE_TTL_S,
    MAX_REQUEST_BYTES,
    MAX_TXN_OPS,
    MIN_LEASE_TTL_S,
    PENDING_BYTES,
)
from kvstore.types import (
    Event,
    Lease,
    LeaseStatus,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    Txn,
    TxnResult,
)
from kvstore.verify import invariant

if TYPE_CHECKING:
    from kvstore.core.ports import RecordReader
    from kvstore.core.watch.delivery import WatchedChange

__all__ = ["Commit", "Decided", "Engine", "Recovered"]

T = TypeVar("T")


class Decided(Generic[T]):
    """A decision; `result` may leave the process once `durable_sequence >= sequence`."""

    __slots__ = ("result", "sequence")

    def __init__(self, sequence: int, result: T) -> None:
        self.sequence, self.result = sequence, result


class Decision:
    """What one decision changes on disk. What a put has none of is said once, for the class."""

    leases: Sequence[tuple[int, int | None]] = ()
    """id -> TTL, None: removed."""
    compact: int | None = None
    """Scheduled."""
    compacted: int | None = None
    """Finished."""
    dropped: Sequence[int] = ()
    """Packed revisions that compaction removes."""

    def __init__(self, sequence: int, writes: Sequence[Write] = (), size_bytes: int = 0) -> None:
        self.sequence, self.writes, self.size_bytes = sequence, writes, size_bytes

    @property
    def is_change(self) -> bool:
        marks = self.compact is not None or self.compacted is not None
        return marks or bool(self.writes or self.leases or self.dropped)


class Commit:
    """The decisions of one commit, in order."""

    __slots__ = ("decisions", "last_sequence", "write_index")

    def __init__(self, decisions: list[Decision], last_sequence: int, write_index: int) -> None:
        self.decisions, self.last_sequence = decisions, last_sequence
        self.write_index = write_index


class Recovered:
    """What a restart found on disk."""

    def __init__(
        self,
        index: TreeIndex,
        revision: int,
        *,
        compact_revision: int = -1,
        compaction_finished: bool = True,
        write_index: int = 0,
        leases: Iterable[tuple[int, int]] = (),
        attached: Iterable[tuple[bytes, int]] = (),
    ) -> None:
        """`leases` are (id, TTL), `attached` (key, lease)."""
        self.index, self.revision = index, revision
        self.compact_revision, self.compaction_finished = compact_revision, compaction_finished
        self.write_index = write_index
        self.leases, self.attached = leases, attached


class Engine:
    """Decides at `head`, shows `durable`. See the module's docstring for the life of a write."""

    def __init__(
        self,
        reader: RecordReader,
        recovered: Recovered,
        *,
        now: float = 0.0,
        max_txn_ops: int = MAX_TXN_OPS,
        min_lease_ttl_s: int = MIN_LEASE_TTL_S,
        max_request_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        """`max_request_bytes` bounds the keys and values of one transaction."""
        self._reader = reader
        self._max_txn_ops, self._min_lease_ttl_s = max_txn_ops, min_lease_ttl_s
        self._max_request_bytes = max_request_bytes
        self.index = recovered.index
        self.index.begin_turns(recovered.revision)
        self.head = self.durable = recovered.revision
        self.compacted_head = self.compacted = recovered.compact_revision
        self.sequence = self.durable_sequence = 0
        self.write_index = recovered.write_index
        self.lessor = Lessor()
        for lease_id, ttl_s in recovered.leases:
            self.lessor.grant(lease_id, ttl_s, now)  # the full TTL again, as etcd does
        for key, lease_id in recovered.attached:
            self.lessor.attach(key, lease_id)
        self.lessor.changed = {}
        self.totals = totals = Totals()
        self.hub = Hub(self, totals)
        self._undurable: deque[Decision] = deque()  # decided; those of a commit come first
        self._taken: Commit | None = None
        self._publishing = 0  # up to this sequence, while it is done
        self._told = recovered.revision  # what the hub was told of
        self._rolling_back_at: float | None = None
        self._records: dict[int, bytes] = {}  # of the revisions above durable
        self._pending_bytes = 0
        self._compacting: list[bytes] | None = None
        self._undropped: list[int] = []  # out of the index, but the commit that dropped them failed
        if not recovered.compaction_finished:
            self._compacting = list(self.index.superseded)

    def __repr__(self) -> str:
        return (
            f"Engine(head={self.head}, durable={self.durable}, compacted={self.compacted}, "
            f"pending={len(self._undurable)}, {self.lessor}, {self.hub})"
        )

    # -- reads, at durable -----------------------------------------------------------------------

    def range(self, op: RangeOp) -> RangeResult:
        """Raises KeyNotProvided, InvalidSortOption, Compacted, FutureRevision."""
        check_range(op)
        self.totals.ranges += 1
        return read_range(
            self.index,
            op,
            self.read_revision(op.revision),
            published=self.durable,
            fetch=self._reader.get_many,
            header=self.durable,
        )

    def read_revision(self, revision: int) -> int:
        """The revision that a read asking for `revision` sees. Raises Compacted, FutureRevision."""
        if revision <= 0:
            return self.durable
        if revision > self.durable:
            raise FutureRevision
        if revision < self.compacted:
            raise Compacted(self.compacted)
        return revision

    def records_at(self, key_range: KeyRange, revision: int, limit: int) -> list[bytes]:
        """The first `limit` records of an interval at a revision from `read_revision`.

        Raises Compacted when the revision was compacted since.
        """
        if revision < self.compacted:
            raise Compacted(self.compacted)
        live = revision == self.durable
        return self._reader.get_many(
            self.index.revisions(key_range, revision, live=live, limit=limit)
        )

    def get(self, key: bytes, revision: int = 0) -> bytes | None:
        """The record of one key; the short way of a range. Raises as `read_revision`."""
        self.totals.ranges += 1
        entry = self.index.get(key)
        at = self.durable if revision == 0 else self.read_revision(revision)
        if entry is None:
            return None
        packed = entry_at(entry, (at + 1) << 32)
        return self._reader.get(packed) if packed else None

    # -- decisions, at head ----------------------------------------------------------------------

    def txn(self, txn: Txn) -> Decided[TxnResult]:
        """Raises any InvalidRequest, Compacted, FutureRevision, LeaseNotFound, TooManyRequests."""
        if len(txn.success) == 1 and not txn.compares and not txn.failure:
            op = txn.success[0]
            if type(op) is PutOp and not (op.prev_kv or op.ignore_value or op.ignore_lease):
                main = self.put(op.key, op.value, op.lease)
                return Decided(self.sequence, TxnResult(main, True, (PutResult(main),)))
        check_txn(txn, self._max_txn_ops)
        if payload_bytes(txn) > self._max_request_bytes:
            raise RequestTooLarge
        self._refuse_overload()
        decision = self._begin(is_request=not _is_read(txn))
        run = TxnRun(self, txn)
        try:
            result = run.run()
            run.add_to(self.totals)
            return self._decide(decision, run, result)
        except BaseException:
            self._take_back()
            raise

    def put(self, key: bytes, value: bytes, lease_id: int = 0) -> int:
        """`txn` of one plain put: the same checks and writes, without the passes over a tree.

        Returns its revision, which may leave the process once what is now `sequence` is durable.
        """
        if not key:
            raise KeyNotProvided
        if len(key) + len(value) > self._max_request_bytes:
            raise RequestTooLarge
        self._refuse_overload()
        self.write_index += 1
        if lease_id and lease_id not in self.lessor:
            raise LeaseNotFound
        main, index = self.head + 1, self.index
        if index.touched:
            self._take_back()  # an exception came out of that
        try:
            packed, create, version = index.put(key, main, 0)
            record = encode(key, value, create, main, version, lease_id)
            self._records[packed] = record
            self.lessor.attach(key, lease_id)
            self.totals.puts += 1
            size = len(record)
            sequence = self.sequence + 1
            self._undurable.append(Decision(sequence, (Write(packed, key, record, version),), size))
            self._pending_bytes += size
            self.sequence, self.head, index.touched = sequence, main, []  # now it counts
            return main
        except BaseException:
            self._take_back()
            raise

    def lease_grant(self, ttl_s: int, lease_id: int, now: float) -> Decided[Lease]:
        """`lease_id` must not be 0 here. Raises LeaseExists, LeaseTtlTooLarge, TooManyRequests."""
        if ttl_s > MAX_LEASE_TTL_S:
            raise LeaseTtlTooLarge
        if lease_id in self.lessor:
            raise LeaseExists
        self._refuse_overload()
        try:
            decision = self._begin()
            real_ttl_s = max(ttl_s, self._min_lease_ttl_s)
            self.lessor.grant(lease_id, real_ttl_s, now).granted_at = decision.sequence
            decision.leases = ((lease_id, real_ttl_s),)
            self.totals.grant(real_ttl_s)
            return self._decide(decision, None, Lease(lease_id, real_ttl_s, self.head))
        except BaseException:
            self._take_back()
            raise

    def lease_revoke(self, lease_id: int) -> Decided[int]:
        """The result is the header revision. Raises LeaseNotFound."""
        lease = self.lessor.get(lease_id)
        if lease is None:
            raise LeaseNotFound
        try:
            decision = self._begin()
            run = TxnRun(self, Txn())
            run.delete_keys(sorted(lease.keys))
            self.lessor.remove(lease_id)
            decision.leases = ((lease_id, None),)
            run.add_to(self.totals)
            self.totals.leases_revoked += 1
            return self._decide(decision, run, run.revision)
        except BaseException:
            self._take_back()
            raise

    def expire(self, now: float, limit: int) -> int:
        """Revoke up to `limit` leases whose time is up, one revision each; returns how many."""
        due = self.lessor.due(now, limit)
        for lease_id in due:
            self.lease_revoke(lease_id)
        self.totals.leases_expired += len(due)
        return len(due)

    def compact(self, revision: int) -> Decided[int]:
        """Mark a compaction; once published, `compaction_step` does it. The result is the head.

        Raises Compacted, FutureRevision.
        """
        if revision <= self.compacted_head:
            raise Compacted(self.compacted_head)
        if revision > self.durable:
            raise FutureRevision
        try:
            decision = self._begin()
            decision.compact = revision
            return self._decide(decision, None, self.head)
        except BaseException:
            self._take_back()
            raise

    def compaction_step(self, max_keys: int) -> bool:
        """Drop the unreachable history of up to `max_keys` keys; False when there is no more to do.

        A step is a decision like any other; the last one marks the compaction as finished.
        """
        if self._compacting is None:
            return False
        try:
            return self._decide_step(self._compacting, max_keys)
        except BaseException:
            self._take_back()  # the keys are visited again; what was dropped waits in `_undropped`
            raise

    def _decide_step(self, compacting: list[bytes], max_keys: int) -> bool:
        decision = self._begin(is_request=False)
        for key in compacting[-max_keys:]:
            self.index.compact(key, self.compacted, self._undropped)
        decision.dropped = tuple(self._undropped)
        decision.size_bytes = 64 * len(decision.dropped)
        self.totals.compacted_records += len(decision.dropped)
        is_last = len(compacting) <= max_keys
        if is_last and self.compacted == self.compacted_head:
            decision.compacted = self.compacted  # else a newer mark is coming: stay unfinished
        self._decide(decision, None, None)
        self._undropped = []
        if is_last:
            self._compacting = None
        else:
            del compacting[-max_keys:]
        return not is_last

    @property
    def is_compacting(self) -> bool:
        return self._compacting is not None

    # -- leases, no decision ---------------------------------------------------------------------

    def lease_keep_alive(self, lease_id: int, now: float) -> Decided[int]:
        """The TTL that begins now; 0 when unknown or its time is up (then it will be revoked).

        A renewal changes nothing on disk: the answer waits for the grant alone. That a lease is
        gone is to be said when its revocation is durable.
        """
        ttl_s = self.lessor.renew(lease_id, now)
        lease = self.lessor.get(lease_id)
        if ttl_s:
            self.totals.leases_renewed += 1
        return Decided(lease.granted_at if ttl_s and lease else self.sequence, ttl_s)

    def lease_renew(self, lease_id: int, now: float) -> int:
        """The TTL that begins now; 0, and nothing is done, where `lease_keep_alive` has to wait."""
        lease = self.lessor.get(lease_id)
        if lease is None or lease.granted_at > self.durable_sequence:
            return 0
        ttl_s = self.lessor.renew(lease_id, now)
        self.totals.leases_renewed += ttl_s > 0
        return ttl_s

    def lease_status(self, lease_id: int, now: float, *, keys: bool) -> LeaseStatus:
        lease = self.lessor.get(lease_id)
        if lease is None:
            return LeaseStatus(lease_id, -1, 0, (), self.durable)
        attached = tuple(sorted(lease.keys)) if keys else ()
        remaining_s = self.lessor.remaining_s(lease, now)
        return LeaseStatus(lease_id, remaining_s, lease.ttl_s, attached, self.durable)

    # -- commits ---------------------------------------------------------------------------------

    @property
    def has_outbox(self) -> bool:
        """Is there a decision that is in no commit?"""
        taken = self._taken
        return len(self._undurable) > (0 if taken is None else len(taken.decisions))

    @property
    def taken(self) -> Commit | None:
        """The commit that was begun and neither published nor taken back."""
        return self._taken

    @property
    def pending(self) -> tuple[int, int]:
        """How many decisions are not durable, and their bytes."""
        return len(self._undurable), self._pending_bytes

    def take_commit(self, max_bytes: int = COMMIT_BYTES) -> Commit:
        """The next commit: decisions up to `max_bytes`, at least one. Only with `has_outbox`."""
        invariant(not self._taken, "the last commit has neither been published nor taken back")
        decisions: list[Decision] = []
        size = 0
        for decision in self._undurable:
            if decisions and size >= max_bytes:
                break
            size += decision.size_bytes
            decisions.append(decision)
        self.totals.decided_bytes += size
        self._taken = commit = Commit(decisions, decisions[-1].sequence, self.write_index)
        return commit

    def publish(self, sequence: int) -> None:
        """Everything up to `sequence` is durable and the reader sees it: show it, tell watchers.

        Revisions of one commit go to a watcher in one message, as long as that of catching up is.
        """
        self._publishing = sequence
        undurable, index, hub = self._undurable, self.index, self.hub
        changes: list[WatchedChange] = []
        pace = None if hub.is_idle else _Pace()
        while undurable and undurable[0].sequence <= sequence:
            decision = undurable[0]
            writes = decision.writes
            if writes:
                for write in writes:
                    index.publish(write.key, write.packed, write.version)
                    del self._records[write.packed]
                main = writes[0].packed >> 32
                if pace is not None:
                    if pace.is_over(main, decision.size_bytes):
                        hub.deliver(changes)
                        changes, pace = [], _Pace()
                        pace.is_over(main, decision.size_bytes)
                    changes += [Change(w.packed, w.key, w.record) for w in writes]
            if writes and decision.compact is None:  # as `_show`, which is a call for each put
                self.durable, self.durable_sequence = main, decision.sequence
                self._pending_bytes -= decision.size_bytes
                undurable.popleft()
            else:
                self._show(decision)
        if changes:
            hub.deliver(changes)
        self._told, self._taken, self._publishing = self.durable, None, 0

    def _show(self, decision: Decision) -> None:
        """The first undurable decision is durable. May be called again after an exception."""
        if decision.compact is not None:
            self._compacting = list(self.index.superseded)
            self.compacted = decision.compact
        if decision.writes:
            self.durable = decision.writes[0].packed >> 32
        self.durable_sequence = decision.sequence
        self._pending_bytes -= decision.size_bytes
        self._undurable.popleft()

    def rollback(self, now: float) -> None:
        """A commit failed and certainly wrote nothing: take back everything that is not durable.

        What was touched is read again: keys from their last durable record, leases from their rows.
        """
        self._rolling_back_at = now
        undone = list(self._undurable)
        keys = {write.key for decision in undone for write in decision.writes}
        leases = {lease_id for decision in undone for lease_id, _ in decision.leases}
        self.index.mend(self.durable)
        for lease_id in leases:
            self._restore_lease(lease_id, now)
        for key in sorted(keys):
            self._restore_key(key, bound(self.durable))
        self._undropped += [packed for decision in undone for packed in decision.dropped]
        if any(decision.dropped or decision.compacted is not None for decision in undone):
            self._compacting = self._compacting or []
        self.head, self.compacted_head = self.durable, self.compacted
        self.durable_sequence = self.sequence  # numbers are not used twice; the shell tells waiters
        self._undurable, self._records, self._pending_bytes = deque(), {}, 0
        self.index.touched, self.lessor.changed = [], {}
        self._taken = self._rolling_back_at = None

    # -- what was broken off ---------------------------------------------------------------------

    def mend(self) -> None:
        """Bring to its end what an exception broke off; nothing when that is nothing.

        A decision that was being made is taken back, a publication or a rollback is finished. To be
        called before anything else is, and again if an exception comes out of it. O(keys) when it
        broke off a publication.
        """
        if self._rolling_back_at is not None:
            self.rollback(self._rolling_back_at)
        else:
            self._take_back()
        if self._publishing:
            self._finish(self._publishing)
        elif self.hub.is_torn:
            self.hub.recall(self._told)

    @property
    def is_broken_off(self) -> bool:
        """Is there something for `mend`?"""
        undurable = self._undurable
        return bool(
            (undurable and undurable[-1].sequence > self.sequence)
            or self._publishing
            or self._rolling_back_at is not None
            or self.hub.is_torn
            or self.index.touched
            or self.lessor.changed
        )

    def _take_back(self) -> None:
        """Undo what was written above the head; it counts only once it is sealed."""
        undurable, below = self._undurable, bound(self.head)
        while undurable and undurable[-1].sequence > self.sequence:
            undurable.pop()
            self._pending_bytes = sum(decision.size_bytes for decision in undurable)
        self.index.mend(self.durable)
        if self.lessor.changed or self.index.touched:
            self.lessor.take_back()
            for key in self.index.touched:
                self._restore_key(key, below)
            self._records = {at: one for at, one in self._records.items() if at < below}
            self.index.touched, self.lessor.changed = [], {}

    def _finish(self, sequence: int) -> None:
        """As `publish`, from wherever it broke off; watchers read what they may lack in the log."""
        while self._undurable and self._undurable[0].sequence <= sequence:
            self._show(self._undurable[0])
        undurable = self._undurable
        self._records = {w.packed: w.record for one in undurable for w in one.writes}
        self._pending_bytes = sum(decision.size_bytes for decision in undurable)
        self.index.republish(self.durable)
        self.hub.recall(self._told)
        self._told, self._taken, self._publishing = self.durable, None, 0

    def _restore_lease(self, lease_id: int, now: float) -> None:
        # If the lease was durable, the first thing undone is its revocation, which touched all of
        # its keys; so nothing is lost by beginning without any.
        self.lessor.remove(lease_id)
        ttl_s = self._reader.lease_ttl_s(lease_id)
        if ttl_s is not None:
            self.lessor.grant(lease_id, ttl_s, now)

    def _restore_key(self, key: bytes, below: int) -> None:
        last = self.index.forget(key, below)
        lease_id = 0
        if last:
            create, _, version, lease_id = numbers_of(self.record(last))
            self.index.restore(key, create, version)
        self.lessor.reattach(key, lease_id)

    # -- watching --------------------------------------------------------------------------------

    def watch_stream(
        self, on_ready: Callable[[], None], hold: Callable[[int], bool] | None = None
    ) -> WatchStream:
        return WatchStream(self.hub, on_ready, hold)

    def history(self, key_range: KeyRange, first: int, *, prev: bool) -> Past:
        """See kvstore.core.watch.delivery.History."""
        few = self.index.count_known(key_range) <= CATCH_UP_INDEX_KEYS
        past = (
            self._history_by_index(key_range, first)
            if few
            else self._history_by_scan(key_range, first)
        )
        if prev:
            self.load_prev(past.changes)
        return past

    def _history_by_index(self, key_range: KeyRange, first: int) -> Past:
        end = self.durable + 1
        found: list[tuple[int, bytes]] = []
        for key in self.index.known(key_range):
            revisions = self.index.since(key, first << 32, end << 32, CATCH_UP_REVISIONS + 1)
            found += [(packed, key) for packed in revisions]
            if len(revisions) > CATCH_UP_REVISIONS:  # cut: what other keys have beyond must wait
                end = min(end, main_of(revisions[-1]))
        found = sorted(one for one in found if one[0] < end << 32)
        changes: list[WatchedChange] = []
        pace = _Pace()
        for start in range(0, len(found), 256):
            piece = found[start : start + 256]
            records = self._reader.get_checked([packed for packed, _ in piece])
            for (packed, key), record in zip(piece, records, strict=True):
                if pace.is_over(packed >> 32, len(record)):
                    return Past(changes, packed >> 32, len(changes))
                changes.append(Change(packed, key, record))
        return Past(changes, end, len(changes))

    def _history_by_scan(self, key_range: KeyRange, first: int) -> Past:
        rows = self._reader.scan(first << 32, CATCH_UP_SCAN_ROWS)
        more = len(rows) == CATCH_UP_SCAN_ROWS
        while more and main_of(rows[0][0]) == main_of(rows[-1][0]):  # a revision is never split
            piece = self._reader.scan(rows[-1][0] + 1, CATCH_UP_SCAN_ROWS)
            more = len(piece) == CATCH_UP_SCAN_ROWS
            rows += piece
        end = min(main_of(rows[-1][0]) if more else self.durable + 1, self.durable + 1)
        changes: list[WatchedChange] = []
        pace = _Pace()
        for packed, record in rows:
            main = packed >> 32
            if main >= end:
                break
            key = key_of(record)
            if key in key_range:
                if pace.is_over(main, len(record)):
                    return Past(changes, main, len(rows))
                changes.append(Change(packed, key, record))
        return Past(changes, end, len(rows))

    def events(self, changes: Sequence[WatchedChange], *, prev: bool) -> Sequence[Event]:
        return Events(cast("list[Change]", changes), prev=prev)

    def load_prev(self, changes: Iterable[WatchedChange]) -> None:
        wanted: list[tuple[Change, int]] = []
        for change in cast("Iterable[Change]", changes):
            if not change.has_prev:
                change.has_prev = True
                if change.is_create:
                    continue  # also after a delete in the same revision
                entry = self.index.get(change.key)
                main = change.packed >> 32
                packed = entry_at(entry, main << 32) if entry is not None else 0
                if packed:
                    wanted.append((change, packed))
        if wanted:
            records = self._checked_records([packed for _, packed in wanted])
            for (change, _), record in zip(wanted, records, strict=True):
                if isinstance(record, CorruptStore):
                    change.damage = record
                else:
                    change.prev = record

    def _checked_records(self, packed: Sequence[int]) -> Sequence[bytes | CorruptStore]:
        """Records, or what is wrong with them: publishing a commit may not raise."""
        try:
            return self.records(packed) if self._records else self._reader.get_checked(packed)
        except CorruptStore:
            return [self._record_or_damage(one) for one in packed]

    def _record_or_damage(self, packed: int) -> bytes | CorruptStore:
        try:
            return self.record(packed)
        except CorruptStore as error:
            return error

    # -- what a TxnRun asks (kvstore.core.mvcc.txn.HeadView) -------------------------------------

    def record(self, packed: int) -> bytes:
        pending = self._records.get(packed)
        return self._reader.get(packed) if pending is None else pending

    def records(self, packed: Sequence[int]) -> list[bytes]:
        if not self._records:
            return self._reader.get_many(packed)
        return [self.record(one) for one in packed]

    def has_lease(self, lease_id: int) -> bool:
        return lease_id in self.lessor

    def write(self, write: Write, lease_id: int) -> None:
        self._records[write.packed] = write.record
        self.lessor.attach(write.key, lease_id)

    # -- inside ----------------------------------------------------------------------------------

    def _refuse_overload(self) -> None:
        if self._pending_bytes >= PENDING_BYTES:
            raise TooManyRequests

    def _begin(self, *, is_request: bool = True) -> Decision:
        if self.index.touched or self.lessor.changed:
            self._take_back()  # an exception came out of that
        self.write_index += is_request
        return Decision(self.sequence + 1)

    def _decide(self, decision: Decision, run: TxnRun | None, result: T) -> Decided[T]:
        head = self.head
        if run is not None and run.writes:
            decision.writes = run.writes
            for write in run.writes:
                decision.size_bytes += len(write.record)
            head = run.main
        elif not decision.is_change:  # it only read, at the head: wait for what it saw
            return Decided(self.sequence, result)
        index, lessor = self.index, self.lessor
        compacted = self.compacted_head if decision.compact is None else decision.compact
        decided = Decided(decision.sequence, result)
        sealed: tuple[int, int, int, list[bytes], dict[int, LeaseState | None]] = (
            decision.sequence,
            head,
            compacted,
            [],
            {},
        )
        self._undurable.append(decision)
        self._pending_bytes += decision.size_bytes
        # Now it counts. One line, since an exception may come between any two.
        self.sequence, self.head, self.compacted_head, index.touched, lessor.changed = sealed
        return decided

    # -- invariants ------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """Everything that is wrong in memory, as sentences; [] when sound. O(n)."""
        wrong = self.index.check() + self.lessor.check() + self.hub.check()
        if not self.compacted <= self.durable <= self.head:
            wrong.append(f"the revisions are out of order: {self!r}")
        if self.durable_sequence > self.sequence:
            wrong.append(f"sequence {self.durable_sequence} is durable above {self.sequence}")
        for packed in self._records:
            main, sub, _ = unpack(packed)
            if not self.durable < main <= self.head:
                wrong.append(f"a record is pending at {main}.{sub}: {self!r}")
        for key in self.index.known(ALL_KEYS):
            last = entry_last(cast("Entry", self.index.get(key)))
            if main_of(last) > self.head:
                wrong.append(f"{key!r} has a revision above the head {self.head}")
        return wrong


def _is_read(txn: Txn) -> bool:
    for branch in (txn.success, txn.failure):
        for op in branch:
            if type(op) is not RangeOp:
                return False
    return bool(txn.success or txn.failure)


class _Pace:
    """Where a catch-up message ends: whole revisions, up to a number of them or of bytes."""

    __slots__ = ("_bytes", "_main", "_revisions")

    def __init__(self) -> None:
        self._main = self._revisions = self._bytes = 0

    def is_over(self, main: int, size_bytes: int) -> bool:
        """Count one more record of revision `main`; True: it belongs into the next message."""
        if main != self._main:
            if self._revisions == CATCH_UP_REVISIONS or self._bytes >= CATCH_UP_BYTES:
                return True
            self._main = main
            self._revisions += 1
        self._bytes += size_bytes
        return False
