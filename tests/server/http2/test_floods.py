"""Frames that ask for nothing: one flood of each ends the connection, and use never does."""

from __future__ import annotations

import struct

import hpack
import pytest

from kvstore.server.transports.http2.connection import Connection
from kvstore.server.transports.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
)
from kvstore.server.transports.http2.limits import Limits
from tests.server.http2.test_connection import FIELDS, Head, connect, frames

BLOCK = hpack.Encoder().encode([(name, value, True) for name, value in FIELDS])
ONE = struct.pack(">I", 1)
FLOODS = {
    "empty-data": frame(DATA, 0, 1),
    "late-data": frame(DATA, 0, 3, b"x"),
    "late-headers": frame(HEADERS, END_HEADERS | END_STREAM, 3, BLOCK),
    "priority": frame(PRIORITY, 0, 5, bytes(4) + b"\x10"),
    "rst-stream": frame(RST_STREAM, 0, 3, bytes(4)),
    "settings": frame(SETTINGS, 0, 0),
    "settings-ack": frame(SETTINGS, ACK, 0),
    "ping-ack": frame(PING, ACK, 0, bytes(8)),
    "goaway": frame(GOAWAY, 0, 0, bytes(8)),
    "window-update": frame(WINDOW_UPDATE, 0, 0, ONE),
    "window-update-of-a-stream": frame(WINDOW_UPDATE, 0, 1, ONE),
    "window-update-of-a-closed-stream": frame(WINDOW_UPDATE, 0, 3, ONE),
    "unknown-type": frame(0x42, 0, 0, b"anything"),
    "unknown-type-on-a-stream": frame(0xFA, 0xFF, 1),
}


def opened() -> Connection[Head]:
    """Stream 1 is open, stream 3 was reset by us."""
    connection, _ = connect()
    begun = [frame(HEADERS, END_HEADERS, stream_id, BLOCK) for stream_id in (1, 3)]
    connection.receive(PREFACE + frame(SETTINGS, 0, 0) + b"".join(begun), 0.0)
    connection.reset(connection.streams[3], ErrorCode.CANCEL)
    connection.out.clear()
    return connection


def code_of_end(connection: Connection[Head]) -> int | None:
    for kind, _, _, payload in frames(connection):
        if kind == GOAWAY:
            return int.from_bytes(payload[4:8], "big")
    return None


@pytest.mark.parametrize("one", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_ends_the_connection(one: bytes) -> None:
    connection = opened()
    for at in range(50):
        connection.receive(one * 1000, at * 0.001)

    assert code_of_end(connection) == ErrorCode.ENHANCE_YOUR_CALM


def test_push_promise_ends_the_connection_at_once() -> None:
    connection = opened()
    connection.receive(frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), 0.0)

    assert code_of_end(connection) == ErrorCode.PROTOCOL_ERROR


def test_a_slow_client_may_send_them_for_ever() -> None:
    connection = opened()
    for second in range(200):
        connection.receive(FLOODS["window-update"] * 900, float(second))

    assert not connection.is_closed


def test_who_gives_each_byte_back_by_itself_may_use_the_connection() -> None:
    """Ten window updates for each answer, all at one moment of time."""
    connection = opened()
    update = frame(WINDOW_UPDATE, 0, 0, ONE)
    for stream_id in range(5, 20_005, 2):
        begin = frame(HEADERS, END_HEADERS, stream_id, BLOCK)
        connection.receive(begin + frame(DATA, END_STREAM, stream_id, b"x") + update * 10, 0.0)
        connection.out.clear()

    assert not connection.is_closed


def test_large_answers_may_be_given_back_in_small_pieces() -> None:
    connection, sink = connect()
    window = struct.pack(">HI", 4, 2**31 - 1)
    begin = frame(HEADERS, END_HEADERS, 1, BLOCK)
    connection.receive(PREFACE + frame(SETTINGS, 0, 0, window) + begin, 0.0)
    connection.send_data(connection.streams[1], bytes(64 << 20))
    update = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1024))
    while connection.queued_bytes:
        connection.receive(update * 16, 0.0)
        connection.next_turn()
        connection.out.clear()

    assert not connection.is_closed
    assert sink.told


def test_the_budget_of_use_is_not_saved_up() -> None:
    """After however many requests a flood ends the connection as soon as without them."""
    connection = opened()
    for stream_id in range(5, 20_005, 2):
        begin = frame(HEADERS, END_HEADERS, stream_id, BLOCK)
        connection.receive(begin + frame(DATA, END_STREAM, stream_id, b"x"), 0.0)
    connection.out.clear()
    connection.receive(FLOODS["window-update"] * int(Limits.idle_frames[0] + 1), 0.0)

    assert code_of_end(connection) == ErrorCode.ENHANCE_YOUR_CALM
