"""Results of a store as encoded responses.

Field 1 of every response is the header, given here already encoded. What a list holds is spliced
in: a response of many keys costs one join.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.core.mvcc.record import CRC_BYTES, HEAD_BYTES
from kvstore.server.convert.wire import field, key_value, key_value_bodies, number, prefix
from kvstore.server.header import EMPTY_HEADER, revision_header
from kvstore.server.method import EncodedParts
from kvstore.types import (
    DeleteRangeResult,
    KeyValue,
    OpResult,
    PutResult,
    RangeResult,
    TxnResult,
)

__all__ = [
    "delete_range_response",
    "one_key_response",
    "put_response",
    "range_part",
    "range_response",
    "range_response_of",
    "range_stream_response",
    "txn_response",
]


def range_response(header: bytes, result: RangeResult) -> bytes:
    more = b"\x18\x01" if result.more else b""
    return b"".join((header, _list(2, result.kvs), more, number(4, result.count)))


def one_key_response(header: bytes, record: bytes) -> bytes:
    """A range that found one key, of its stored record."""
    body = record[HEAD_BYTES:-CRC_BYTES]
    return b"%b%b%b\x20\x01" % (header, prefix(2, len(body)), body)


def range_part(kvs: Sequence[KeyValue]) -> bytes:
    """Some of the kvs of a large range."""
    return _list(2, kvs)


def range_response_of(header: bytes, parts: list[bytes], rest: RangeResult) -> EncodedParts:
    """The response of a large range: its parts stay as they are, none is copied again."""
    return EncodedParts([header, *parts, range_response(b"", rest)])


def range_stream_response(header: bytes, result: RangeResult) -> bytes:
    """One chunk of a streamed range; `header` is empty in all but the last."""
    return field(1, range_response(header, result))


def put_response(header: bytes, result: PutResult) -> bytes:
    return header if result.prev_kv is None else header + field(2, _body(result.prev_kv))


def delete_range_response(header: bytes, result: DeleteRangeResult) -> bytes:
    return b"".join((header, number(2, result.deleted), _list(3, result.prev_kvs)))


def txn_response(header: bytes, result: TxnResult) -> bytes:
    parts = [header, b"\x10\x01" if result.succeeded else b""]
    parts += [field(3, _op(response)) for response in result.responses]
    return b"".join(parts)


def _op(result: OpResult) -> bytes:
    """A ResponseOp; inside a txn a header has only the revision, a nested txn's nothing."""
    match result:
        case RangeResult():
            return field(1, range_response(revision_header(result.revision), result))
        case PutResult():
            return field(2, put_response(revision_header(result.revision), result))
        case DeleteRangeResult():
            return field(3, delete_range_response(revision_header(result.revision), result))
        case TxnResult():
            return field(4, txn_response(EMPTY_HEADER, result))


def _list(field_number: int, kvs: Sequence[KeyValue]) -> bytes:
    parts = []
    for body in key_value_bodies(kvs):
        parts.append(prefix(field_number, len(body)))
        parts.append(body)
    return b"".join(parts)


def _body(kv: KeyValue) -> bytes:
    return key_value(kv).SerializeToString()
