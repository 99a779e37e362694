"""One committed write as watchers see it, encoded at most once for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from kvstore.core.mvcc.record import WireSequence, decode, numbers_of, varint, wire
from kvstore.core.mvcc.revision import TOMBSTONE
from kvstore.errors import CorruptStore
from kvstore.types import Event, EventType

__all__ = ["Change", "Events"]


class Change:
    """`prev` is the record before this revision, None for none; set it before `event` or `wire`
    is asked with prev=True. With `damage` set instead these raise it."""

    __slots__ = ("_wire", "_wire_prev", "damage", "has_prev", "key", "packed", "prev", "record")

    def __init__(self, packed: int, key: bytes, record: bytes) -> None:
        self.packed, self.key, self.record = packed, key, record
        self.prev: bytes | None = None
        self.has_prev = False
        self.damage: CorruptStore | None = None
        self._wire: bytes | None = None
        self._wire_prev: bytes | None = None

    def __repr__(self) -> str:
        return f"Change({self.event(prev=False)!r})"

    @property
    def is_delete(self) -> bool:
        return bool(self.packed & TOMBSTONE)

    @property
    def is_create(self) -> bool:
        create, mod, _, _ = numbers_of(self.record)
        return create == mod

    @property
    def size_bytes(self) -> int:
        return len(self.record) + len(self.prev or b"")

    def event(self, *, prev: bool) -> Event:
        if prev and self.damage is not None:
            raise self.damage
        prev_kv = decode(self.prev) if prev and self.prev is not None else None
        kind = EventType.DELETE if self.is_delete else EventType.PUT
        return Event(kind, decode(self.record), prev_kv)

    def wire(self, *, prev: bool) -> bytes:
        """The protobuf body of the mvccpb.Event."""
        if self._wire is None:
            body = wire(self.record)
            head = b""
            if self.is_delete:
                body += b"\x18" + varint(self.packed >> 32)
                head = b"\x08\x01"
            self._wire = b"%b\x12%b%b" % (head, varint(len(body)), body)
        if not prev or self.prev is None:
            if prev and self.damage is not None:
                raise self.damage
            return self._wire
        if self._wire_prev is None:
            body = wire(self.prev)
            self._wire_prev = b"%b\x1a%b%b" % (self._wire, varint(len(body)), body)
        return self._wire_prev


class Events(WireSequence[Event]):
    """Changes as one watcher gets them."""

    __slots__ = ("changes", "encoded", "prev")

    def __init__(self, changes: list[Change], *, prev: bool) -> None:
        self.changes, self.prev = changes, prev
        self.encoded: bytes | None = None
        """What whoever encodes responses keeps here, for the other watchers of the same."""

    def __len__(self) -> int:
        return len(self.changes)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        if isinstance(index, slice):
            return Events(self.changes[index], prev=self.prev)
        return self.changes[index].event(prev=self.prev)

    def __iter__(self) -> Iterator[Event]:
        return (change.event(prev=self.prev) for change in self.changes)

    def wire(self) -> list[bytes]:
        return [change.wire(prev=self.prev) for change in self.changes]
