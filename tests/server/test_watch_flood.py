"""Requests of a watch stream whose answers nobody reads: few are answered, and none is lost."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count

import pytest

from kvstore.backend import open_backend
from kvstore.core.watch.stream import WatchStream
from kvstore.keys import KeyRange
from kvstore.limits import KEEP_ALIVE_ANSWERS, WATCH_QUEUE_ANSWERS
from kvstore.proto import rpc_pb2
from kvstore.server.header import Headers
from kvstore.server.method import Allowance, Call, serialized
from kvstore.server.services import build_methods
from kvstore.server.services.served import Settings
from kvstore.server.stats import CallStats
from kvstore.server.transports.http2.connection import Connection, Limits
from kvstore.server.transports.http2.frames import (
    DATA,
    END_HEADERS,
    HEADERS,
    PREFACE,
    SETTINGS,
    frame,
    window_update,
)
from kvstore.server.transports.http2.header_block import encode_fields
from kvstore.server.transports.rpc.calls import Calls
from kvstore.server.transports.rpc.framing import MessageReader, frame_message
from kvstore.server.transports.rpc.head import CallHead
from kvstore.server.transports.rpc.service import Service
from kvstore.store.aio import LoopStore
from kvstore.types import WatchCreate

WATCH, KEEP_ALIVE = "/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive"
READ_BYTES = 16_000
FLOOD = 40_000


class Peer:
    """A client without a socket, on one stream: it sends what the server's window lets it."""

    def __init__(self, store: LoopStore, path: str) -> None:
        methods = build_methods(store, Headers(1, 2, 3), Settings())
        loop = asyncio.get_running_loop()
        service = Service(
            methods, CallStats(methods), loop, max_message_bytes=1 << 20, min_ping_interval_s=5.0
        )
        self.calls = Calls(service, "peer", lambda: None)
        self.limits = Limits()
        self.connection: Connection[CallHead] = Connection(self.calls, self.limits, 0.0)
        self.calls.connection = self.connection
        self.answers: list[bytes] = []
        self.unsent = b""
        self._window = self.limits.stream_window_bytes
        self._reader = MessageReader(1 << 20, is_gzip=False)
        fields = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b"content-type", b"application/grpc"),
        ]
        head = frame(HEADERS, END_HEADERS, 1, encode_fields(fields))
        self.connection.receive(PREFACE + frame(SETTINGS, 0, 0) + head, 0.0)

    def turn(self) -> None:
        """One read of the server, and one turn of its streams."""
        size = min(len(self.unsent), self._window, READ_BYTES)
        if size:
            self._window -= size
            data, self.unsent = self.unsent[:size], self.unsent[size:]
            self.connection.receive(frame(DATA, 0, 1, data), 0.0)
        self.calls.turn()
        self._take(b"".join(self.connection.out))
        self.connection.out.clear()
        self.connection.next_turn()
        self.connection.resume()

    def _take(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            size, kind = int.from_bytes(data[at : at + 3]), data[at + 3]
            stream_id, body = int.from_bytes(data[at + 5 : at + 9]), data[at + 9 : at + 9 + size]
            at += 9 + size
            if kind == DATA:
                self._reader.feed(body)
                while (taken := self._reader.take()) is not None:
                    self.answers.append(self._reader.plain(*taken))
            elif kind == 8 and stream_id:
                self._window += int.from_bytes(body)

    def read(self) -> None:
        """Let the server send as much as it likes."""
        update = window_update(0, 2**30) + window_update(1, 2**30)
        self.connection.receive(update, 0.0)


def run(test: Callable[[LoopStore], Awaitable[None]]) -> None:
    async def body() -> None:
        store = await LoopStore.open(open_backend(":memory:"))
        try:
            async with asyncio.timeout(60):
                await test(store)
        finally:
            await store.close()

    asyncio.run(body())


def creates() -> Iterator[rpc_pb2.WatchRequest]:
    for number in range(FLOOD):
        create = rpc_pb2.WatchCreateRequest(key=b"k%d" % number)
        yield rpc_pb2.WatchRequest(create_request=create)


def creates_and_cancels() -> Iterator[rpc_pb2.WatchRequest]:
    for number in range(FLOOD // 2):
        create = rpc_pb2.WatchCreateRequest(key=b"k")
        cancel = rpc_pb2.WatchCancelRequest(watch_id=number)
        yield rpc_pb2.WatchRequest(create_request=create)
        yield rpc_pb2.WatchRequest(cancel_request=cancel)


def refused() -> Iterator[rpc_pb2.WatchRequest]:
    for _ in range(FLOOD):
        create = rpc_pb2.WatchCreateRequest(key=b"k", range_end=b"a")
        yield rpc_pb2.WatchRequest(create_request=create)


def wire(requests: Iterator[rpc_pb2.WatchRequest]) -> bytes:
    return b"".join(frame_message(request.SerializeToString()) for request in requests)


@pytest.mark.slow
@pytest.mark.parametrize("requests", [creates, creates_and_cancels, refused])
def test_watch_requests_wait_for_their_answers_to_be_read(
    requests: Callable[[], Iterator[rpc_pb2.WatchRequest]],
) -> None:
    async def test(store: LoopStore) -> None:
        peer = Peer(store, WATCH)
        peer.unsent = wire(requests())
        core: WatchStream
        (core,) = store._engine.hub.streams
        for _ in range(2000):
            handled = core._queued
            peer.turn()
            assert core._queued - handled <= 64
            assert len(core._queue) <= WATCH_QUEUE_ANSWERS
        assert len(peer.answers) + WATCH_QUEUE_ANSWERS + 64 >= core._queued
        assert peer.unsent
        assert core._queued < FLOOD // 2

        peer.read()
        while len(peer.answers) < FLOOD:
            peer.turn()
        answers = [rpc_pb2.WatchResponse.FromString(answer) for answer in peer.answers]
        asked = list(requests())
        of_creates = (each for each in answers if each.created)
        of_cancels = (each for each in answers if not each.created)
        ids = count() if requests is not refused else iter(lambda: -1, None)
        for request in asked:
            if request.HasField("create_request"):
                assert next(of_creates).watch_id == next(ids)
            else:
                assert next(of_cancels).watch_id == request.cancel_request.watch_id

    run(test)


def test_keep_alives_wait_for_their_answers_to_be_read() -> None:
    async def test(store: LoopStore) -> None:
        lease = await store.lease_grant(60)
        peer = Peer(store, KEEP_ALIVE)
        request = rpc_pb2.LeaseKeepAliveRequest(ID=lease.id)
        peer.unsent = frame_message(request.SerializeToString()) * FLOOD
        for _ in range(2000):
            peer.turn()
        assert peer.unsent
        assert len(peer.answers) + KEEP_ALIVE_ANSWERS < FLOOD // 2
        peer.read()
        while len(peer.answers) < FLOOD:
            peer.turn()
        assert {rpc_pb2.LeaseKeepAliveResponse.FromString(one).ID for one in peer.answers} == {
            lease.id
        }

    run(test)


class TestWhatWatchersTake:
    KEY = b"k" * 10_000

    def create(self, number: int) -> rpc_pb2.WatchRequest:
        create = rpc_pb2.WatchCreateRequest(
            key=self.KEY + b"%d" % number, range_end=self.KEY + b"z"
        )
        return rpc_pb2.WatchRequest(create_request=create)

    def ask(self, peer: Peer, *requests: rpc_pb2.WatchRequest) -> list[rpc_pb2.WatchResponse]:
        """The answers to these, one each."""
        before = len(peer.answers)
        peer.unsent = wire(iter(requests))
        for _ in range(200):
            peer.turn()
        assert len(peer.answers) == before + len(requests)
        return [rpc_pb2.WatchResponse.FromString(answer) for answer in peer.answers[before:]]

    def test_a_connection_has_so_many_and_others_are_not_concerned(self) -> None:
        async def test(store: LoopStore) -> None:
            peer, other = Peer(store, WATCH), Peer(store, WATCH)
            peer.calls.watchers = Allowance(10 * 22_000)
            peer.read()
            other.read()
            answers = self.ask(peer, *map(self.create, range(30)))
            assert [each.watch_id for each in answers] == [*range(10), *[-1] * 20]
            for each in answers[10:]:
                assert each.created
                assert each.canceled
                assert each.cancel_reason == "etcdserver: too many requests"
            assert not any(each.canceled for each in self.ask(other, *map(self.create, range(30))))

            cancel = rpc_pb2.WatchCancelRequest(watch_id=3)
            (canceled, *answers) = self.ask(
                peer, rpc_pb2.WatchRequest(cancel_request=cancel), self.create(1), self.create(2)
            )
            assert canceled.canceled
            assert [each.canceled for each in answers] == [False, True]
            peer.connection.abandon()
            assert peer.calls.watchers.bytes == 0

        run(test)

    def test_a_stream_of_another_transport_has_as_many(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("kvstore.server.services.watch.WATCHERS_BYTES", 2 * 22_000)

        async def test(store: LoopStore) -> None:
            async def requests() -> AsyncIterator[rpc_pb2.WatchRequest]:
                for number in range(3):
                    yield self.create(number)
                await asyncio.Event().wait()

            method = build_methods(store, Headers(1, 2, 3), Settings())[WATCH]
            responses = method.handler(requests(), Call())
            answers = [
                rpc_pb2.WatchResponse.FromString(serialized(await anext(responses)))
                for _ in range(3)
            ]
            assert [each.canceled for each in answers] == [False, False, True]
            await responses.aclose()

        run(test)

    @pytest.mark.parametrize("range_end", [b"", b"z"])
    def test_no_more_is_taken_than_is_counted(self, range_end: bytes) -> None:
        async def test(store: LoopStore) -> None:
            counted = Allowance(1 << 40)
            stream = store.watch_session(lambda: None, counted.hold)
            tracemalloc.start()
            try:
                for number in range(2000):
                    stream.create(WatchCreate(KeyRange(b"k%d" % number, range_end)))
                    stream.poll()
                taken, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert taken < counted.bytes

        run(test)
