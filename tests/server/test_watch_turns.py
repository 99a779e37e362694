"""What 100,000 watches of one client ask of the loop, in one turn: counted, not timed."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest

from kvstore.backend import open_backend
from kvstore.bench.awaited import MessageStream, connect, unary
from kvstore.bench.http2 import Connection, Method
from kvstore.client.messages import put_request
from kvstore.core.watch.hub import Hub
from kvstore.core.watch.stream import WatchStream
from kvstore.limits import WATCH_TURN_WATCHERS
from kvstore.proto import rpc_pb2
from kvstore.server.config.urls import parse_urls
from kvstore.server.header import Headers
from kvstore.server.services import build_methods
from kvstore.server.services.served import Settings
from kvstore.server.stats import CallStats
from kvstore.server.transports.http2 import connection as http2
from kvstore.server.transports.native.transport import NativeTransport
from kvstore.store.aio import LoopStore
from kvstore.types import PutOp

PUT, WATCH = Method("/etcdserverpb.KV/Put"), Method("/etcdserverpb.Watch/Watch")
MANY = int(os.environ.get("KVSTORE_MANY_WATCHES", "5000"))
"""100,000 take two minutes, and the same bounds hold."""

CREATED_AT_ONCE = 4 * 64  # of a read and of a turn after it, and what ends either
OFFERED_AT_ONCE = 2 * WATCH_TURN_WATCHERS  # a delivery that begins, and a piece of one before
PULLED_AT_ONCE = 2 * (256 + 64)
LEFT_AT_ONCE = 3 * (WATCH_TURN_WATCHERS // 4 + 1)  # of those offered something, and of the closed
FRAMES_AT_ONCE = 2 * 256  # of either connection, in a small read


class Turns:
    """Counts calls in each turn of the loop."""

    def __init__(self) -> None:
        self.most: Counter[str] = Counter()
        self.total: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._is_over = False

    def counted(self, kind: type, name: str) -> Any:
        work = getattr(kind, name)

        def count(*args: Any, **kwargs: Any) -> Any:
            self._now[name] += 1
            return work(*args, **kwargs)

        return patch.object(kind, name, count)

    def begin(self) -> None:
        self._turn()

    def end(self) -> None:
        self._is_over = True

    def _turn(self) -> None:
        self.total += self._now
        for name, count in self._now.items():
            self.most[name] = max(self.most[name], count)
        self._now.clear()
        if not self._is_over:
            asyncio.get_running_loop().call_soon(self._turn)


@pytest.fixture
def turns() -> Iterator[Turns]:
    turns = Turns()
    with (
        turns.counted(WatchStream, "create"),
        turns.counted(WatchStream, "offer"),
        turns.counted(WatchStream, "poll"),
        turns.counted(Hub, "leave"),
        turns.counted(http2.Connection, "_frame"),
    ):
        yield turns


class Served:
    """A store that is served, in the loop of its clients."""

    def __init__(self, store: LoopStore, target: str) -> None:
        self.store, self.target = store, target

    @property
    def watchers(self) -> int:
        return self.store.status().watchers

    async def until(self, what: Callable[[], bool]) -> None:
        while not what():  # noqa: ASYNC110  # each turn of the loop is one to look at
            await asyncio.sleep(0)


def run(test: Callable[[Served], Awaitable[None]]) -> None:
    async def body() -> None:
        store = await LoopStore.open(open_backend(":memory:"))
        methods = build_methods(store, Headers(1, 2, 3), Settings())
        transport = NativeTransport(max_message_bytes=1 << 20)
        port = transport.bind(parse_urls("http://127.0.0.1:0")[0])
        await transport.start(methods, CallStats(methods))
        try:
            async with asyncio.timeout(300):
                await test(Served(store, f"127.0.0.1:{port}"))
        finally:
            await transport.drain(0.0)
            await store.close()

    asyncio.run(body())


def create(key: bytes, end: bytes = b"", start: int = 0) -> bytes:
    request = rpc_pb2.WatchCreateRequest(key=key, range_end=end, start_revision=start)
    return rpc_pb2.WatchRequest(create_request=request).SerializeToString()


async def put(connection: Connection, key: bytes) -> None:
    await unary(connection, PUT, put_request(PutOp(key, b"v")).SerializeToString(), 120)


SHAPES = {
    "distinct": lambda at: create(b"k%06d" % at),
    "prefixes": lambda at: create(b"k%06d" % at, b"k%06d" % (at + 1)),
    "overlapping": lambda at: create(b"k%06d" % at, b"\x00"),
    "the-same": lambda at: create(b"k", b"l"),
    "in-the-past": lambda at: create(b"k%06d" % at, start=1),
}


@pytest.mark.slow
@pytest.mark.parametrize("streams", [1, MANY // 10], ids=["one-stream", "many-streams"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ending", ["cancel", "connection"])
def test_no_turn_does_more_than_its_bound(
    turns: Turns, shape: str, streams: int, ending: str
) -> None:
    seen: Counter[str] = Counter()

    def on_message(message: bytes) -> None:
        response = rpc_pb2.WatchResponse.FromString(message)
        seen["created"] += response.created
        seen["events"] += len(response.events)

    async def test(served: Served) -> None:
        watching, other = await connect(served.target), await connect(served.target)
        turns.begin()
        calls = [MessageStream(on_message) for _ in range(streams)]
        for at in range(MANY):
            request = SHAPES[shape](at)
            if at < streams:
                watching.call(calls[at], WATCH, request)
            else:
                watching.send(calls[at % streams], request)
        await served.until(lambda: seen["created"] == MANY)
        await put(other, b"k%06d" % (MANY - 1))
        concerned = {"distinct": 1, "prefixes": 1, "in-the-past": 1}.get(shape, MANY)
        await served.until(lambda: seen["events"] == concerned)
        if ending == "cancel":
            for call in calls:
                watching.cancel(call)
        else:
            watching.close()
        hub = served.store._engine.hub
        await served.until(lambda: hub.is_idle and not hub.has_work)
        assert served.watchers == 0
        await put(other, b"k")
        turns.end()
        other.close()
        watching.close()

    run(test)
    assert turns.total["create"] == MANY
    assert turns.total["leave"] >= MANY
    assert turns.most["create"] <= CREATED_AT_ONCE
    assert turns.most["offer"] <= OFFERED_AT_ONCE
    assert turns.most["poll"] <= PULLED_AT_ONCE
    assert turns.most["leave"] <= LEFT_AT_ONCE
    assert turns.most["_frame"] <= FRAMES_AT_ONCE
