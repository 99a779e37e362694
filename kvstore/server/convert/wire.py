"""The few pieces of protobuf's encoding that splicing needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from kvstore.core.mvcc.record import WireSequence, varint
from kvstore.proto import kv_pb2
from kvstore.types import Event, KeyValue

__all__ = ["event_bodies", "event_message", "field", "key_value", "key_value_bodies", "number"]

_CACHED_PREFIXES: Final = 16_384
"""Tag and length of a spliced message are remembered for this many (field, length) pairs."""


@lru_cache(_CACHED_PREFIXES)
def prefix(field_number: int, size_bytes: int) -> bytes:
    """The tag and the length that stand before a message in a field."""
    return varint(field_number << 3 | 2) + varint(size_bytes)


def field(field_number: int, body: bytes) -> bytes:
    """A field that is a message or a string, also when it is empty."""
    return prefix(field_number, len(body)) + body


def number(field_number: int, value: int) -> bytes:
    """A field that is a number, absent when it is 0 as proto3 wants it."""
    return varint(field_number << 3) + varint(value) if value else b""


def key_value(kv: KeyValue) -> kv_pb2.KeyValue:
    return kv_pb2.KeyValue(
        key=kv.key,
        value=kv.value,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        lease=kv.lease,
    )


def event_message(event: Event) -> kv_pb2.Event:
    prev_kv = None if event.prev_kv is None else key_value(event.prev_kv)
    return kv_pb2.Event(type=event.type.name, kv=key_value(event.kv), prev_kv=prev_kv)


def key_value_bodies(kvs: Sequence[KeyValue]) -> list[bytes]:
    """The encoded mvccpb.KeyValue of each: stored bytes where the sequence has them."""
    if isinstance(kvs, WireSequence):
        return kvs.wire()
    return [key_value(kv).SerializeToString() for kv in kvs]


def event_bodies(events: Sequence[Event]) -> list[bytes]:
    """The encoded mvccpb.Event of each, likewise."""
    if isinstance(events, WireSequence):
        return events.wire()
    return [event_message(event).SerializeToString() for event in events]
