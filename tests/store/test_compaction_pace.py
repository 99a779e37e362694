"""A compaction goes in steps of a bounded number of keys, with a pause after each but the last."""

from __future__ import annotations

import asyncio

import pytest

from kvstore.backend import open_backend
from kvstore.store import aio
from kvstore.store.aio import LoopStore
from kvstore.store.options import StoreOptions
from kvstore.types import PutOp, Txn


@pytest.mark.parametrize(("keys_per_step", "pauses"), [(1, 4), (2, 2), (5, 0), (100, 0)])
def test_steps_pause_between_them(
    keys_per_step: int, pauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # behaviour 89
    slept: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)
        await real_sleep(0)

    async def scenario() -> None:
        options = StoreOptions(compaction_batch_limit=keys_per_step, compaction_sleep_s=7.5)
        store = await LoopStore.open(open_backend(":memory:"), options=options)
        for _ in range(2):
            for n in range(5):
                await store.txn(Txn(success=(PutOp(b"k%d" % n),)))
        monkeypatch.setattr(aio.asyncio, "sleep", sleep)
        await store.compact(store.revision, physical=True)
        monkeypatch.setattr(aio.asyncio, "sleep", real_sleep)
        await store.close()

    asyncio.run(scenario())
    assert slept == [7.5] * pauses
