"""What is wrong with a request whatever the state of the store, in the order etcd looks for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kvstore.errors import (
    DuplicateKey,
    InvalidSortOption,
    KeyNotFound,
    KeyNotProvided,
    LeaseProvided,
    TooManyOperations,
    ValueProvided,
)
from kvstore.keys import KeyRange
from kvstore.types import DeleteRangeOp, Op, PutOp, RangeOp, SortOrder, SortTarget, Txn

__all__ = ["check_range", "check_txn"]


def check_txn(txn: Txn, budget: int) -> None:
    """Both branches, the one that will not run too."""
    _check_size(txn, budget)
    _written_keys(txn.success)
    _written_keys(txn.failure)


def check_range(op: RangeOp) -> None:
    if not op.range.key:
        raise KeyNotProvided
    if op.sort_order not in list(SortOrder) or op.sort_target not in list(SortTarget):
        raise InvalidSortOption


def _check_op(op: Op | None, budget: int) -> None:
    match op:
        case RangeOp():
            check_range(op)
        case PutOp():
            if not op.key:
                raise KeyNotProvided
            if op.ignore_value and op.value:
                raise ValueProvided
            if op.ignore_lease and op.lease:
                raise LeaseProvided
        case DeleteRangeOp():
            if not op.range.key:
                raise KeyNotProvided
        case Txn():
            _check_size(op, budget)
        case None:
            raise KeyNotFound


def _check_size(txn: Txn, budget: int) -> None:
    size = max(len(txn.compares), len(txn.success), len(txn.failure))
    if size > budget:
        raise TooManyOperations
    if any(not compare.range.key for compare in txn.compares):
        raise KeyNotProvided
    for op in (*txn.success, *txn.failure):
        _check_op(op, budget - size)


def _written_keys(ops: Sequence[Op | None]) -> tuple[set[bytes], list[KeyRange]]:
    """Keys put and intervals deleted by a branch and all below it; a key written twice is refused.

    The intervals are taken as they are written: one up to FROM_KEY, or inverted, covers nothing.
    """
    puts: set[bytes] = set()
    deletes = [op.range for op in ops if isinstance(op, DeleteRangeOp)]
    for op in ops:
        if isinstance(op, Txn):
            then_puts, then_deletes = _written_keys(op.success)
            else_puts, else_deletes = _written_keys(op.failure)
            _check_unique(then_puts, puts, deletes)
            _check_unique(else_puts, puts, deletes)
            puts |= then_puts | else_puts
            deletes += then_deletes + else_deletes
    for op in ops:
        if isinstance(op, PutOp):
            _check_unique({op.key}, puts, deletes)
            puts.add(op.key)
    return puts, deletes


def _check_unique(keys: Iterable[bytes], puts: set[bytes], deletes: list[KeyRange]) -> None:
    for key in keys:
        covered = any(key == r.key if r.is_single else r.key <= key < r.range_end for r in deletes)
        if key in puts or covered:
            raise DuplicateKey
