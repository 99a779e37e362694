"""Both shells drive what the hub leaves: every watcher is told, every one goes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from kvstore.backend import open_backend
from kvstore.core.watch.hub import Hub
from kvstore.keys import KeyRange
from kvstore.store.aio import LoopStore
from kvstore.store.threads import ThreadStore
from kvstore.types import PutOp, Txn, WatchCreate

A = KeyRange(b"a", b"b")
PUT = Txn(success=(PutOp(b"a", b"v"),))
WATCHERS = 20


@pytest.fixture(autouse=True)
def _small_pieces() -> Iterator[None]:
    with (
        patch("kvstore.core.watch.hub.WATCH_TURN_WATCHERS", 3),
        patch("kvstore.core.watch.hub.WATCH_BACKLOG_CHANGES", 2),
    ):
        yield


class TestLoopStore:
    def test_every_watcher_is_told_of_every_write(self) -> None:
        async def test() -> None:
            store = await LoopStore.open(open_backend(":memory:"))
            streams = [store.watch_stream() for _ in range(2)]
            for stream in streams:
                for _ in range(WATCHERS):
                    stream.create(WatchCreate(A))
            results = []
            for _ in range(10):  # commits that have to wait for the delivery of those before
                results += await asyncio.gather(store.txn(PUT), store.txn(PUT))
            expected = [result.revision for result in results]
            for stream in streams:
                seen: dict[int, list[int]] = defaultdict(list)
                while sum(map(len, seen.values())) < WATCHERS * len(expected):
                    message = await stream.next()
                    seen[message.watch_id] += [e.kv.mod_revision for e in message.events]
                assert dict(seen) == dict.fromkeys(range(WATCHERS), expected)
            await store.close()

        asyncio.run(asyncio.wait_for(test(), 30))

    def test_the_watchers_of_a_closed_stream_go_with_the_loop_free_in_between(self) -> None:
        async def test() -> None:
            store = await LoopStore.open(open_backend(":memory:"))
            stream = store.watch_stream()
            for _ in range(WATCHERS):
                stream.create(WatchCreate(A))
            hub = store._engine.hub
            stream.close()
            assert store.status().watchers == 0
            turns = 0
            while not hub.is_idle:
                await asyncio.sleep(0)
                turns += 1
            assert turns >= WATCHERS - 3
            await store.close()

        asyncio.run(asyncio.wait_for(test(), 30))

    def test_a_turn_is_one_piece_however_often_somebody_looked_after_it(self) -> None:
        """The timer that does is due every 0.1 s; each time every turn had one piece more."""

        async def test() -> None:
            store = await LoopStore.open(open_backend(":memory:"))
            stream = store.watch_stream()
            for _ in range(WATCHERS):
                stream.create(WatchCreate(A))
            pieces = 0

            def work(hub: Hub) -> None:
                nonlocal pieces
                pieces += 1
                one_piece(hub)

            one_piece = Hub.work
            with patch.object(Hub, "work", work):
                await store.txn(PUT)
                assert store._engine.hub.has_work
                for _ in range(3):
                    store._look_after()
                assert store._engine.hub.has_work
                before = pieces
                await asyncio.sleep(0)
                assert pieces == before + 1
            await store.close()

        asyncio.run(asyncio.wait_for(test(), 30))

    def test_a_guard_that_is_late_does_not_look_beside_the_next(self) -> None:
        async def test() -> None:
            store = await LoopStore.open(open_backend(":memory:"))
            with (
                patch("kvstore.store.aio._GUARD_S", 0.0),
                patch.object(store, "_look_after") as look,
            ):
                for _ in range(3):
                    store._guards_until = 0.0  # when the one before should have looked long ago
                    store._stand_guard()
                await asyncio.sleep(0.0)
                await asyncio.sleep(0.0)
            assert look.call_count == 1
            await store.close()

        asyncio.run(asyncio.wait_for(test(), 30))

    def test_the_timer_goes_through_the_streams_in_pieces(self) -> None:
        async def test() -> None:
            store = await LoopStore.open(open_backend(":memory:"))
            streams = [store.watch_stream() for _ in range(5)]
            for stream in streams:
                stream.create(WatchCreate(A, progress_notify=True))
                assert (await stream.next()).created
            with patch("kvstore.store.aio.WATCH_TURN_WATCHERS", 2):
                store.notify_progress()
                assert sum(stream.core.has_work for stream in streams) == 2
                for stream in streams:
                    assert (await stream.next()).revision == 1
            await store.close()

        asyncio.run(asyncio.wait_for(test(), 30))


class TestThreadStore:
    def watch_all(self, store: ThreadStore) -> None:
        stream = store.watch_stream()
        for _ in range(WATCHERS):
            stream.create(WatchCreate(A))
        expected = [store.txn(PUT).revision for _ in range(5)]
        seen: dict[int, list[int]] = defaultdict(list)
        while sum(map(len, seen.values())) < WATCHERS * len(expected):
            message = stream.next(10)
            assert message is not None
            seen[message.watch_id] += [e.kv.mod_revision for e in message.events]
        assert dict(seen) == dict.fromkeys(range(WATCHERS), expected)
        stream.close()

    def test_who_writes_tells_every_watcher(self) -> None:
        store = ThreadStore.open(open_backend(":memory:"))
        self.watch_all(store)
        assert store._engine.hub.is_idle
        store.close()

    def test_who_reads_does_what_a_writer_left(self) -> None:
        store = ThreadStore.open(open_backend(":memory:"))
        with patch.object(ThreadStore, "_finish_work", lambda self: None):
            self.watch_all(store)
        store.close()
