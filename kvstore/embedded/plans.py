"""What both faces decide without waiting: a transaction and how to read its answer.

    arguments ──plan──> Plan(txn, finish) ──a face runs the txn──> TxnResult ──finish──> answer

A guarded write reads the key in its failure branch, so that one round tells what stood in the way.
"""

from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

from kvstore.embedded import ops
from kvstore.embedded.arguments import check_flag, compares_of, int64, ops_of, to_bytes
from kvstore.embedded.conditions import mod
from kvstore.embedded.ops import Key, LeaseLike, Value
from kvstore.errors import Conflict, FutureRevision, InvalidRequest
from kvstore.keys import KeyRange
from kvstore.types import (
    Compare,
    DeleteRangeResult,
    Event,
    EventType,
    KeyValue,
    Op,
    PutResult,
    RangeResult,
    Txn,
    TxnResult,
    WatchCreate,
)
from kvstore.verify import InvariantBroken

__all__ = [
    "UPDATE_RETRIES",
    "Kept",
    "Plan",
    "Swap",
    "TxnBuilder",
    "delete",
    "grant",
    "kept_since",
    "mark",
    "past",
    "put",
    "survivor",
    "swap",
    "update",
    "watch",
]

UPDATE_RETRIES: Final = 100
"""How often an update tries again; each conflict means that another writer went on."""

T = TypeVar("T")
R = TypeVar("R")


class Plan(Generic[T]):
    """Run `txn`, give its result to `finish`; that answers or raises Conflict."""

    __slots__ = ("finish", "txn")

    def __init__(self, txn: Txn, finish: Callable[[TxnResult], T]) -> None:
        self.txn, self.finish = txn, finish


class Swap(NamedTuple):
    """The answer of a compare and swap: true when it swapped.

    `revision` is the store's revision, of the swap itself when it took place. `actual` is the
    key as it was found when it did not; None when there was no such key.
    """

    succeeded: bool
    revision: int
    actual: KeyValue | None = None

    def __bool__(self) -> bool:
        return self.succeeded


def put(
    key: Key,
    value: Value,
    *,
    lease: LeaseLike,
    if_absent: bool,
    if_revision: int | None,
    prev_kv: bool,
) -> Plan[PutResult]:
    op = ops.put(key, value, lease=lease, prev_kv=prev_kv)
    if if_absent is not False:
        check_flag(if_absent, "if_absent")
    if if_absent and if_revision is not None:
        raise InvalidRequest("if_absent and if_revision exclude each other")
    return _guarded(op.key, op, 0 if if_absent else if_revision, _put_result)


def delete(
    key: Key | None,
    end: Key | None,
    *,
    prefix: Key | None,
    from_: Key | None,
    if_revision: int | None,
    prev_kv: bool,
) -> Plan[DeleteRangeResult]:
    op = ops.delete(key, end, prefix=prefix, from_=from_, prev_kv=prev_kv)
    if if_revision is not None and not op.range.is_single:
        raise InvalidRequest("if_revision guards one key, not an interval")
    return _guarded(op.range.key, op, if_revision, _delete_result)


def swap(key: Key, value: Value, revision: int, *, lease: LeaseLike) -> Plan[Swap]:
    op = ops.put(key, value, lease=lease)
    revision = int64(revision, "revision", 0)

    def finish(result: TxnResult) -> Swap:
        actual = None if result.succeeded else _found(result)
        return Swap(result.succeeded, result.revision, actual)

    return Plan(Txn((mod(op.key) == revision,), (op,), (ops.get(op.key),)), finish)


def update(
    key: Key, kv: KeyValue | None, fn: Callable[[bytes | None], Value | None]
) -> Plan[KeyValue | None]:
    """One round of an update: `kv` is the key as it was read, `fn` says what it becomes."""
    raw = ops.single_key(key)
    changed = fn(None if kv is None else kv.value)
    old = KeyValue(raw) if kv is None else kv
    if changed is None:
        removal = ops.delete(raw)
        return _guarded(raw, removal, old.mod_revision, lambda result: None)
    new = to_bytes(changed)

    def finish(result: TxnResult) -> KeyValue:
        at = result.revision
        return KeyValue(raw, new, old.create_revision or at, at, old.version + 1, old.lease)

    return _guarded(raw, ops.put(raw, new, lease=old.lease), old.mod_revision, finish)


class Kept:
    """Where the history of a key begins: a survivor to read first (0: none), then the changes."""

    __slots__ = ("since", "survivor_revision")

    def __init__(self, survivor_revision: int, since: int) -> None:
        self.survivor_revision, self.since = survivor_revision, since


def kept_since(compact_revision: int, since: int) -> Kept:
    """`since` 0 means all that is kept: of what lies at or below a compaction, its last version."""
    since = int64(since, "since", 0)
    if since:
        return Kept(0, since)
    return Kept(max(compact_revision, 0), max(compact_revision + 1, 1))


def survivor(kv: KeyValue) -> Event:
    """The version that a compaction left, as the event that begins a history."""
    return Event(EventType.PUT, kv)


def past(revision: int, newest: int) -> int:
    """A revision to look at.

    Raises:
        InvalidRequest: it is below 1.
        FutureRevision: it does not exist yet.
        TypeError: it is no whole number.
    """
    revision = int64(revision, "revision", 1)
    if revision > newest:
        raise FutureRevision
    return revision


def mark(revision: int, *, physical: bool) -> int:
    """The revision of a compaction. Raises InvalidRequest, TypeError."""
    check_flag(physical, "physical")
    return int64(revision, "revision", 1)


def grant(ttl_s: int, lease_id: int) -> tuple[int, int]:
    """TTL and id of a lease to be granted. Raises InvalidRequest, TypeError."""
    return int64(ttl_s, "ttl_s", 1), int64(lease_id, "lease_id")


def watch(keys: KeyRange, since: int, newest: int, *, prev_kv: bool) -> WatchCreate:
    """`since` 0 is the revision after the newest: fixed here, so that resuming is always exact."""
    check_flag(prev_kv, "prev_kv")
    since = int64(since, "since", 0)
    return WatchCreate(keys, since or newest + 1, prev_kv=prev_kv)


class TxnBuilder(Generic[R]):
    """If all conditions hold run one branch, else the other: `if_(…).then(…).else_(…).commit()`.

    The same class serves both faces: R is a TxnResult, or an awaitable of one. Each step answers
    a new builder, so that a common beginning can be kept and reused. Each raises TypeError for what
    is no condition or no operation.
    """

    __slots__ = ("_run", "txn")

    def __init__(self, run: Callable[[Txn], R], txn: Txn) -> None:
        self._run, self.txn = run, txn

    def __repr__(self) -> str:
        return f"TxnBuilder({self.txn!r})"

    def if_(self, *compares: Compare) -> "TxnBuilder[R]":
        """Add conditions; all must hold. Without any the first branch runs."""
        more = compares_of(compares)
        return self._with(self.txn._replace(compares=(*self.txn.compares, *more)))

    def then(self, *operations: Op) -> "TxnBuilder[R]":
        """Add operations of the branch that runs when the conditions hold."""
        more = ops_of(operations)
        return self._with(self.txn._replace(success=(*self.txn.success, *more)))

    def else_(self, *operations: Op) -> "TxnBuilder[R]":
        """Add operations of the other branch."""
        more = ops_of(operations)
        return self._with(self.txn._replace(failure=(*self.txn.failure, *more)))

    def commit(self) -> R:
        """Run the transaction; see `Store.txn` for the answer and what it raises."""
        return self._run(self.txn)

    def _with(self, txn: Txn) -> "TxnBuilder[R]":
        return TxnBuilder(self._run, txn)


def _guarded(key: bytes, op: Op, expected: int | None, finish: Callable[[TxnResult], T]) -> Plan[T]:
    if expected is None:
        return Plan(Txn(success=(op,)), finish)
    expected = int64(expected, "if_revision", 0)

    def finish_guarded(result: TxnResult) -> T:
        if result.succeeded:
            return finish(result)
        found = _found(result)
        raise Conflict(key, expected, found.mod_revision if found else 0)

    return Plan(
        Txn((mod(key) == expected,), (op,), (ops.get(key, keys_only=True),)), finish_guarded
    )


def _found(result: TxnResult) -> KeyValue | None:
    answer = _only(result, RangeResult)
    return answer.kvs[0] if answer.kvs else None


def _put_result(result: TxnResult) -> PutResult:
    return _only(result, PutResult)._replace(revision=result.revision)


def _delete_result(result: TxnResult) -> DeleteRangeResult:
    return _only(result, DeleteRangeResult)._replace(revision=result.revision)


def _only(result: TxnResult, kind: type[T]) -> T:
    (answer,) = result.responses
    if not isinstance(answer, kind):
        raise InvariantBroken(f"{answer!r} answers an operation that gives a {kind.__name__}")
    return answer
