"""What each version of protobuf that we run with says of a message in another way.

is_repeated            an attribute since 6.31; before it there is `label`, which is going away
unknown fields         a module since 4.21; before it a method of each message
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

__all__ = ["is_repeated", "unknown_field_numbers"]


def is_repeated(field: FieldDescriptor) -> bool:
    """Only a repeated field has a list as its default, with every version."""
    return isinstance(field.default_value, list)


def unknown_field_numbers(message: Message) -> set[int]:
    """The numbers of the fields that `message` was parsed with and its type does not have."""
    try:
        from google.protobuf.unknown_fields import UnknownFieldSet
    except ImportError:
        unknown: Any = message.UnknownFields()  # gone from later ones
    else:
        unknown = UnknownFieldSet(message)
    return {unknown[at].field_number for at in range(len(unknown))}
