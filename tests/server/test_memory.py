"""All that one connection may have the server keep, added up, on one connection and on a thousand.

The bounds are made small, so that all can be filled; the memory is what Python has allocated.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from kvstore.limits import WATCHERS_BYTES
from kvstore.proto import rpc_pb2
from kvstore.server.method import Kind, Method
from kvstore.server.transports.http2 import header_block
from kvstore.server.transports.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    HEADERS,
    SETTINGS,
    frame,
)
from kvstore.server.transports.http2.header_block import encode_fields
from kvstore.server.transports.http2.limits import Limits
from kvstore.server.transports.rpc import backlog, calls, receive_buffer
from kvstore.server.transports.rpc.framing import frame_message
from tests.server.test_calls import PATH, REQUEST, Bench

pytestmark = pytest.mark.slow

KIB = 1024
HPACK_BYTES = 32 * KIB
"""4096 bytes of entries as RFC 7541 counts them, in Python's objects."""
LATE_BYTES = 128
"""An id of a stream that we reset."""
CONNECTION_BYTES = 16 * KIB
"""The objects that each connection has."""
ANSWER_BYTES = 4 * KIB


class Bounds(NamedTuple):
    """In the order of the table in docs/internals/transport.md."""

    remembered: int = header_block.REMEMBERED_BYTES
    queued: int = backlog.FULL_BYTES
    waiting: int = backlog.WAITING_BYTES
    receive_buffer: int = receive_buffer.MOST_BYTES
    watchers: int = WATCHERS_BYTES
    open: int = Limits.open_bytes
    block: int = Limits.max_header_list_bytes
    late_streams: int = Limits.late_streams

    @property
    def total(self) -> int:
        """With the objects of the connection, HPACK's table, one answer, a frame that is cut."""
        return (
            self.remembered
            + self.queued
            + self.waiting
            + self.receive_buffer
            + self.watchers
            + self.open
            + self.block
            + LATE_BYTES * self.late_streams
            + HPACK_BYTES
            + CONNECTION_BYTES
            + ANSWER_BYTES
            + 16 * KIB
        )


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> Callable[[Bounds], None]:
    def bound(bounds: Bounds) -> None:
        monkeypatch.setattr(header_block, "REMEMBERED_BYTES", bounds.remembered)
        monkeypatch.setattr(header_block, "_LARGEST_REMEMBERED_BYTES", bounds.remembered // 8)
        for module in (backlog, calls):
            monkeypatch.setattr(module, "QUEUE_BYTES", bounds.queued // 2)
        monkeypatch.setattr(backlog, "FULL_BYTES", bounds.queued)
        monkeypatch.setattr(backlog, "LARGE_ANSWER_BYTES", ANSWER_BYTES // 2)
        monkeypatch.setattr(backlog, "WAITING_BYTES", bounds.waiting)
        monkeypatch.setattr(receive_buffer, "MUCH_BYTES", bounds.receive_buffer // 4)
        monkeypatch.setattr(receive_buffer, "MOST_BYTES", bounds.receive_buffer)
        monkeypatch.setattr(Limits, "open_bytes", bounds.open)
        monkeypatch.setattr(Limits, "max_header_list_bytes", bounds.block)
        monkeypatch.setattr(Limits, "late_streams", bounds.late_streams)

    return bound


def connect(loop: asyncio.AbstractEventLoop) -> Bench:
    message = rpc_pb2.PutRequest
    method = Method(PATH, Kind.UNARY, message, message, lambda *_: bytes(ANSWER_BYTES))
    return Bench(method, loop=loop)


def step(one: Bench, data: bytes) -> None:
    """As the socket does it: what is sent is gone, and a turn follows."""
    one.connection.receive(data, 0.0)
    one.connection.out.clear()
    one.calls.turn()
    one.connection.next_turn()
    one.connection.out.clear()


def fill(one: Bench, bounds: Bounds) -> None:
    """All of it at once, as an attacker who knows the bounds would."""
    connection = one.connection
    request = frame_message(b"\x12\x80\x04" + bytes(512))
    table = b"".join(b"\x40\x02%c%c\x00" % (97 + at % 26, 97 + at // 26) for at in range(120))
    at = 1
    step(one, frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"))  # windows of 0
    step(one, frame(HEADERS, END_HEADERS, at, REQUEST + table))

    def ask(body: bytes, flags: int) -> None:
        nonlocal at
        at += 2
        fields = encode_fields([(b"x-%d" % at, b"v" * 100)])[1:]
        head = frame(HEADERS, END_HEADERS, at, REQUEST + fields)
        assert not connection.is_closed
        step(one, head + frame(DATA, flags, at, body))

    size = 0
    while size < bounds.receive_buffer - 2 * KIB:  # halves of messages
        ask(frame_message(bytes(100 * KIB))[:1000], 0)
        size += 1000
    while connection.queued_bytes < bounds.queued:  # answers that the windows hold back
        ask(request, 1)
    while not connection._late:  # calls that wait, until one is refused
        ask(request, 1)
    for _ in range(bounds.late_streams):
        ask(request, 1)
    at += 2
    step(one, frame(HEADERS, 0, at, REQUEST))
    for _ in range(bounds.block // 1000 - 1):
        step(one, frame(CONTINUATION, 0, at, bytes(1000)))
    step(one, frame(CONTINUATION, 0, at, bytes(16_000))[:8000])
    assert not connection.is_closed


def kept_bytes(count: int, bounds: Bounds) -> int:
    """What so many connections, filled to their bounds, have allocated."""
    loop = asyncio.new_event_loop()
    warm = connect(loop)
    fill(warm, bounds)
    gc.collect()
    tracemalloc.start()
    try:
        filled = []
        for _ in range(count):
            filled.append(connect(loop))
            fill(filled[-1], bounds)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for one in (warm, *filled):
        one.close()
    loop.close()
    return kept


def test_one_connection(bounded: Callable[[Bounds], None]) -> None:
    bounds = Bounds(
        remembered=64 * KIB,
        queued=1024 * KIB,
        waiting=256 * KIB,
        receive_buffer=512 * KIB,
        watchers=0,  # tests/server/test_watch_flood.py fills that
        open=4096 * KIB,
        block=64 * KIB,
        late_streams=256,
    )
    bounded(bounds)

    kept = kept_bytes(1, bounds)

    assert bounds.total // 4 < kept < bounds.total


def test_a_thousand_connections(bounded: Callable[[Bounds], None]) -> None:
    bounds = Bounds(
        remembered=8 * KIB,
        queued=16 * KIB,
        waiting=2 * KIB,
        receive_buffer=4 * KIB,
        watchers=0,
        open=256 * KIB,
        block=8 * KIB,
        late_streams=2,
    )
    bounded(bounds)

    kept = kept_bytes(1000, bounds)

    assert kept < 1000 * bounds.total


def test_the_sum_is_told() -> None:
    """docs/internals/transport.md names each bound and what they are together."""
    text = Path(__file__).parents[2].joinpath("docs/internals/transport.md").read_text()

    assert f"{Bounds().total / 2**20:.0f} MiB" in text
