"""Parses transactions in transactions as deeply nested as etcd takes them.

The protobuf library stops at 100 messages in one another, which are 50 transactions; etcd takes
10,000, of which its limit of operations leaves 128 transactions. So what is too deep for the
library is taken apart here: each level is parsed by itself, and hung into the one above.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from kvstore.proto import rpc_pb2
from kvstore.server.status import Code, StatusError

__all__ = ["parser"]

M = TypeVar("M", bound=Message)

_MOST_LEVELS: Final = 4999
"""Transactions in one another: two messages each, 10,000 of which Go's library takes in all."""
_MOST_FIELDS: Final = 20_000
"""Looked at one by one; more in so deep a message are refused like a deeper one."""
_TOO_DEEP: Final = "grpc: error unmarshalling request: proto: exceeded maximum recursion depth"


class _Nest(NamedTuple):
    """Which fields of a kind of message hold operations, and which of an operation is one more."""

    operations: dict[int, str]
    inner: int
    inner_name: str


_NESTS: Final[dict[type[Message], _Nest]] = {
    rpc_pb2.TxnRequest: _Nest({2: "success", 3: "failure"}, 4, "request_txn"),
    rpc_pb2.TxnResponse: _Nest({3: "responses"}, 4, "response_txn"),
}


def parser(kind: type[M]) -> Callable[[bytes], M]:
    """`kind.FromString`, and more for the kinds that can be nested.

    What it returns raises DecodeError, and StatusError for what is too deep for etcd, too.
    """
    nest = _NESTS.get(kind)
    return kind.FromString if nest is None else partial(_parse, kind, nest)


def _parse(kind: type[M], nest: _Nest, data: bytes) -> M:
    try:
        return kind.FromString(data)
    except (DecodeError, RecursionError):  # too deep, or not to be parsed at all
        return _parse_levels(kind, nest, data)


def _parse_levels(kind: type[M], nest: _Nest, data: bytes) -> M:
    message = kind()
    levels = deque([(message, memoryview(data), 1)])
    looked_at = 0
    while levels:
        target, raw, level = levels.popleft()
        if level > _MOST_LEVELS:
            raise StatusError(Code.INTERNAL, _TOO_DEEP)
        for number, field, body in _fields(raw):
            looked_at += 1
            if looked_at > _MOST_FIELDS:
                raise StatusError(Code.INTERNAL, _TOO_DEEP)
            name = nest.operations.get(number)
            if name is None:
                target.MergeFromString(bytes(field))
                continue
            operation = getattr(target, name).add()
            for inner in _operation(operation, nest, body):
                levels.append((getattr(operation, nest.inner_name), inner, level + 1))
    return message


def _operation(operation: Any, nest: _Nest, raw: memoryview) -> Iterator[memoryview]:
    """Parse an operation; the transactions in it are yielded, still unparsed."""
    for number, field, body in _fields(raw):
        if number == nest.inner:
            getattr(operation, nest.inner_name).SetInParent()
            yield body
        else:
            operation.MergeFromString(bytes(field))


# -- the wire ------------------------------------------------------------------------------------

_SIZES: Final = {1: 8, 5: 4}
"""Of the values of two wire types."""


def _fields(raw: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Number (0 for what is no message), the whole field, its body. Raises DecodeError."""
    at = 0
    while at < len(raw):
        start = at
        tag, at = _varint(raw, at)
        size = 0
        if tag & 7 == 0:
            _, at = _varint(raw, at)
        elif tag & 7 == 2:
            size, at = _varint(raw, at)
        elif tag & 7 in _SIZES:
            size = _SIZES[tag & 7]
        else:
            raise DecodeError("an unknown wire type")
        body = raw[at : at + size]
        at += size
        if at > len(raw):
            raise DecodeError("a field that is cut short")
        yield tag >> 3 if tag & 7 == 2 else 0, raw[start:at], body


def _varint(raw: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at == len(raw):
            break
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise DecodeError("a number that is cut short")
