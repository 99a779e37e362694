"""The calls of a connection without a socket."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable

import pytest

from kvstore.proto import rpc_pb2
from kvstore.server.method import Call, Kind, Method
from kvstore.server.stats import CallStats
from kvstore.server.transports.http2.connection import Connection, Limits
from kvstore.server.transports.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
)
from kvstore.server.transports.http2.header_block import encode_fields
from kvstore.server.transports.rpc.calls import Calls
from kvstore.server.transports.rpc.framing import frame_message
from kvstore.server.transports.rpc.head import CallHead
from kvstore.server.transports.rpc.service import Service
from kvstore.server.transports.web.http2 import WebHead

PATH = "/pkg.Things/Echo"
REQUEST = encode_fields(
    [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", PATH.encode()),
        (b"content-type", b"application/grpc"),
    ]
)


class Echo:
    """A Session that answers each message with an empty one."""

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self.on_ready = on_ready
        self.answers = 0
        self.is_over = self.is_closed = False

    def receive(self, request: object) -> None:
        self.answers += 1
        self.on_ready()

    def pull(self) -> bytes | None:
        self.answers -= 1
        return b"" if self.answers >= 0 else None

    has_work = is_spent = False
    room = 1

    def end(self) -> None:
        self.is_over = True
        self.on_ready()

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    "end", [frame(DATA, END_STREAM, 1), frame(RST_STREAM, 0, 1, bytes(4))], ids=["ended", "reset"]
)
def test_a_session_is_freed_with_its_stream_and_not_by_the_collector(end: bytes) -> None:
    made: list[weakref.ref[Echo]] = []

    def session(call: Call, on_ready: Callable[[], None]) -> Echo:
        echo = Echo(on_ready)
        made.append(weakref.ref(echo))
        return echo

    message = rpc_pb2.PutRequest
    methods = {PATH: Method(PATH, Kind.BIDI, message, message, Echo, session=session)}
    loop = asyncio.new_event_loop()
    service = Service(
        methods, CallStats(methods), loop, max_message_bytes=1000, min_ping_interval_s=5.0
    )
    calls = Calls(service, "peer", lambda: None)
    connection: Connection[CallHead | WebHead] = Connection(calls, Limits(), 0.0)
    calls.connection = connection
    begin = frame(HEADERS, END_HEADERS, 1, REQUEST) + frame(DATA, 0, 1, frame_message(b""))
    gc.disable()
    try:
        connection.receive(PREFACE + frame(SETTINGS, 0, 0) + begin, 0.0)
        calls.turn()
        (echo,) = made
        assert echo() is not None
        connection.receive(end, 0.0)
        calls.turn()
        assert echo() is None
        assert not connection.streams
    finally:
        gc.enable()
        loop.close()


def test_a_call_that_is_reset_before_it_begins_leaves_no_coroutine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the read that brought it, so that its task has not run yet."""
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)

    async def handler(request: object, call: Call) -> bytes:
        return b""

    message = rpc_pb2.PutRequest
    methods = {PATH: Method(PATH, Kind.UNARY, message, message, handler)}
    loop = asyncio.new_event_loop()
    service = Service(
        methods, CallStats(methods), loop, max_message_bytes=1000, min_ping_interval_s=5.0
    )
    calls = Calls(service, "peer", lambda: None)
    connection: Connection[CallHead | WebHead] = Connection(calls, Limits(), 0.0)
    calls.connection = connection
    whole = frame(HEADERS, END_HEADERS, 1, REQUEST) + frame(DATA, END_STREAM, 1, frame_message(b""))
    reset = frame(RST_STREAM, 0, 1, bytes(4))
    connection.receive(PREFACE + frame(SETTINGS, 0, 0) + whole + reset, 0.0)
    loop.run_until_complete(service.close())
    loop.close()
    gc.collect()
    assert complaints == []
    assert service.stats.methods[PATH].handled[1] == 1
