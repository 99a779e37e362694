"""Messages of a watch stream as encoded watch responses, in fragments where asked for.

Fields of a WatchResponse: header 1, watch_id 2, created 3, canceled 4, compact_revision 5,
cancel_reason 6, fragment 7, events 11.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from kvstore.core.mvcc.change import Events
from kvstore.server.convert.wire import event_bodies, field, number, prefix
from kvstore.types import Event, WatchMessage

__all__ = ["watch_responses", "whole_response"]

_EVENTS: Final = 11
_CACHED_IDS: Final = 16_384
_FRAGMENT: Final = b"\x38\x01"


def whole_response(header: bytes, message: WatchMessage) -> bytes:
    """The response, not in fragments."""
    if message.created or message.canceled:
        return _head(header, message) + _events_field(message.events)
    return header + _watch_id(message.watch_id) + _events_field(message.events)


def watch_responses(header: bytes, message: WatchMessage, max_bytes: int) -> Iterator[bytes]:
    """One response; or several when the watcher asked for fragments and it has `max_bytes` or more.

    A fragment holds at least one event, however large, and all but the last are marked.
    """
    head = _head(header, message)
    if not message.events:
        yield head
        return
    events = _event_fields(message.events)
    if not message.fragment or len(head) + sum(map(len, events)) < max_bytes:
        yield head + b"".join(events)
        return
    fragments = list(_pack(events, max_bytes - len(head) - len(_FRAGMENT)))
    for fragment in fragments[:-1]:
        yield head + _FRAGMENT + fragment
    yield head + fragments[-1]


def _event_fields(events: Sequence[Event]) -> list[bytes]:
    return [prefix(_EVENTS, len(body)) + body for body in event_bodies(events)]


def _events_field(events: Sequence[Event]) -> bytes:
    """All events, made once for all watchers that share them."""
    if not isinstance(events, Events):
        return b"".join(_event_fields(events))
    if events.encoded is None:
        events.encoded = b"".join(_event_fields(events))
    return events.encoded


@lru_cache(_CACHED_IDS)
def _watch_id(watch_id: int) -> bytes:
    return number(2, watch_id)


def _head(header: bytes, message: WatchMessage) -> bytes:
    head = header + _watch_id(message.watch_id)
    if message.created:
        head += b"\x18\x01"
    if message.canceled:
        head += b"\x20\x01" + number(5, message.compact_revision)
        if message.cancel_reason:
            head += field(6, message.cancel_reason.encode())
    return head


def _pack(events: list[bytes], room: int) -> Iterator[bytes]:
    """The events joined to pieces smaller than `room`, in order."""
    start = size = 0
    for at, event in enumerate(events):
        if at > start and size + len(event) >= room:
            yield b"".join(events[start:at])
            start, size = at, 0
        size += len(event)
    yield b"".join(events[start:])
