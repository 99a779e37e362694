"""Revisions that became durable together go to a watcher in one message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kvstore.backend import open_backend
from kvstore.keys import KeyRange
from kvstore.store.aio import LoopStore, LoopWatchStream
from kvstore.types import PutOp, Txn, WatchCreate, WatchFilter


def run(test: Callable[[LoopStore], Awaitable[None]]) -> None:
    async def body() -> None:
        store = await LoopStore.open(open_backend(":memory:"))
        try:
            await asyncio.wait_for(test(store), 20)
        finally:
            await store.close()

    asyncio.run(body())


async def put_together(store: LoopStore, *keys: bytes) -> None:
    await asyncio.gather(*(store.txn(Txn((), (PutOp(key, b"v"),))) for key in keys))


async def watching(store: LoopStore, create: WatchCreate) -> LoopWatchStream:
    stream = store.watch_stream()
    stream.create(create)
    assert (await stream.next()).created
    return stream


def test_one_message_has_them_all_and_the_last_revision() -> None:
    async def test(store: LoopStore) -> None:
        stream = await watching(store, WatchCreate(KeyRange(b"a", b"c")))
        other = await watching(store, WatchCreate(KeyRange(b"z")))
        await put_together(store, b"a", b"b", b"x", b"a")
        message = await stream.next()
        assert [(e.kv.key, e.kv.mod_revision) for e in message.events] == [
            (b"a", 2),
            (b"b", 3),
            (b"a", 5),
        ]
        assert message.revision == 5
        await put_together(store, b"z")
        assert [e.kv.mod_revision for e in (await other.next()).events] == [6]

    run(test)


def test_a_watcher_that_begins_in_between_gets_the_rest() -> None:
    async def test(store: LoopStore) -> None:
        stream = await watching(store, WatchCreate(KeyRange(b"a"), start_revision=4))
        await put_together(store, *[b"a"] * 4)
        assert [e.kv.mod_revision for e in (await stream.next()).events] == [4, 5]

    run(test)


def test_filters_and_previous_values_hold() -> None:
    async def test(store: LoopStore) -> None:
        await put_together(store, b"a")
        seen = await watching(store, WatchCreate(KeyRange(b"a"), prev_kv=True))
        none = await watching(store, WatchCreate(KeyRange(b"a"), filters=[WatchFilter.NOPUT]))
        await put_together(store, b"a", b"a")
        events = (await seen.next()).events
        assert [e.prev_kv.mod_revision for e in events if e.prev_kv is not None] == [2, 3]
        none.request_progress()
        assert not (await none.next()).events

    run(test)
