"""An exception of a signal handler anywhere in the store on an event loop, and after it a store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import kvstore
from kvstore import ops
from tests.support.interruption import STEP, Interruption

FILES = ("/kvstore/", "/sortedcontainers/")
MODES = {
    "memory": (":memory:", "power-loss"),
    "process-crash": ("data", "process-crash"),
    "power-loss": ("data", "power-loss"),
}
CALLS: dict[str, Callable[[Any, str], Coroutine[Any, Any, Any]]] = {
    "put": lambda db, n: db.put("k" + n, n),
    "txn": lambda db, n: db.txn([], [ops.put("t" + n, n), ops.delete("k"), ops.get("k")]),
    "lease": lambda db, n: db.lease_grant(60),
    "compact": lambda db, n: db.compact(db.revision, physical=True),
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CALLS)
def test_an_exception_anywhere_leaves_a_store_that_goes_on(
    mode: str, name: str, tmp_path: Path
) -> None:
    path, durability = MODES[mode]
    loop = asyncio.new_event_loop()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return loop.run_until_complete(asyncio.wait_for(work, 20))

    async def opened() -> Any:
        where = path if path == ":memory:" else tmp_path / path
        return await kvstore.aopen(where, durability=durability)  # type: ignore[arg-type]

    async def twice(n: str) -> None:
        with contextlib.suppress(kvstore.Compacted):
            await asyncio.gather(CALLS[name](db, n), db.put("beside", n), return_exceptions=True)

    db = run(opened())
    try:
        run(twice("first"))
        for at in range(1, 1500, STEP):
            interruption = Interruption(FILES, at, error=KeyboardInterrupt)
            main = loop.create_task(twice(str(at)))
            with contextlib.suppress(KeyboardInterrupt), interruption:
                loop.run_until_complete(main)
            with contextlib.suppress(BaseException):
                run(asyncio.wait_for(asyncio.shield(main), 0.2) if not main.done() else done())
            assert run(db.put("after", str(at))).revision == db.revision, interruption.where
            assert run(db.get("after")).value == str(at).encode()
            assert db._shell._error is None, interruption.where
            assert db._shell._engine.check() == [], interruption.where
            if interruption.places < at:
                break
        assert at > 20
    finally:
        run(db.close())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    if path != ":memory:":
        with kvstore.open(tmp_path / path) as again:
            assert again.get("after").value == str(at).encode()  # type: ignore[union-attr]


def test_watchers_that_are_told_in_pieces_hear_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing else happens that could bring the rest of the pieces about."""
    monkeypatch.setattr("kvstore.core.watch.hub.WATCH_TURN_WATCHERS", 1)
    loop = asyncio.new_event_loop()
    db = loop.run_until_complete(kvstore.aopen(":memory:"))
    try:
        watches = [loop.run_until_complete(_watch(db)) for _ in range(4)]
        for at in range(1, 10_000):
            interruption = Interruption(("/kvstore/store/aio.py",), at, error=KeyboardInterrupt)
            put = loop.create_task(db.put("k", str(at)))
            with contextlib.suppress(KeyboardInterrupt), interruption:
                loop.run_until_complete(put)
                loop.run_until_complete(asyncio.sleep(0.001))
            loop.call_soon(loop.stop)  # what was interrupted may have one on its way
            loop.run_forever()
            loop.run_until_complete(asyncio.wait([put]))
            for watch in watches:
                while watch.revision < db.revision:
                    batch = loop.run_until_complete(watch.next(10))
                    assert batch is not None, interruption.where
            if not interruption.where:
                return
    finally:
        for watch in watches:
            watch.close()
        loop.run_until_complete(db.close())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _watch(db: Any) -> Any:
    return db.watch("k")


async def done() -> None:
    pass
