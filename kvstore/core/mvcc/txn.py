"""Decide a transaction at the head (etcd server/etcdserver/txn/txn.go).

Three passes over the tree: which branches are taken (all compares look at the state before the
transaction), whether every op on that path can run, then the ops in order. Since nothing is
written before the second pass is through, a refused transaction leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from kvstore.core.mvcc.key_index import Entry, entry_create, entry_last, entry_version
from kvstore.core.mvcc.ranges import read_range
from kvstore.core.mvcc.record import Records, decode, encode, encode_tombstone, lease_of
from kvstore.core.mvcc.tree_index import TreeIndex
from kvstore.core.totals import Totals
from kvstore.errors import Compacted, FutureRevision, KeyNotFound, LeaseNotFound
from kvstore.types import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeOp,
    DeleteRangeResult,
    Op,
    OpResult,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    Txn,
    TxnResult,
)

__all__ = ["TxnRun", "Write"]


class Write:
    """One decided write. `version` is what it gave the key, 0 for a delete.

    No NamedTuple: to make one of those takes twice as long, and one is made for every put.
    """

    __slots__ = ("key", "packed", "record", "version")

    def __init__(self, packed: int, key: bytes, record: bytes, version: int) -> None:
        self.packed, self.key, self.record, self.version = packed, key, record, version

    def __repr__(self) -> str:
        return f"Write(revision={self.packed >> 32}, {self.key!r}, version={self.version})"


if TYPE_CHECKING:  # nobody makes one

    class HeadView(Protocol):
        """What a transaction needs of the engine: the state with everything decided so far."""

        @property
        def index(self) -> TreeIndex: ...
        @property
        def head(self) -> int: ...
        @property
        def durable(self) -> int: ...
        @property
        def compacted_head(self) -> int: ...
        def record(self, packed: int) -> bytes:
            """Of any decided revision, durable or not."""
            ...

        def records(self, packed: Sequence[int]) -> list[bytes]: ...
        def has_lease(self, lease_id: int) -> bool: ...
        def write(self, write: Write, lease_id: int) -> None:
            """Keep the record of a decided write and attach the key to the lease (0: to none)."""
            ...


class TxnRun:
    """One transaction, once: `run()`; then `writes` and `revision` say what it did."""

    __slots__ = ("_deletes", "_puts", "_ranges", "_txn", "_view", "main", "writes")

    def __init__(self, view: HeadView, txn: Txn) -> None:
        self._view, self._txn = view, txn
        self.main = view.head + 1
        self.writes: list[Write] = []
        self._ranges = self._puts = self._deletes = 0

    @property
    def revision(self) -> int:
        """The revision after what has run so far."""
        return self.main if self.writes else self.main - 1

    def run(self) -> TxnResult:
        """Raises Compacted, FutureRevision, LeaseNotFound, KeyNotFound, having written nothing."""
        path: list[bool] = []
        self._choose(self._txn, path)
        self._check(self._txn, iter(path).__next__)
        result = self._execute(self._txn, iter(path).__next__)
        return TxnResult(self.revision, result.succeeded, result.responses)

    def add_to(self, totals: Totals) -> None:
        """Count what has run, as etcd counts it."""
        ranges, puts, deletes = self._ranges, self._puts, self._deletes
        totals.ranges += ranges
        totals.puts += puts
        totals.deletes += deletes
        totals.txns += ranges + puts + deletes > 1

    # -- first pass: the path --------------------------------------------------------------------

    def _choose(self, txn: Txn, path: list[bool]) -> None:
        succeeded = all(self._holds(compare) for compare in txn.compares)
        path.append(succeeded)
        for op in txn.success if succeeded else txn.failure:
            if isinstance(op, Txn):
                self._choose(op, path)

    def _holds(self, compare: Compare) -> bool:
        index = self._view.index
        if compare.range.is_single:
            entry = index.get(compare.range.key)
            return self._holds_for(compare, entry if entry and entry_version(entry) else None)
        found = False
        for key in index.known(compare.range):
            entry = index.get(key)
            if entry is not None and entry_version(entry):
                found = True
                if not self._holds_for(compare, entry):
                    return False
        return found or self._holds_for(compare, None)

    def _holds_for(self, compare: Compare, entry: Entry | None) -> bool:
        target, operand = compare.target, compare.operand
        if target == CompareTarget.VALUE:
            if entry is None:
                return False
            stored = decode(self._view.record(entry_last(entry))).value
            wanted = operand if isinstance(operand, bytes) else b""
            sign = (stored > wanted) - (stored < wanted)
        else:
            against = operand if isinstance(operand, int) else 0
            number = self._number(target, entry, otherwise=against)
            sign = (number > against) - (number < against)
        match compare.result:
            case CompareResult.EQUAL:
                return sign == 0
            case CompareResult.NOT_EQUAL:
                return sign != 0
            case CompareResult.GREATER:
                return sign > 0
            case CompareResult.LESS:
                return sign < 0
        return True

    def _number(self, target: int, entry: Entry | None, *, otherwise: int) -> int:
        """What a compare looks at, 0 for a missing key; `otherwise` for an unknown target."""
        match target:
            case CompareTarget.MOD:
                return entry_last(entry) >> 32 if entry else 0
            case CompareTarget.VERSION:
                return entry_version(entry) if entry else 0
            case CompareTarget.CREATE:
                return entry_create(entry) if entry else 0
            case CompareTarget.LEASE:
                return lease_of(self._view.record(entry_last(entry))) if entry else 0
        return otherwise

    # -- second pass: can it run? ----------------------------------------------------------------

    def _check(self, txn: Txn, take: Callable[[], bool]) -> None:
        for op in txn.success if take() else txn.failure:
            if isinstance(op, PutOp):
                self._check_put(op)
            elif isinstance(op, RangeOp):
                self._check_range(op)
            elif isinstance(op, Txn):
                self._check(op, take)

    def _check_put(self, op: PutOp) -> None:
        if op.lease and not self._view.has_lease(op.lease):
            raise LeaseNotFound
        if op.ignore_value or op.ignore_lease:
            entry = self._view.index.get(op.key)
            if entry is None or not entry_version(entry):
                raise KeyNotFound

    def _check_range(self, op: RangeOp) -> None:
        # Unlike a range of its own, one in a transaction takes a negative revision literally.
        if op.revision == 0:
            return
        if op.revision > self._view.head:
            raise FutureRevision
        if op.revision < self._view.compacted_head:
            raise Compacted(self._view.compacted_head)

    # -- third pass: the ops, in order -----------------------------------------------------------

    def _execute(self, txn: Txn, take: Callable[[], bool]) -> TxnResult:
        succeeded = take()
        ops = txn.success if succeeded else txn.failure
        return TxnResult(0, succeeded, [self._execute_op(op, take) for op in ops])

    def _execute_op(self, op: Op | None, take: Callable[[], bool]) -> OpResult:
        if isinstance(op, PutOp):
            return self._put(op)
        if isinstance(op, RangeOp):
            return self._range(op)
        if isinstance(op, DeleteRangeOp):
            return self._delete_range(op)
        assert isinstance(op, Txn), "validation let an empty op through"
        return self._execute(op, take)

    def _range(self, op: RangeOp) -> RangeResult:
        view = self._view
        self._ranges += 1
        return read_range(
            view.index,
            op,
            op.revision if op.revision > 0 else self.revision,
            published=view.durable,
            fetch=view.records,
            header=self.revision,
        )

    def _put(self, op: PutOp) -> PutResult:
        view = self._view
        key, value, lease = op.key, op.value, op.lease
        prev = None
        if op.prev_kv or op.ignore_value or op.ignore_lease:
            entry = view.index.get(key)
            if entry is not None and entry_version(entry):
                prev = decode(view.record(entry_last(entry)))
                value = prev.value if op.ignore_value else value
                lease = prev.lease if op.ignore_lease else lease
        self._puts += 1
        main = self.main
        packed, create, version = view.index.put(key, main, len(self.writes))
        record = encode(key, value, create, main, version, lease)
        write = Write(packed, key, record, version)
        self.writes.append(write)
        view.write(write, lease)
        return PutResult(main, prev if op.prev_kv else None)

    def _delete_range(self, op: DeleteRangeOp) -> DeleteRangeResult:
        view = self._view
        self._deletes += 1
        found = view.index.revisions(op.range, self.revision, live=False)
        records = view.records(found) if found else []
        for record in records:
            self._delete(decode(record).key)
        prev_kvs = Records(records) if op.prev_kv else ()
        return DeleteRangeResult(self.revision, len(records), prev_kvs)

    def _delete(self, key: bytes) -> None:
        packed = self._view.index.tombstone(key, self.main, len(self.writes))
        write = Write(packed, key, encode_tombstone(key, self.main), 0)
        self.writes.append(write)
        self._view.write(write, 0)

    def delete_keys(self, keys: Sequence[bytes]) -> None:
        """Delete those of `keys` that are alive; how a lease's end deletes what it holds."""
        for key in keys:
            entry = self._view.index.get(key)
            if entry is not None and entry_version(entry):
                self._deletes += 1
                self._delete(key)
