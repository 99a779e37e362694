"""What is dropped without a close says so; what was closed, or ended with its store, does not."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import kvstore


def warned(program: Callable[[], Any]) -> list[str]:
    """The warnings of a program, and of what it leaves behind."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        program()
        gc.collect()
    return [str(one.message) for one in caught if one.category is ResourceWarning]


def on_a_loop(work: Callable[[Any], Any], *, closes: bool = True) -> Callable[[], None]:
    async def main() -> None:
        db = await kvstore.aopen(":memory:")
        await work(db)
        gc.collect()
        if closes:
            await db.close()

    return lambda: asyncio.run(main())


def with_threads(work: Callable[[Any], Any], *, closes: bool = True) -> Callable[[], None]:
    def main() -> None:
        db = kvstore.open(":memory:")
        work(db)
        gc.collect()
        if closes:
            db.close()

    return main


async def nothing(db: Any) -> None: ...


async def drops_a_watch(db: Any) -> None:
    db.watch("k")


async def closes_a_watch(db: Any) -> None:
    with_out = db.watch("k")
    with_out.close()
    async with db.watch("k"):
        pass


async def drops_a_lease(db: Any) -> None:
    await db.lease(60).__aenter__()


async def leaves_a_lease(db: Any) -> None:
    db.lease(60)
    async with db.lease(60):
        pass


def leaves_a_lease_of_threads(db: Any) -> None:
    db.lease(60)
    with db.lease(60):
        pass


def closes_a_watch_of_threads(db: Any) -> None:
    db.watch("k").close()
    with db.watch("k"):
        pass


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (
            with_threads(lambda db: None, closes=False),
            "<Store ':memory:', revision 1> was not",
        ),
        (on_a_loop(nothing, closes=False), "<AsyncStore ':memory:', revision 1> was not"),
        (
            with_threads(lambda db: db.watch("k") and None),
            "<Watch open, revision 1> was not",
        ),
        (on_a_loop(drops_a_watch), "<AsyncWatch open, revision 1> was not"),
        (with_threads(lambda db: db.lease(60).__enter__() and None), "was entered and not left"),
        (on_a_loop(drops_a_lease), "was entered and not left"),
    ],
)
def test_what_is_dropped_says_so(program: Callable[[], None], text: str) -> None:
    (warning,) = warned(program)
    assert text in warning


@pytest.mark.parametrize(
    "program",
    [
        with_threads(lambda db: None),
        with_threads(closes_a_watch_of_threads),
        with_threads(leaves_a_lease_of_threads),
        on_a_loop(nothing),
        on_a_loop(closes_a_watch),
        on_a_loop(leaves_a_lease),
    ],
)
def test_what_was_closed_says_nothing(program: Callable[[], None]) -> None:
    assert warned(program) == []


def test_what_ended_with_its_store_says_nothing() -> None:
    def program() -> None:
        db = kvstore.open(":memory:")
        watch, lease = db.watch("k"), db.lease(60).__enter__()
        db.close()
        del watch, lease

    assert warned(program) == []


def test_a_lease_that_its_program_lost_is_not_kept_alive() -> None:
    options = kvstore.StoreOptions(min_lease_ttl_s=1)
    with kvstore.open(":memory:", options=options) as db, db.watch("k") as watch:
        warned(lambda: db.put("k", "1", lease=db.lease(1).__enter__()))
        assert watch.next(20).events[0].type.name == "PUT"
        assert watch.next(20).events[0].type.name == "DELETE"
