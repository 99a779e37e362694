"""A commit waits for those who had the last one, as long as they keep coming."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kvstore.backend import open_backend
from kvstore.limits import GATHER_DECISIONS, GATHER_S
from kvstore.store.aio import LoopStore
from kvstore.store.gathering import Gathering
from kvstore.types import PutOp, Txn


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


def test_the_first_write_waits_for_nobody() -> None:
    assert not Gathering(Clock()).goes_on(1)


def test_a_single_client_waits_for_nobody() -> None:
    gathering = Gathering(Clock())
    gathering.end(1)
    assert not gathering.goes_on(1)


def test_it_goes_on_while_more_come_up_to_as_many_as_before() -> None:
    gathering = Gathering(Clock())
    gathering.end(5)
    assert [gathering.goes_on(waiting) for waiting in (1, 3, 4, 5)] == [True, True, True, False]


def test_a_turn_that_brings_nobody_ends_it() -> None:
    gathering = Gathering(Clock())
    gathering.end(5)
    assert [gathering.goes_on(waiting) for waiting in (2, 2)] == [True, False]


def test_time_ends_it() -> None:
    clock = Clock()
    gathering = Gathering(clock)
    gathering.end(5)
    assert gathering.goes_on(1)
    clock.now += 2 * GATHER_S
    assert not gathering.goes_on(2)
    gathering.end(5)
    assert gathering.goes_on(1)


def test_it_never_wants_more_than_the_bound() -> None:
    gathering = Gathering(Clock())
    gathering.end(10 * GATHER_DECISIONS)
    assert not gathering.goes_on(GATHER_DECISIONS)


def test_a_lone_write_after_many_is_committed(tmp_path: Path) -> None:
    async def body() -> int:
        store = await LoopStore.open(open_backend(tmp_path))
        try:
            put = Txn((), (PutOp(b"k", b"v"),))
            await asyncio.gather(*(store.txn(put) for _ in range(8)))
            return (await asyncio.wait_for(store.txn(put), 10)).revision
        finally:
            await store.close()

    assert asyncio.run(body()) == 10


def test_writes_of_successive_turns_share_a_commit(tmp_path: Path) -> None:
    async def body() -> list[int]:
        store = await LoopStore.open(open_backend(tmp_path))
        try:
            put = Txn((), (PutOp(b"k", b"v"),))
            await asyncio.gather(*(store.txn(put) for _ in range(4)))
            before = sum(store.stats.commit_s.counts)

            async def after(turns: int) -> None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                await store.txn(put)

            await asyncio.gather(*(after(turns) for turns in range(4)))
            return [store.revision, sum(store.stats.commit_s.counts) - before]
        finally:
            await store.close()

    revision, commits = asyncio.run(body())
    assert revision == 9
    assert commits == 1
