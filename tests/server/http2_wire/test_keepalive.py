"""Pings of clients, which are counted, and pings of the server, which must be answered."""

from __future__ import annotations

import time

import pytest

from tests.server.http2_wire.conftest import Open, Serve
from tests.support.h2 import frames
from tests.support.h2.calls import assert_serves, open_watch
from tests.support.h2.connection import Connection
from tests.support.h2.frames import ErrorCode, Flag, FrameType


def ping(connection: Connection) -> None:
    """A ping and its answer. Raises Closed when the server has had enough."""
    connection.send(frames.ping(b"12345678"))
    connection.expect(FrameType.PING, lambda each: each.has(Flag.ACK))


def assert_told_to_calm_down(connection: Connection) -> None:
    connection.send(frames.ping(b"one more"))
    got = connection.read_until_closed()

    goaway = next(each for each in got if each.type == FrameType.GOAWAY)
    assert goaway.error_code == ErrorCode.ENHANCE_YOUR_CALM
    assert goaway.debug_data == b"too_many_pings"


class TestPingsOfTheClient:
    """grpc-go: the first is free, two more than allowed are forgiven, the next one is not."""

    def test_without_a_stream_pings_are_not_permitted(self, wire: Connection) -> None:
        for _ in range(3):
            ping(wire)

        assert_told_to_calm_down(wire)

    def test_with_a_stream_they_may_come_every_five_seconds(self, wire: Connection) -> None:
        open_watch(wire, b"pings")
        for _ in range(3):
            ping(wire)
        ping(wire)  # The answer to the watch has cleared the count.

        assert_told_to_calm_down(wire)

    def test_an_answer_clears_the_count(self, wire: Connection) -> None:
        """As clients ping that measure the path while they receive."""
        for _ in range(10):
            ping(wire)
            ping(wire)
            assert_serves(wire)

    def test_another_connection_is_not_touched(self, wire: Connection, connections: Open) -> None:
        other = connections(wire.target)
        for _ in range(3):
            ping(wire)
        assert_told_to_calm_down(wire)

        assert_serves(other)

    def test_the_minimum_is_a_flag(self, serve: Serve, connections: Open) -> None:
        wire = connections(serve("--grpc-keepalive-min-time=1ms").target)
        open_watch(wire, b"pings")

        for _ in range(20):
            ping(wire)
            until_monotonic_s = time.monotonic() + 0.003  # from its answer: it may have been late
            while time.monotonic() < until_monotonic_s:
                pass

        assert_serves(wire)

    def test_acknowledgements_are_no_pings(self, wire: Connection) -> None:
        for _ in range(20):
            wire.send(frames.ping(b"unasked!", ack=True))

        assert_serves(wire)


@pytest.mark.slow
class TestPingsOfTheServer:
    """--grpc-keepalive-interval and --grpc-keepalive-timeout; 1 s is the least."""

    FLAGS = ("--grpc-keepalive-interval=1s", "--grpc-keepalive-timeout=1s")

    def test_a_client_that_does_not_answer_is_dropped(
        self, serve: Serve, connections: Open
    ) -> None:
        wire = connections(serve(*self.FLAGS).target, acknowledge=False, timeout_s=20)
        open_watch(wire, b"silent")

        got = wire.read_until_closed()

        assert any(each.type == FrameType.PING for each in got)

    def test_a_client_that_answers_stays(self, serve: Serve, connections: Open) -> None:
        wire = connections(serve(*self.FLAGS).target)
        open_watch(wire, b"answers")

        for _ in range(4):
            wire.expect(FrameType.PING, lambda each: not each.has(Flag.ACK))

        assert_serves(wire)

    def test_a_client_without_a_stream_is_pinged_too(self, serve: Serve, connections: Open) -> None:
        wire = connections(serve(*self.FLAGS).target, acknowledge=False, timeout_s=20)

        got = wire.read_until_closed()

        assert any(each.type == FrameType.PING for each in got)
