"""Single operations and watches in few words, for tests."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from typing import Any

from kvstore.keys import FROM_KEY, KeyRange
from kvstore.store.interface import StoreProtocol
from kvstore.types import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeOp,
    DeleteRangeResult,
    Event,
    EventType,
    Op,
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
    "ALL",
    "Watching",
    "commit",
    "compare",
    "delete",
    "event_keys",
    "get",
    "get_all",
    "keys",
    "put",
    "revision",
    "values",
]

ALL = (FROM_KEY, FROM_KEY)
"""Key and range_end of everything."""
PATIENCE_S = 20.0
"""How long a message that must come may take."""


def put(store: StoreProtocol, key: bytes, value: bytes = b"", **fields: Any) -> PutResult:
    (result,) = store.txn(Txn((), (PutOp(key, value, **fields),), ())).responses
    assert isinstance(result, PutResult)
    return result


def delete(
    store: StoreProtocol, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False
) -> DeleteRangeResult:
    op = DeleteRangeOp(KeyRange(key, range_end), prev_kv)
    (result,) = store.txn(Txn((), (op,), ())).responses
    assert isinstance(result, DeleteRangeResult)
    return result


def get(store: StoreProtocol, key: bytes, range_end: bytes = b"", **fields: Any) -> RangeResult:
    return store.range(RangeOp(KeyRange(key, range_end), **fields))


def get_all(store: StoreProtocol, **fields: Any) -> RangeResult:
    return get(store, *ALL, **fields)


def commit(
    store: StoreProtocol,
    success: Sequence[Op | None] = (),
    *,
    compares: Sequence[Compare] = (),
    failure: Sequence[Op | None] = (),
) -> TxnResult:
    return store.txn(Txn(compares, success, failure))


def compare(
    target: CompareTarget,
    key: bytes,
    result: CompareResult,
    operand: int | bytes | None,
    range_end: bytes = b"",
) -> Compare:
    return Compare(KeyRange(key, range_end), target, result, operand)


def revision(store: StoreProtocol) -> int:
    return get(store, b"\x00").revision


def keys(result: RangeResult) -> list[bytes]:
    return [kv.key for kv in result.kvs]


def values(result: RangeResult) -> dict[bytes, bytes]:
    return {kv.key: kv.value for kv in result.kvs}


class Watching:
    """A watch stream that remembers every message, in order, in `messages`."""

    def __init__(self, store: StoreProtocol) -> None:
        self.store = store
        self.stream = store.watch_stream()
        self.messages: list[WatchMessage] = []

    def send(self, key: bytes, range_end: bytes = b"", **fields: Any) -> None:
        self.stream.create(WatchCreate(KeyRange(key, range_end), **fields))

    def create(self, key: bytes, range_end: bytes = b"", **fields: Any) -> WatchMessage:
        """Ask for a watcher and wait for the answer, which must be the next created message."""
        self.send(key, range_end, **fields)
        while True:
            message = self.next()
            if message.created:
                return message

    def cancel(self, watch_id: int) -> WatchMessage:
        """Cancel and wait for the answer; events that come before it are kept."""
        self.stream.cancel(watch_id)
        while True:
            message = self.next()
            if message.canceled and message.watch_id == watch_id:
                return message

    def next(self, timeout_s: float = PATIENCE_S) -> WatchMessage:
        message = self.stream.next(timeout_s)
        assert message is not None, f"no message in {timeout_s} s after {self.messages[-3:]}"
        self.messages.append(message)
        return message

    def poll(self, timeout_s: float) -> WatchMessage | None:
        """The next message, or None after that time."""
        message = self.stream.next(timeout_s)
        if message is not None:
            self.messages.append(message)
        return message

    def events(self, count: int, watch_id: int = 0) -> list[Event]:
        """The next `count` events of one watcher; the messages of others are passed over."""
        found: list[Event] = []
        while len(found) < count:
            message = self.next()
            if message.watch_id == watch_id:
                assert not message.canceled, message
                found.extend(message.events)
        assert len(found) == count, found
        return found

    def progress(self, timeout_s: float = PATIENCE_S) -> WatchMessage:
        """Ask for progress, again and again as etcd's clients do, until it is answered.

        What comes before the answer is kept in `messages`.
        """
        deadline_monotonic_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_monotonic_s:
            self.stream.request_progress()
            while (message := self.poll(0.1)) is not None:
                if message.watch_id == -1 and not message.events and not message.created:
                    return message
        raise AssertionError(f"no progress in {timeout_s} s after {self.messages[-3:]}")

    _marks = itertools.count(1)

    def until_mark(self) -> list[WatchMessage]:
        """Write a key that only a new watcher of this stream sees and wait for its event.

        Returns the messages of all other watchers up to then: what the stream had to say about
        everything that was written before.
        """
        mark = b"\xff\xffmark-%d" % next(self._marks)
        before = len(self.messages)
        watch_id = self.create(mark).watch_id
        put(self.store, mark)
        while not (message := self.next()).events or message.watch_id != watch_id:
            pass
        self.cancel(watch_id)
        return [each for each in self.messages[before:] if each.watch_id != watch_id]

    def close(self) -> None:
        self.stream.close()


def event_keys(events: Iterable[Event]) -> list[tuple[str, bytes]]:
    """Kind and key of each."""
    return [(EventType(event.type).name, event.kv.key) for event in events]
