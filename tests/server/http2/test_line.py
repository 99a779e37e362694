"""Who is next: what is short waits for one turn of what is long, and the other way round."""

from __future__ import annotations

from kvstore.server.transports.http2.line import TURN_OF_STREAM_BYTES, Line
from kvstore.server.transports.http2.stream import Stream


def stream(stream_id: int, queued_bytes: int) -> Stream:
    one = Stream(stream_id, 1, 1)
    one.queued_bytes = queued_bytes
    return one


def order(line: Line) -> list[int]:
    ids = []
    while line:
        ids.append(line.next().id)
    return ids


def test_short_and_long_have_every_second_turn() -> None:
    line = Line()
    for at in range(3):
        line.join(stream(at, 10 * TURN_OF_STREAM_BYTES))
    for at in range(10, 15):
        line.join(stream(at, 100))

    assert order(line) == [10, 0, 11, 1, 12, 2, 13, 14]


def test_a_stream_stands_once_and_is_long_when_it_has_become_so() -> None:
    line = Line()
    one = stream(1, 10)
    line.join(one)
    one.queued_bytes = 2 * TURN_OF_STREAM_BYTES
    line.join(one)
    one.queued_bytes = 10
    line.join(one)
    line.join(stream(3, 10))

    assert order(line) == [3, 1]


def test_who_leaves_is_not_served() -> None:
    line = Line()
    short, long = stream(1, 1), stream(3, 2 * TURN_OF_STREAM_BYTES)
    line.join(short)
    line.join(long)
    line.leave(short)
    line.leave(long)

    assert not line
