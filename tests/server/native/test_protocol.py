"""A connection of HTTP/2 on a transport that is told how much it takes."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

import pytest

from kvstore.proto import rpc_pb2
from kvstore.server.method import Kind, Method
from kvstore.server.stats import CallStats
from kvstore.server.transports.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from kvstore.server.transports.http2.header_block import encode_fields
from kvstore.server.transports.http2.limits import Limits
from kvstore.server.transports.native.protocol import (
    AHEAD_BYTES,
    FRAMES_AT_ONCE,
    Http2Protocol,
    Pings,
    Turns,
)
from kvstore.server.transports.rpc.backlog import FULL_BYTES
from kvstore.server.transports.rpc.calls import TURN_WORK
from kvstore.server.transports.rpc.framing import frame_message
from kvstore.server.transports.rpc.service import Service

PATH = "/pkg.Things/Read"
MIB = 1 << 20
MOST = (2**31 - 1).to_bytes(4, "big")


HEAD = encode_fields(
    [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", PATH.encode()),
        (b"content-type", b"application/grpc"),
    ]
)


class Wide(asyncio.Transport):
    """Takes all at once, as a kernel does whose client reads fast."""

    def __init__(self) -> None:
        super().__init__()
        self.taken_bytes = self.unsent_bytes = 0
        self.is_reading = True

    def write(self, data: Any) -> None:
        self.taken_bytes += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def abort(self) -> None:
        pass


def test_calls_that_wait_for_room_go_on_though_the_client_says_nothing_more() -> None:
    """His windows are as large as can be, so that he has no reason to."""
    message = rpc_pb2.PutRequest
    method = Method(PATH, Kind.UNARY, message, message, lambda *_: bytes(MIB), is_read=True)
    count = 2 * FULL_BYTES // MIB
    loop = asyncio.new_event_loop()

    async def talk() -> None:
        service = Service(
            {PATH: method},
            CallStats({PATH: method}),
            loop,
            max_message_bytes=MIB,
            min_ping_interval_s=5.0,
        )
        gone: list[Http2Protocol] = []
        protocol = Http2Protocol(service, Turns(loop), Limits(), Pings(0, 0), gone.append)
        transport = Wide()
        protocol.connection_made(transport)
        windows = frame(SETTINGS, 0, 0, b"\0\4" + MOST)
        windows += frame(WINDOW_UPDATE, 0, 0, (2**31 - 1 - 65_535).to_bytes(4, "big"))
        protocol.data_received(PREFACE + windows)
        requests = [
            frame(HEADERS, END_HEADERS, stream_id, HEAD)
            + frame(DATA, END_STREAM, stream_id, frame_message(b""))
            for stream_id in range(1, 2 * count, 2)
        ]
        protocol.data_received(b"".join(requests))
        transport.unsent_bytes = AHEAD_BYTES + 1  # for a while he does not read
        protocol.pause_writing()
        for _ in range(10 * count):
            await asyncio.sleep(0)
        assert service.stats.methods[PATH].handled[0] < count
        transport.unsent_bytes = 0
        protocol.resume_writing()
        for _ in range(10 * count):
            await asyncio.sleep(0)
        assert transport.taken_bytes > count * MIB
        assert service.stats.methods[PATH].handled[0] == count
        protocol.connection_lost(None)
        assert gone == [protocol]
        await service.close()

    try:
        loop.run_until_complete(talk())
    finally:
        loop.close()


class Read:
    """A connection that has just read this many calls, each answered at once."""

    def __init__(self, calls: int) -> None:
        message, loop = rpc_pb2.PutRequest, asyncio.get_running_loop()
        method = Method(PATH, Kind.UNARY, message, message, lambda *_: b"", is_read=True)
        self.stats, self.transport = CallStats({PATH: method}), Wide()
        self.service = Service(
            {PATH: method}, self.stats, loop, max_message_bytes=MIB, min_ping_interval_s=5.0
        )
        self.protocol = Http2Protocol(
            self.service, Turns(loop), Limits(), Pings(0, 0), lambda _: None
        )
        self.protocol.connection_made(self.transport)
        requests = [
            frame(HEADERS, END_HEADERS, stream_id, HEAD)
            + frame(DATA, END_STREAM, stream_id, frame_message(b""))
            for stream_id in range(1, 2 * calls, 2)
        ]
        self.protocol.data_received(PREFACE + frame(SETTINGS, 0, 0))
        self.protocol.data_received(b"".join(requests))

    @property
    def served(self) -> int:
        return self.stats.methods[PATH].handled[0]


def test_a_read_of_many_calls_is_served_in_turns_and_no_more_is_read_until_it_was() -> None:
    async def talk() -> list[int]:
        read = Read(calls=5 * FRAMES_AT_ONCE)
        served = [read.served]
        while not read.transport.is_reading:
            await asyncio.sleep(0)
            served.append(read.served)
        read.protocol.connection_lost(None)
        await read.service.close()
        return served

    half = FRAMES_AT_ONCE // 2  # a call has two frames
    assert asyncio.run(talk()) == list(range(half, 5 * FRAMES_AT_ONCE + 1, half))


def test_what_was_read_and_had_no_turn_is_dropped_with_the_connection() -> None:
    async def talk() -> list[int]:
        read = Read(calls=5 * FRAMES_AT_ONCE)
        read.protocol.connection_lost(None)
        for _ in range(20):
            await asyncio.sleep(0)
        await read.service.close()
        return [read.served]

    assert asyncio.run(talk()) == [FRAMES_AT_ONCE // 2]


class Woken:
    """In place of a connection: counts its turns."""

    def __init__(self, work: int = 0) -> None:
        self.turns, self._work = 0, work

    def turn(self) -> int:
        self.turns += 1
        return self._work


def wake(turns: Turns, *woken: Woken) -> None:
    for each in woken:
        turns.wake(cast("Http2Protocol", each))


class TestTogether:
    def test_who_is_woken_has_a_turn_at_once(self) -> None:
        async def talk() -> None:
            turns, woken = Turns(asyncio.get_running_loop()), [Woken() for _ in range(3)]
            turns.together(partial(wake, turns, *woken))
            assert [each.turns for each in woken] == [1, 1, 1]

        asyncio.run(talk())

    def test_no_more_than_one_turn_of_all_of_them(self) -> None:
        async def talk() -> None:
            turns = Turns(asyncio.get_running_loop())
            woken = [Woken(TURN_WORK // 2) for _ in range(4)]
            turns.together(partial(wake, turns, *woken))
            assert [each.turns for each in woken] == [1, 1, 0, 0]
            await asyncio.sleep(0)
            assert [each.turns for each in woken] == [1, 1, 1, 1]

        asyncio.run(talk())

    def test_those_woken_before_have_theirs_in_the_next_round(self) -> None:
        async def talk() -> None:
            turns, before, woken = Turns(asyncio.get_running_loop()), Woken(), Woken()
            wake(turns, before)
            turns.together(partial(wake, turns, woken))
            assert (before.turns, woken.turns) == (0, 0)
            await asyncio.sleep(0)
            assert (before.turns, woken.turns) == (1, 1)

        asyncio.run(talk())

    def test_an_error_keeps_nobody_from_his_turn(self) -> None:
        async def talk() -> None:
            turns, woken = Turns(asyncio.get_running_loop()), Woken()

            def work() -> None:
                wake(turns, woken)
                raise LookupError

            with pytest.raises(LookupError):
                turns.together(work)
            assert woken.turns == 1
            wake(turns, woken)
            await asyncio.sleep(0)
            assert woken.turns == 2

        asyncio.run(talk())
