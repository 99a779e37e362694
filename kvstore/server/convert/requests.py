"""Requests as they come in, turned into what a store is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kvstore.errors import TooManyOperations
from kvstore.keys import KeyRange
from kvstore.proto import rpc_pb2
from kvstore.types import Compare, DeleteRangeOp, Op, PutOp, RangeOp, Txn, WatchCreate

__all__ = ["delete_range_op", "put_op", "range_op", "txn", "watch_create", "writes"]

_MOST_LEVELS: Final = 200
"""Transactions in one another, whatever --max-txn-ops says; its default allows 128."""

_OPERANDS: Final = ("version", "create_revision", "mod_revision", "value", "lease")
"""The member of the operand's oneof that belongs to each compare target, by its number."""


def range_op(request: rpc_pb2.RangeRequest) -> RangeOp:
    return RangeOp(
        KeyRange(request.key, request.range_end),
        request.limit,
        request.revision,
        request.sort_order,
        request.sort_target,
        request.serializable,
        request.keys_only,
        request.count_only,
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    )


def put_op(request: rpc_pb2.PutRequest) -> PutOp:
    return PutOp(
        request.key,
        request.value,
        request.lease,
        request.prev_kv,
        request.ignore_value,
        request.ignore_lease,
    )


def delete_range_op(request: rpc_pb2.DeleteRangeRequest) -> DeleteRangeOp:
    return DeleteRangeOp(KeyRange(request.key, request.range_end), request.prev_kv)


def txn(request: rpc_pb2.TxnRequest, level: int = 1) -> Txn:
    """Raises TooManyOperations for transactions in one another beyond any use."""
    if level > _MOST_LEVELS:
        raise TooManyOperations
    return Txn(
        [_compare(compare) for compare in request.compare],
        [_op(op, level) for op in request.success],
        [_op(op, level) for op in request.failure],
    )


def _op(request: rpc_pb2.RequestOp, level: int) -> Op | None:
    match request.WhichOneof("request"):
        case "request_put":
            return put_op(request.request_put)
        case "request_range":
            return range_op(request.request_range)
        case "request_delete_range":
            return delete_range_op(request.request_delete_range)
        case "request_txn":
            return txn(request.request_txn, level + 1)
        case _:
            return None


def _compare(request: rpc_pb2.Compare) -> Compare:
    """An operand that does not belong to the target counts as absent, as in etcd."""
    target: int = request.target
    name = request.WhichOneof("target_union")
    fits = name is not None and 0 <= target < len(_OPERANDS) and _OPERANDS[target] == name
    operand: int | bytes | None = getattr(request, name) if fits and name else None
    return Compare(KeyRange(request.key, request.range_end), target, request.result, operand)


def writes(ops: Iterable[Op | None]) -> bool:
    """Does a branch hold anything but plain ranges? A nested txn counts as a write, as in etcd."""
    return any(type(op) is not RangeOp for op in ops)


def watch_create(request: rpc_pb2.WatchCreateRequest) -> WatchCreate:
    return WatchCreate(
        KeyRange(request.key, request.range_end),
        request.start_revision,
        request.watch_id,
        request.prev_kv,
        tuple(request.filters),
        request.progress_notify,
        request.fragment,
    )
