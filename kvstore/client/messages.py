"""Between the types of the field and etcd's messages, as a client sees them."""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.proto import kv_pb2, rpc_pb2
from kvstore.types import (
    Compare,
    CompareTarget,
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
    WatchCreate,
    WatchMessage,
)

__all__ = [
    "delete_range_request",
    "delete_range_result",
    "put_request",
    "put_result",
    "range_request",
    "range_result",
    "txn_request",
    "txn_result",
    "watch_create_request",
    "watch_message",
]


def range_request(op: RangeOp) -> rpc_pb2.RangeRequest:
    request = rpc_pb2.RangeRequest(
        key=op.range.key,
        range_end=op.range.range_end,
        limit=op.limit,
        revision=op.revision,
        serializable=op.serializable,
        keys_only=op.keys_only,
        count_only=op.count_only,
        min_mod_revision=op.min_mod_revision,
        max_mod_revision=op.max_mod_revision,
        min_create_revision=op.min_create_revision,
        max_create_revision=op.max_create_revision,
    )
    # The enums of etcd are open: any number can be sent.
    request.sort_order = op.sort_order  # type: ignore[assignment]
    request.sort_target = op.sort_target  # type: ignore[assignment]
    return request


def range_result(response: rpc_pb2.RangeResponse) -> RangeResult:
    return RangeResult(
        response.header.revision,
        [_key_value(kv) for kv in response.kvs],
        response.more,
        response.count,
    )


def put_request(op: PutOp) -> rpc_pb2.PutRequest:
    return rpc_pb2.PutRequest(
        key=op.key,
        value=op.value,
        lease=op.lease,
        prev_kv=op.prev_kv,
        ignore_value=op.ignore_value,
        ignore_lease=op.ignore_lease,
    )


def put_result(response: rpc_pb2.PutResponse) -> PutResult:
    prev_kv = _key_value(response.prev_kv) if response.HasField("prev_kv") else None
    return PutResult(response.header.revision, prev_kv)


def delete_range_request(op: DeleteRangeOp) -> rpc_pb2.DeleteRangeRequest:
    return rpc_pb2.DeleteRangeRequest(
        key=op.range.key, range_end=op.range.range_end, prev_kv=op.prev_kv
    )


def delete_range_result(response: rpc_pb2.DeleteRangeResponse) -> DeleteRangeResult:
    return DeleteRangeResult(
        response.header.revision, response.deleted, [_key_value(kv) for kv in response.prev_kvs]
    )


def txn_request(txn: Txn) -> rpc_pb2.TxnRequest:
    return rpc_pb2.TxnRequest(
        compare=[_compare(compare) for compare in txn.compares],
        success=[_request_op(op) for op in txn.success],
        failure=[_request_op(op) for op in txn.failure],
    )


def txn_result(response: rpc_pb2.TxnResponse) -> TxnResult:
    return TxnResult(
        response.header.revision, response.succeeded, [_op_result(op) for op in response.responses]
    )


def watch_create_request(request: WatchCreate) -> rpc_pb2.WatchRequest:
    create = rpc_pb2.WatchCreateRequest(
        key=request.range.key,
        range_end=request.range.range_end,
        start_revision=request.start_revision,
        watch_id=request.watch_id,
        prev_kv=request.prev_kv,
        progress_notify=request.progress_notify,
        fragment=request.fragment,
    )
    create.filters.extend(request.filters)  # type: ignore[arg-type]
    return rpc_pb2.WatchRequest(create_request=create)


def watch_message(response: rpc_pb2.WatchResponse) -> WatchMessage:
    """`fragment` is the response's own: more parts of the same message follow."""
    return WatchMessage(
        watch_id=response.watch_id,
        revision=response.header.revision,
        events=_events(response.events),
        created=response.created,
        canceled=response.canceled,
        compact_revision=response.compact_revision,
        cancel_reason=response.cancel_reason,
        fragment=response.fragment,
    )


def _key_value(kv: kv_pb2.KeyValue) -> KeyValue:
    return KeyValue(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def _events(events: Sequence[kv_pb2.Event]) -> list[Event]:
    return [
        Event(
            EventType(event.type),
            _key_value(event.kv),
            _key_value(event.prev_kv) if event.HasField("prev_kv") else None,
        )
        for event in events
    ]


def _compare(compare: Compare) -> rpc_pb2.Compare:
    message = rpc_pb2.Compare(key=compare.range.key, range_end=compare.range.range_end)
    message.target = compare.target  # type: ignore[assignment]
    message.result = compare.result  # type: ignore[assignment]
    if isinstance(compare.operand, bytes):
        message.value = compare.operand
    elif compare.operand is not None:
        _set_number(message, compare.target, compare.operand)
    return message


def _set_number(message: rpc_pb2.Compare, target: int, operand: int) -> None:
    match target:
        case CompareTarget.CREATE:
            message.create_revision = operand
        case CompareTarget.MOD:
            message.mod_revision = operand
        case CompareTarget.LEASE:
            message.lease = operand
        case _:
            message.version = operand


def _request_op(op: Op | None) -> rpc_pb2.RequestOp:
    match op:
        case None:
            return rpc_pb2.RequestOp()
        case RangeOp():
            return rpc_pb2.RequestOp(request_range=range_request(op))
        case PutOp():
            return rpc_pb2.RequestOp(request_put=put_request(op))
        case DeleteRangeOp():
            return rpc_pb2.RequestOp(request_delete_range=delete_range_request(op))
        case Txn():
            return rpc_pb2.RequestOp(request_txn=txn_request(op))


def _op_result(op: rpc_pb2.ResponseOp) -> OpResult:
    match op.WhichOneof("response"):
        case "response_range":
            return range_result(op.response_range)
        case "response_put":
            return put_result(op.response_put)
        case "response_delete_range":
            return delete_range_result(op.response_delete_range)
        case _:
            return txn_result(op.response_txn)
