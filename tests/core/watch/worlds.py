"""An engine in RAM whose watchers are told in pieces as small as a test wants."""

from __future__ import annotations

from collections.abc import Iterable

from kvstore.backend.memory import MemoryBackend
from kvstore.core.engine import Engine
from kvstore.core.watch.stream import WatchStream
from kvstore.keys import KeyRange
from kvstore.store.reader import SnapshotReader
from kvstore.store.recovery import recover
from kvstore.store.rows import rows_of
from kvstore.types import DeleteRangeOp, Op, PutOp, Txn, WatchCreate, WatchMessage

__all__ = ["World"]


class World:
    """Commits at once; `work` does one piece of what the hub has left."""

    def __init__(self) -> None:
        self.backend = MemoryBackend()
        self.reader = SnapshotReader(self.backend)
        self.engine = Engine(self.reader, recover(self.backend))
        self.hub = self.engine.hub

    def put(self, *keys: bytes, value: bytes = b"v") -> int:
        """One revision for each key, all of them in one commit; returns the last."""
        for key in keys:
            self.engine.put(key, value)
        self.commit()
        return self.engine.durable

    def txn(self, *ops: Op) -> int:
        self.engine.txn(Txn(success=ops))
        self.commit()
        return self.engine.durable

    def delete(self, key_range: KeyRange) -> int:
        return self.txn(DeleteRangeOp(key_range))

    def put_all(self, *keys: bytes) -> int:
        """All in one revision."""
        return self.txn(*(PutOp(key, b"v") for key in keys))

    def compact(self, revision: int) -> None:
        """And remove what that makes unreachable."""
        self.engine.compact(revision)
        self.commit()
        while self.engine.compaction_step(1000):
            self.commit()
        self.commit()

    def commit(self) -> None:
        while self.engine.has_outbox:
            batch = self.engine.take_commit()
            self.backend.commit(rows_of(batch))
            self.reader.refresh()
            self.engine.publish(batch.last_sequence)

    def stream(self, *watches: WatchCreate) -> WatchStream:
        """A stream with these watches, whose answers were read."""
        stream = self.engine.watch_stream(lambda: None)
        for watch in watches:
            stream.create(watch)
            answer = stream.poll()
            assert answer is not None
            assert answer.created
        return stream

    def work(self, pieces: int = 1) -> None:
        for _ in range(pieces):
            assert self.hub.has_work
            self.hub.work()
            assert self.engine.check() == []

    def finish(self) -> int:
        """Do all that is left; returns in how many pieces."""
        pieces = 0
        while self.hub.has_work:
            self.work()
            pieces += 1
        return pieces


def taken(stream: WatchStream) -> list[WatchMessage]:
    """All that the stream says now."""
    messages = []
    while stream.has_work:
        message = stream.poll()
        if message is not None:
            messages.append(message)
    return messages


def revisions(messages: Iterable[WatchMessage]) -> list[int]:
    return [event.kv.mod_revision for message in messages for event in message.events]
