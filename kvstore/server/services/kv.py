"""etcdserverpb.KV: range, put, delete, txn and compact (etcd api/v3rpc/key.go)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from kvstore.core.mvcc.validate import check_range, check_txn
from kvstore.errors import RequestTooLarge
from kvstore.proto import rpc_pb2
from kvstore.server import convert
from kvstore.server.header import Headers
from kvstore.server.method import (
    Call,
    Deferred,
    EncodedParts,
    Kind,
    Method,
    Progress,
    Sliced,
)
from kvstore.server.services.served import ServedStore, Settings
from kvstore.server.status import Code, StatusError
from kvstore.types import (
    DeleteRangeResult,
    KeyValue,
    PutResult,
    RangeOp,
    RangeResult,
    SortOrder,
    SortTarget,
    Txn,
    TxnResult,
)

__all__ = ["KVService"]

_FIELDS_BYTES: Final = 256
"""More than a put can have besides its key and its value."""
_KEY_VALUE_BYTES: Final = 400
"""What a key in memory takes besides its bytes."""
_ENVELOPE_BYTES: Final = 18
"""What etcd's proposal adds to a request before measuring: 14 for a header with an id of 10 bytes
(13 on the members whose ids are smaller), 1 for the tag and 3 for the length of the request."""


class KVService:
    def __init__(self, store: ServedStore, headers: Headers, settings: Settings) -> None:
        self._store, self._headers = store, headers
        self._max_request_bytes = settings.max_request_bytes
        self._surely_small_bytes = settings.max_request_bytes - _FIELDS_BYTES
        self._max_txn_ops = settings.max_txn_ops

    def methods(self) -> list[Method]:
        rpc, unary = rpc_pb2, Kind.UNARY
        path = "/etcdserverpb.KV/"
        return [
            Method(
                path + "Range",
                unary,
                rpc.RangeRequest,
                rpc.RangeResponse,
                self.range,
                shortcut=self.get,
                is_read=True,
            ),
            Method(
                path + "RangeStream",
                Kind.SERVER_STREAM,
                rpc.RangeRequest,
                rpc.RangeStreamResponse,
                self.range_stream,
            ),
            Method(
                path + "Put",
                unary,
                rpc.PutRequest,
                rpc.PutResponse,
                self.put,
                shortcut=self.put_plain,
            ),
            Method(
                path + "DeleteRange",
                unary,
                rpc.DeleteRangeRequest,
                rpc.DeleteRangeResponse,
                self.delete_range,
            ),
            Method(path + "Txn", unary, rpc.TxnRequest, rpc.TxnResponse, self.txn),
            Method(
                path + "Compact",
                unary,
                rpc.CompactionRequest,
                rpc.CompactionResponse,
                self.compact,
            ),
        ]

    def range(self, request: rpc_pb2.RangeRequest, call: Call) -> bytes | Sliced:
        op = convert.range_op(request)
        if not self._store.is_small(op):
            return Sliced(partial(self._range_in_slices, op))
        result = self._store.range_now(op)
        return convert.range_response(self._headers.encoded(result.revision), result)

    def get(self, request: bytes) -> bytes | None:
        """A range of one key of less than 128 bytes, with nothing else asked for; None otherwise.

        That is field 1 alone. The answer is made of the record's bytes, as `range` makes it.
        """
        if len(request) < 3 or request[0] != 0x0A or request[1] != len(request) - 2:
            return None
        store = self._store
        record = store.record(request[2:])
        header = self._headers.encoded(store.revision)
        return header if record is None else convert.one_key_response(header, record)

    def put_plain(self, request: bytes) -> Deferred | None:
        """A put of a key of less than 128 bytes and a value of less than 16 KiB, with nothing else
        asked for; None otherwise. That is fields 1 and 2 alone.
        """
        end = len(request)
        if end < 4 or request[0] != 0x0A or not 0 < request[1] < 0x80:
            return None
        key_end = 2 + request[1]
        at = key_end + 2
        if at > end or request[key_end] != 0x12 or end > self._surely_small_bytes:
            return None
        size = request[key_end + 1]
        if size >= 0x80:
            if at == end or request[at] >= 0x80:
                return None
            size = size & 0x7F | request[at] << 7
            at += 1
        if at + size != end:
            return None
        answer = Deferred(self._headers.encoded)  # a plain put is answered with a header alone
        return self._store.put(request[2:key_end], request[at:], 0, answer)

    async def _range_in_slices(self, op: RangeOp, progress: Progress) -> EncodedParts:
        def encode(kvs: Sequence[KeyValue]) -> bytes:
            part = convert.range_part(kvs)
            progress.add(len(part))
            return part

        result, parts = await self._store.range_in_parts(op, encode, progress.turn)
        header = self._headers.encoded(result.revision)
        return convert.range_response_of(header, parts, result)

    async def range_stream(self, request: rpc_pb2.RangeRequest, call: Call) -> AsyncIterator[bytes]:
        """Chunks in key order; the last alone has a header, so it alone has a revision."""
        async for chunk in self._store.range_stream(_streamable(convert.range_op(request))):
            header = self._headers.encoded(chunk.revision) if chunk.revision else b""
            yield convert.range_stream_response(header, chunk)

    def put(self, request: rpc_pb2.PutRequest, call: Call) -> Deferred:
        op = convert.put_op(request)
        txn = Txn((), (op,))
        if len(op.key) + len(op.value) > self._surely_small_bytes:
            self._check_size(request, txn)
        return self._store.decide(txn, Deferred(self._put))

    def _put(self, result: TxnResult) -> bytes:
        (response,) = result.responses
        assert isinstance(response, PutResult)
        return convert.put_response(self._headers.encoded(result.revision), response)

    def delete_range(self, request: rpc_pb2.DeleteRangeRequest, call: Call) -> Deferred:
        txn = Txn((), (convert.delete_range_op(request),))
        self._check_size(request, txn)
        return self._store.decide(txn, Deferred(self._delete_range))

    def _delete_range(self, result: TxnResult) -> bytes:
        (response,) = result.responses
        assert isinstance(response, DeleteRangeResult)
        return convert.delete_range_response(self._headers.encoded(result.revision), response)

    def txn(self, request: rpc_pb2.TxnRequest, call: Call) -> Deferred:
        txn = convert.txn(request)
        self._check_size(request, txn)
        answer = Deferred(self._txn)
        return self._store.decide(txn, answer, partial(_hold, answer))

    def _txn(self, result: TxnResult) -> bytes:
        return convert.txn_response(self._headers.encoded(result.revision), result)

    async def compact(
        self, request: rpc_pb2.CompactionRequest, call: Call
    ) -> rpc_pb2.CompactionResponse:
        result = await self._store.compact(request.revision, physical=request.physical)
        return rpc_pb2.CompactionResponse(header=self._headers.message(result.revision))

    def _check_size(
        self,
        request: rpc_pb2.PutRequest | rpc_pb2.DeleteRangeRequest | rpc_pb2.TxnRequest,
        txn: Txn,
    ) -> None:
        """Raises RequestTooLarge for a write; one that is not well-formed is told that first."""
        if request.ByteSize() + _ENVELOPE_BYTES <= self._max_request_bytes:
            return
        check_txn(txn, self._max_txn_ops)
        if convert.writes(txn.success) or convert.writes(txn.failure):
            raise RequestTooLarge


def _hold(answer: Deferred, result: TxnResult) -> None:
    """Count what a transaction has read, while its commit is waited for."""
    for one in result.responses:
        if type(one) is RangeResult:
            for kv in one.kvs:
                answer.held_bytes += len(kv.key) + len(kv.value) + _KEY_VALUE_BYTES
        elif type(one) is TxnResult:
            _hold(answer, one)


def _streamable(op: RangeOp) -> RangeOp:
    """The same range, in key order.

    Raises what `range` does for a malformed one, and StatusError for what cannot be streamed.
    """
    check_range(op)
    ascending_keys = op.sort_order == SortOrder.ASCEND and op.sort_target == SortTarget.KEY
    if op.sort_order != SortOrder.NONE and not ascending_keys:
        raise StatusError(Code.UNIMPLEMENTED, "RangeStream does not support custom sort orders")
    if (
        op.min_mod_revision
        or op.max_mod_revision
        or op.min_create_revision
        or op.max_create_revision
    ):
        raise StatusError(Code.UNIMPLEMENTED, "RangeStream does not support revision filters")
    return op._replace(sort_order=SortOrder.NONE, sort_target=SortTarget.KEY)
