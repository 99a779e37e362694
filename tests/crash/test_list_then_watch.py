"""The one pattern every cache is built on: list, then watch from the list's revision on.

While many writers run, no reader that does so may miss an event or see one twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from kvstore.backend import open_backend
from kvstore.client.grpc import GrpcStore
from kvstore.keys import ALL_KEYS, FROM_KEY, KeyRange
from kvstore.store.interface import StoreProtocol
from kvstore.store.threads import ThreadStore
from kvstore.types import Event, KeyValue, RangeOp
from tests.crash.judge import replay, watched
from tests.crash.workload import WRITERS, Writer
from tests.support.kvserver import KvServer

PAGE = 3


class Listed(NamedTuple):
    revision: int
    state: dict[bytes, KeyValue]


def list_plain(store: StoreProtocol) -> Listed:
    result = store.range(RangeOp(ALL_KEYS))
    return Listed(result.revision, {kv.key: kv for kv in result.kvs})


def list_paged(store: StoreProtocol) -> Listed:
    """Page by page, all at the revision of the first page."""
    page = store.range(RangeOp(ALL_KEYS, limit=PAGE))
    revision, count, kvs = page.revision, page.count, list(page.kvs)
    while page.more:
        after = KeyRange(kvs[-1].key + b"\x00", FROM_KEY)
        page = store.range(RangeOp(after, limit=PAGE, revision=revision))
        kvs += page.kvs
    assert count == len(kvs), "the pages do not add up to what the first one counted"
    return Listed(revision, {kv.key: kv for kv in kvs})


def list_streamed(store: StoreProtocol) -> Listed:
    chunks = list(store.range_stream(RangeOp(ALL_KEYS)))
    return Listed(chunks[-1].revision, {kv.key: kv for chunk in chunks for kv in chunk.kvs})


class Reader(NamedTuple):
    """A list, and every event after it up to `head`."""

    listed: Listed
    events: list[Event]


def check(readers: list[Reader], head: int, final: dict[bytes, KeyValue]) -> list[str]:
    """Sentences about every reader whose list and events do not lead to the final state."""
    found = []
    whole = max((reader.events for reader in readers), key=len)
    for listed, events in readers:
        name = f"listed at {listed.revision}"
        revisions = [event.kv.mod_revision for event in events]
        if sorted(set(revisions)) != list(range(listed.revision + 1, head + 1)):
            found.append(f"{name}: the revisions {sorted(set(revisions))} came, up to {head}")
        if events != whole[len(whole) - len(events) :]:
            found.append(f"{name}: other events than the reader that began first")
        if replay(listed.state, events) != final:
            found.append(f"{name}: {replay(listed.state, events)} is not {final}")
    return found


def run(stores: list[StoreProtocol], seed: int, *, steps: int, readers: int) -> list[str]:
    """Writers and readers at once, each on the next one of `stores`."""
    listers = (list_plain, list_paged, list_streamed)
    head: Future[int] = Future()

    def write(number: int) -> None:
        store = stores[number % len(stores)]
        writer = Writer(store, number, seed, lambda _: None, compacts=False)
        for _ in range(steps):
            writer.step()

    def read(number: int) -> Reader:
        store = stores[number % len(stores)]
        listed = listers[number % len(listers)](store)
        return Reader(listed, watched(store, listed.revision + 1, head))

    with ThreadPoolExecutor(WRITERS) as writers, ThreadPoolExecutor(readers) as reading:
        writing = [writers.submit(write, number) for number in range(WRITERS)]
        results = [reading.submit(read, number) for number in range(readers)]
        try:
            for future in writing:
                future.result()
            head.set_result(stores[0].range(RangeOp(ALL_KEYS)).revision)
        except BaseException as error:
            head.set_exception(error)
            raise
        found = [result.result() for result in results]
    final = stores[0].range(RangeOp(ALL_KEYS))
    return check(found, final.revision, {kv.key: kv for kv in final.kvs})


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreProtocol]:
    path = ":memory:" if request.param == "memory" else tmp_path / "data"
    store = ThreadStore.open(open_backend(path))
    yield store
    store.close()


@pytest.mark.slow
class TestInProcess:
    @pytest.mark.parametrize("seed", range(2))
    def test_no_event_is_lost_or_doubled(self, store: StoreProtocol, seed: int) -> None:
        assert run([store], seed, steps=60, readers=9) == []


@pytest.mark.slow
class TestServed:
    def test_no_event_is_lost_or_doubled(self, tmp_path: Path) -> None:
        server = KvServer(tmp_path / "data")
        stores = [GrpcStore(server.target, timeout_s=30.0) for _ in range(4)]
        try:
            assert run([*stores], 1, steps=15, readers=9) == []
        finally:
            for store in stores:
                store.close()
            server.stop()
