"""Requests whose numbers are at the ends of their range, made from the descriptors.

For each number in a message, however deep, there is a plausible request that has it, and `values`
to put there. On the wire every number is a varint of 64 bits, whatever its type, so each is tried
with each: what does not fit is for the server to cut, as Go does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from kvstore.proto import rpc_pb2
from kvstore.proto.reflection import is_repeated

__all__ = [
    "VALUES",
    "Number",
    "as_json",
    "nested_txn",
    "nested_txn_json",
    "numbers_of",
    "on_the_wire",
]

VALUES: Final = (
    -(2**63),
    -(2**31) - 1,
    -(2**31),
    -1,
    0,
    1,
    2,
    2**31 - 1,
    2**31,
    2**32,
    2**32 + 1,
    2**62,
    2**63 - 2,
    2**63 - 1,
)
_NUMERIC: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
        FieldDescriptor.CPPTYPE_ENUM,
        FieldDescriptor.CPPTYPE_BOOL,
    }
)
_OPERANDS: Final = ("version", "create_revision", "mod_revision", "value", "lease")
"""Of a Compare, in the order of its targets."""
_DEPTH: Final = 2
"""Transactions inside transactions."""


class Number(NamedTuple):
    """One number: the fields that lead to it from the request, the last of them its own."""

    path: tuple[FieldDescriptor, ...]

    @property
    def field(self) -> FieldDescriptor:
        return self.path[-1]

    def __str__(self) -> str:
        return ".".join(field.name for field in self.path)


def numbers_of(kind: type[Message]) -> list[Number]:
    return [Number(path) for path in _paths(kind.DESCRIPTOR, ())]


def _paths(
    kind: Descriptor, before: tuple[FieldDescriptor, ...]
) -> Iterator[tuple[FieldDescriptor, ...]]:
    if sum(field.message_type is kind for field in before) >= _DEPTH:
        return
    for field in kind.fields:
        if field.message_type is not None:
            yield from _paths(field.message_type, (*before, field))
        elif field.cpp_type in _NUMERIC:
            yield (*before, field)


def on_the_wire(kind: type[Message], number: Number, value: int, *, is_wide: bool = False) -> bytes:
    """A request with `value` there, whether the type can hold it or not.

    `is_wide`: about all keys from "k" on, not about that one.
    """
    raw = _varint(number.field.number << 3) + _varint(value % 2**64)
    return _encoded(_base(kind, number, is_wide=is_wide), number.path[:-1], raw)


def as_json(kind: type[Message], number: Number, value: Any) -> dict[str, Any]:
    """The same as a document, about one key."""
    document = MessageToDict(_base(kind, number, is_wide=False), preserving_proto_field_name=True)
    at = document
    for field in number.path[:-1]:
        inner = at.setdefault(field.name, [{}] if is_repeated(field) else {})
        at = inner[0] if is_repeated(field) else inner
    at[number.field.name] = [value] if is_repeated(number.field) else value
    return document


def nested_txn(depth: int) -> bytes:
    """A transaction in `depth` - 1 others, the innermost with a put."""
    put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"k", value=b"v"))
    raw = rpc_pb2.TxnRequest(success=[put]).SerializeToString()
    for _ in range(depth - 1):
        operation = b"\x22" + _varint(len(raw)) + raw
        raw = b"\x12" + _varint(len(operation)) + operation
    return raw


def nested_txn_json(depth: int) -> str:
    """The same as a document."""
    put = '{"success":[{"request_put":{"key":"aw==","value":"dg=="}}]}'
    return '{"success":[{"request_txn":' * (depth - 1) + put + "}]}" * (depth - 1)


def _base(kind: type[Message], number: Number, *, is_wide: bool) -> Message:
    """A request in which the number matters: keys are there, and a compare has the target of it."""
    request = kind()
    at = request
    _make_plausible(at, is_wide)
    for field in number.path[:-1]:
        inner = getattr(at, field.name)
        at = inner.add() if is_repeated(field) else inner
        at.SetInParent()
        _make_plausible(at, is_wide)
    if at.DESCRIPTOR.name == "Compare" and number.field.name in _OPERANDS:
        at.target = _OPERANDS.index(number.field.name)  # type: ignore[attr-defined]
    return request


def _make_plausible(message: Message, is_wide: bool) -> None:
    for name, value in (("key", b"k"), ("value", b"v"), ("range_end", b"\0")):
        if name == "range_end" and not is_wide:
            continue
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is not None and field.containing_oneof is None:
            setattr(message, name, value)
    if message.DESCRIPTOR.name in ("LeaseGrantRequest",):
        message.TTL = 3600  # type: ignore[attr-defined]


def _encoded(message: Message, path: tuple[FieldDescriptor, ...], raw: bytes) -> bytes:
    if not path:
        return message.SerializeToString() + raw
    field = path[0]
    inner = getattr(message, field.name)
    body = _encoded(inner[0] if is_repeated(field) else inner, path[1:], raw)
    rest = type(message)()
    rest.CopyFrom(message)
    rest.ClearField(field.name)
    return rest.SerializeToString() + _varint(field.number << 3 | 2) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
