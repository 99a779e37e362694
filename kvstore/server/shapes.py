"""The shape of a request: which fields are set and in which way, without the values that vary.

    key range_end limit                                    numbers, texts and bytes by name alone
    sort_order=DESCEND                                     choices with their name
    compare[key target=MOD mod_revision=0]                 lists, and messages, in brackets
    success[request_put(key value)+]                       what a list has more than once
    key ?21                                                fields that we do not know, by number

A field that is at its default does not come over the wire, unless it is one of a union: a number of
these that is zero is shown as such.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from kvstore.proto.reflection import is_repeated, unknown_field_numbers

__all__ = ["shape_of"]


def shape_of(message: Message) -> str:
    """In the order of the field numbers; empty for a message without fields."""
    parts = [_field(field, value) for field, value in message.ListFields()]
    parts += sorted(f"?{number}" for number in unknown_field_numbers(message))
    return " ".join(parts)


def _field(field: FieldDescriptor, value: Any) -> str:
    if is_repeated(field):
        counts = Counter(_said(field, each) for each in value)
        return f"{field.name}[{', '.join(s + '+' * (n > 1) for s, n in counts.items())}]"
    said = _said(field, value)
    if field.message_type is not None:
        return f"{field.name}({said})"
    return f"{field.name}={said}" if said else field.name


def _said(field: FieldDescriptor, value: Any) -> str:
    """What a value says of the shape; nothing where values vary."""
    if isinstance(value, Message):
        return shape_of(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return str(value) if known is None else known.name
    return "0" if value == 0 else ""
