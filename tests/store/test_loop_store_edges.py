"""What a store on a loop says while a commit is under way, when it fails, and around leases."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from kvstore.backend.interface import MapFull, WriteBatch
from kvstore.backend.memory import MemoryBackend
from kvstore.errors import KeyNotFound, LeaseExists, NoSpace, StoreClosed, StoreFailed
from kvstore.keys import KeyRange
from kvstore.store.aio import LoopStore
from kvstore.store.options import StoreOptions
from kvstore.types import DeleteRangeOp, PutOp, Txn
from tests.support.faulty_backend import Fault, FaultyBackend


def put(key: bytes, **fields: Any) -> Txn:
    return Txn(success=(PutOp(key, **fields),))


class Gate:
    """Holds every commit until `open` is called; open at first."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self._reached = threading.Event()

    def __call__(self) -> None:
        self._reached.set()
        assert self._open.wait(10)

    def shut(self) -> None:
        self._reached.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def reached(self) -> None:
        """Until a commit stands at the gate."""
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, self._reached.wait, 10)


class Scene:
    def __init__(self) -> None:
        self.now = 0.0
        self.gate = Gate()
        self.backend = FaultyBackend(MemoryBackend(), gate=self.gate)

    async def open(self) -> LoopStore:
        return await LoopStore.open(self.backend, options=StoreOptions(clock=lambda: self.now))


def play(scenario: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(Scene()), 20))


async def soon(awaitable: Awaitable[Any]) -> asyncio.Future[Any]:
    """Started, and as far as it comes without the disk."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(5):
        await asyncio.sleep(0)
    return task


def test_a_keep_alive_ends_when_its_expired_lease_is_granted_anew() -> None:
    async def scenario(scene: Scene) -> None:
        store = await scene.open()
        await store.lease_grant(2, 7)
        scene.now = 10
        scene.gate.shut()
        keep_alive = await soon(store.lease_keep_alive(7))
        await scene.gate.reached()
        grant = await soon(store.lease_grant(100, 7))
        scene.gate.open()
        assert (await grant).ttl_s == 100
        assert (await keep_alive).ttl_s == 0
        await store.close()

    play(scenario)


def test_a_refusal_waits_for_what_it_rests_on() -> None:
    async def scenario(scene: Scene) -> None:
        store = await scene.open()
        await store.txn(put(b"k"))
        scene.gate.shut()
        await soon(store.txn(Txn(success=(DeleteRangeOp(KeyRange(b"k")),))))
        await soon(store.lease_grant(100, 8))
        late = await soon(store.txn(put(b"k", ignore_value=True)))
        twice = await soon(store.lease_grant(5, 8))
        assert not late.done()
        assert not twice.done()
        scene.gate.open()
        with pytest.raises(KeyNotFound):
            await late
        with pytest.raises(LeaseExists):
            await twice
        await store.close()

    play(scenario)


def test_a_refusal_that_rested_on_a_write_taken_back_is_not_given() -> None:
    async def scenario(scene: Scene) -> None:
        store = await scene.open()
        await store.txn(put(b"k"))
        scene.backend.fail(Fault.FULL)
        scene.gate.shut()
        deleted = await soon(store.txn(Txn(success=(DeleteRangeOp(KeyRange(b"k")),))))
        late = await soon(store.txn(put(b"k", ignore_value=True)))
        scene.gate.open()
        for refused in (deleted, late):
            with pytest.raises(NoSpace):
                await refused
        assert store.get(b"k") is not None
        scene.backend.fail(None)
        await store.close()

    play(scenario)


def test_lease_queries_tell_only_what_is_durable() -> None:
    async def scenario(scene: Scene) -> None:
        store = await scene.open()
        await store.lease_grant(100, 7)
        scene.gate.shut()
        first = await soon(store.txn(put(b"k1", lease=7)))
        await scene.gate.reached()
        keys = await soon(store.lease_time_to_live(7, keys=True))
        leases = await soon(store.lease_leases())
        await soon(store.txn(put(b"k2", lease=7)))
        await soon(store.lease_grant(100, 8))
        scene.gate.open()
        assert list((await keys).keys) == [b"k1"]
        assert await leases == [7]
        await first
        await store.close()

    play(scenario)


@pytest.mark.parametrize("lease_id", [7, 99])
def test_a_keep_alive_on_a_failed_store_is_refused(lease_id: int) -> None:
    async def scenario(scene: Scene) -> None:
        store = await scene.open()
        scene.backend.fail(Fault.LOST)
        with pytest.raises(StoreFailed):
            await store.lease_grant(100, 7)
        with pytest.raises(StoreFailed):
            await store.lease_keep_alive(lease_id)
        await store.close()

    play(scenario)


def test_a_lease_expires_although_the_disk_was_full_when_its_time_came() -> None:
    async def scenario(scene: Scene) -> None:
        store = await scene.open()
        await store.lease_grant(2, 7)
        scene.now = 3
        scene.backend.fail(Fault.FULL)
        with pytest.raises(NoSpace):
            await store.lease_keep_alive(7)
        scene.backend.fail(None)
        assert (await store.lease_time_to_live(7)).granted_ttl_s == 2
        assert store._expiry is not None  # it has its TTL again, and a timer
        scene.now = 6
        store.expire_due()
        assert await store.lease_leases() == []
        await store.close()

    play(scenario)


def test_a_map_that_cannot_grow_fails_the_store_and_reads_go_on() -> None:
    class Stuck(MemoryBackend):
        is_fast = False
        is_stuck = False

        def commit(self, batch: WriteBatch) -> None:
            if self.is_stuck:
                raise MapFull
            super().commit(batch)

        def grow(self) -> None:
            raise MemoryError("no address space")

    async def scenario(_: Scene) -> None:
        backend = Stuck()
        store = await LoopStore.open(backend)
        await store.txn(put(b"a"))
        backend.is_stuck = True
        with pytest.raises(StoreFailed):
            await store.txn(put(b"b"))
        assert store.get(b"a") is not None
        assert store.get(b"b") is None
        await store.close()

    play(scenario)


def test_a_physical_compaction_at_close_is_told_that_the_store_is_closed() -> None:
    async def scenario(_: Scene) -> None:
        options = StoreOptions(compaction_batch_limit=1, compaction_sleep_s=3600)
        store = await LoopStore.open(MemoryBackend(), options=options)
        for _ in range(2):
            for key in (b"a", b"b", b"c"):
                await store.txn(put(key))
        compaction = await soon(store.compact(store.revision, physical=True))
        await store.close()
        with pytest.raises(StoreClosed):
            await compaction

    play(scenario)


def test_a_commit_that_is_told_twice_holds_up_nobody() -> None:
    """A loop that was broken off by a signal calls what it had left, and what it finds ready anew.

    The second call waited for ever for what the first had taken.
    """

    async def scenario(scene: Scene) -> None:
        store = await scene.open()
        committer = store._committer
        assert committer is not None
        loop = asyncio.get_running_loop()
        for n in range(3):
            scene.gate.shut()
            write = await soon(store.txn(put(b"%d" % n)))
            await scene.gate.reached()
            scene.gate.open()
            while not write.done():
                loop.call_soon(committer._on_done)
                await asyncio.sleep(0)
        committer._on_done()
        assert (await store.txn(put(b"k"))).revision == 5
        await store.close()

    play(scenario)


def test_a_commit_is_told_inside_of_what_was_asked_for() -> None:
    async def scenario(scene: Scene) -> None:
        store = await scene.open()
        told: list[tuple[bool, bool]] = []

        def together(tell: Callable[[], None]) -> None:
            before = write.done()
            tell()
            told.append((before, write.done()))

        store.tell_by(together)
        for n in range(3):
            write = store.decide(put(b"%d" % n), asyncio.get_running_loop().create_future())
            await write
        assert told == [(False, True)] * 3
        await store.close()

    play(scenario)
