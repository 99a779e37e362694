"""Is a request well-formed? Functions of the request alone.

Source of the rules: etcd server/etcdserver/api/v3rpc/key.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.errors import (
    DuplicateKey,
    InvalidSortOption,
    KeyNotFound,
    KeyNotProvided,
    LeaseProvided,
    TooManyOperations,
    ValueProvided,
)
from kvstore.keys import FROM_KEY, KeyRange
from kvstore.types import DeleteRangeOp, Op, PutOp, RangeOp, SortOrder, SortTarget, Txn

__all__ = ["check_put", "check_range", "check_txn", "payload_bytes"]

_ORDERS = frozenset(SortOrder)
_TARGETS = frozenset(SortTarget)


def check_range(op: RangeOp) -> None:
    """Raises KeyNotProvided, InvalidSortOption."""
    if not op.range.key:
        raise KeyNotProvided
    if op.sort_order not in _ORDERS or op.sort_target not in _TARGETS:
        raise InvalidSortOption


def check_put(op: PutOp) -> None:
    """Raises KeyNotProvided, ValueProvided, LeaseProvided."""
    if not op.key:
        raise KeyNotProvided
    if op.ignore_value and op.value:
        raise ValueProvided
    if op.ignore_lease and op.lease:
        raise LeaseProvided


def check_txn(txn: Txn, max_ops: int) -> None:
    """Check a whole tree of transactions, the branches not taken too.

    A nested transaction has the budget that its enclosing level leaves.
    Raises TooManyOperations, DuplicateKey and what the checks of its ops raise.
    """
    _check_level(txn, max_ops)
    for branch in (txn.success, txn.failure):
        if len(branch) > 1 or (branch and type(branch[0]) is Txn):
            _Writes().add_branch(branch)


def _check_level(txn: Txn, budget: int) -> None:
    width = max(len(txn.compares), len(txn.success), len(txn.failure))
    if width > budget:
        raise TooManyOperations
    for compare in txn.compares:
        if not compare.range.key:
            raise KeyNotProvided
    for op in (*txn.success, *txn.failure):
        _check_op(op, budget - width)


def _check_op(op: Op | None, budget: int) -> None:
    if isinstance(op, PutOp):
        check_put(op)
    elif isinstance(op, RangeOp):
        check_range(op)
    elif isinstance(op, DeleteRangeOp):
        if not op.range.key:
            raise KeyNotProvided
    elif isinstance(op, Txn):
        _check_level(op, budget)
    else:
        raise KeyNotFound


def payload_bytes(txn: Txn) -> int:
    """Bytes of all keys and values that a transaction carries, in both branches."""
    size = 0
    for ops in (txn.success, txn.failure):
        for op in ops:
            if isinstance(op, PutOp):
                size += len(op.key) + len(op.value)
            elif isinstance(op, DeleteRangeOp):
                size += len(op.range.key) + len(op.range.range_end)
            elif isinstance(op, Txn):
                size += payload_bytes(op)
    return size


class _Writes:
    """What one branch writes, to find a key written twice.

    A put may not repeat a put or fall into a delete; deletes may overlap, and the two branches of a
    nested transaction may write the same key, since only one runs. As in etcd, an interval that is
    open or inverted is not seen as covering anything, and a nested transaction is only checked
    against what stands before it and the puts and deletes of its own level.
    """

    def __init__(self) -> None:
        self.puts: set[bytes] = set()
        self.deletes: list[KeyRange] = []

    def add_branch(self, ops: Sequence[Op | None]) -> None:
        self.deletes += [op.range for op in ops if isinstance(op, DeleteRangeOp)]
        for op in ops:
            if isinstance(op, Txn):
                self._add_nested(op)
        for op in ops:
            if isinstance(op, PutOp):
                if op.key in self.puts or any(_covers(r, op.key) for r in self.deletes):
                    raise DuplicateKey
                self.puts.add(op.key)

    def _add_nested(self, txn: Txn) -> None:
        branches = []
        for ops in (txn.success, txn.failure):
            branch = _Writes()
            branch.add_branch(ops)
            branches.append(branch)
        for branch in branches:
            if any(k in self.puts or any(_covers(r, k) for r in self.deletes) for k in branch.puts):
                raise DuplicateKey
        for branch in branches:
            self.puts |= branch.puts
            self.deletes += branch.deletes


def _covers(key_range: KeyRange, key: bytes) -> bool:
    return key_range.range_end != FROM_KEY and key in key_range
