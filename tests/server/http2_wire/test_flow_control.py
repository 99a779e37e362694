"""Flow control of both sides: RFC 9113, 5.2 and 6.9."""

from __future__ import annotations

import pytest

from kvstore.proto import rpc_pb2
from tests.server.http2_wire.conftest import Open
from tests.support.h2 import frames
from tests.support.h2.calls import assert_serves, put, range_message
from tests.support.h2.connection import Connection
from tests.support.h2.frames import FrameType, Setting
from tests.support.h2.grpc import KV, Response, call, message, request, response_of

RANGE = request(KV + "Range")
INITIAL = 65_535
LARGE = 1_000_000


@pytest.fixture
def stingy(target: str, connections: Open) -> Connection:
    """A connection that opens no window by itself, to a server with `large` of LARGE bytes."""
    with Connection(target) as writer:
        put(writer, b"large", bytes(LARGE))
        put(writer, b"small", b"small")
    return connections(target, open_windows=False)


def ask(connection: Connection, key: bytes = b"large") -> int:
    """Ask for a key; returns the stream."""
    stream_id = connection.send_headers(RANGE)
    connection.send(frames.data(stream_id, range_message(key), end_stream=True))
    return stream_id


def data_on(connection: Connection, *streams: int) -> int:
    """How many bytes of DATA came on these streams."""
    return sum(
        len(each.payload)
        for each in connection.received
        if each.type == FrameType.DATA and each.stream_id in streams
    )


def receive_data(connection: Connection, stream_id: int, size: int) -> None:
    """Read until `size` bytes of DATA have come on the stream, and no more."""
    while data_on(connection, stream_id) < size:
        connection.receive()
    assert data_on(connection, stream_id) == size


def no_more(connection: Connection) -> None:
    """No DATA comes although the server has taken all that was sent."""
    before = sum(each.type == FrameType.DATA for each in connection.received)
    connection.settle()
    connection.settle()
    assert before == sum(each.type == FrameType.DATA for each in connection.received)


def finish(connection: Connection, stream_id: int) -> Response:
    """Open both windows for the rest."""
    connection.send(frames.window_update(0, 2 * LARGE) + frames.window_update(stream_id, 2 * LARGE))
    return response_of(connection, stream_id)


class TestWindowsOfTheClient:
    def test_a_large_answer_stops_at_the_window_and_goes_on(self, stingy: Connection) -> None:
        stream_id = ask(stingy)
        receive_data(stingy, stream_id, INITIAL)
        no_more(stingy)

        response = finish(stingy, stream_id)

        assert response.status == 0
        assert len(rpc_pb2.RangeResponse.FromString(response.messages[0]).kvs[0].value) == LARGE

    def test_the_window_of_the_stream_alone_is_not_enough(self, stingy: Connection) -> None:
        stream_id = ask(stingy)
        receive_data(stingy, stream_id, INITIAL)
        stingy.send(frames.window_update(stream_id, 1000))
        no_more(stingy)
        stingy.send(frames.window_update(0, 10))
        receive_data(stingy, stream_id, INITIAL + 10)
        no_more(stingy)

        assert finish(stingy, stream_id).status == 0

    def test_the_window_of_the_connection_alone_is_not_enough(self, stingy: Connection) -> None:
        stream_id = ask(stingy)
        receive_data(stingy, stream_id, INITIAL)
        stingy.send(frames.window_update(0, 1000))
        no_more(stingy)
        stingy.send(frames.window_update(stream_id, 10))
        receive_data(stingy, stream_id, INITIAL + 10)
        no_more(stingy)

        assert finish(stingy, stream_id).status == 0

    def test_the_streams_share_the_window_of_the_connection(self, stingy: Connection) -> None:
        first, second = ask(stingy), ask(stingy)
        while data_on(stingy, first, second) < INITIAL:
            stingy.receive()
        no_more(stingy)

        assert data_on(stingy, first, second) == INITIAL
        stingy.send(frames.window_update(0, 4 * LARGE))
        stingy.send(frames.window_update(first, 2 * LARGE))
        assert response_of(stingy, first).status == 0
        stingy.send(frames.window_update(second, 2 * LARGE))
        assert response_of(stingy, second).status == 0

    def test_a_stream_that_waits_for_its_window_holds_up_no_other(self, stingy: Connection) -> None:
        stingy.send(frames.window_update(0, 10 * LARGE))
        blocked = ask(stingy)
        receive_data(stingy, blocked, INITIAL)

        for _ in range(20):
            assert response_of(stingy, ask(stingy, b"small")).status == 0

        assert data_on(stingy, blocked) == INITIAL
        assert finish(stingy, blocked).status == 0

    def test_a_stream_without_room_leaves_the_connection_window_to_others(
        self, stingy: Connection
    ) -> None:
        """Many streams wait with a window of 0; what they may not send counts for nothing."""
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 0})
        waiting = [ask(stingy) for _ in range(20)]
        last = ask(stingy, b"small")
        stingy.send(frames.window_update(last, 1000))

        assert response_of(stingy, last).status == 0
        assert data_on(stingy, *waiting) == 0

    def test_a_window_of_one_byte(self, stingy: Connection) -> None:
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 1})
        stream_id = ask(stingy, b"small")
        receive_data(stingy, stream_id, 1)
        no_more(stingy)

        for size in range(2, 30):
            stingy.send(frames.window_update(stream_id, 1))
            receive_data(stingy, stream_id, size)

        response = finish(stingy, stream_id)
        kvs = rpc_pb2.RangeResponse.FromString(response.messages[0]).kvs
        assert [kv.value for kv in kvs] == [b"small"]

    def test_a_window_of_zero_that_settings_open(self, stingy: Connection) -> None:
        """6.9.2: SETTINGS change the windows of open streams too."""
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 0})
        stream_id = ask(stingy)
        no_more(stingy)
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 5})
        receive_data(stingy, stream_id, 5)
        no_more(stingy)
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 1005})
        receive_data(stingy, stream_id, 1005)
        no_more(stingy)

        assert finish(stingy, stream_id).status == 0

    def test_a_window_that_settings_make_negative(self, stingy: Connection) -> None:
        """6.9.2: 1000 were sent of a window of 1000; at 100 it is -900."""
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 1000})
        stream_id = ask(stingy)
        receive_data(stingy, stream_id, 1000)
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 100})
        stingy.send(frames.window_update(stream_id, 900))
        no_more(stingy)
        stingy.send(frames.window_update(stream_id, 1))
        receive_data(stingy, stream_id, 1001)
        no_more(stingy)

        assert finish(stingy, stream_id).status == 0

    def test_a_negative_window_that_settings_open_again(self, stingy: Connection) -> None:
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 1000})
        stream_id = ask(stingy)
        receive_data(stingy, stream_id, 1000)
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 0})
        no_more(stingy)
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 1010})
        receive_data(stingy, stream_id, 1010)
        no_more(stingy)

        assert finish(stingy, stream_id).status == 0

    def test_an_answer_without_data_needs_no_window(self, stingy: Connection) -> None:
        """6.9: only DATA is flow-controlled."""
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 0})

        assert response_of(stingy, ask(stingy, b"")).status == 3

    def test_a_reset_stream_takes_nothing_of_the_connection_window(
        self, stingy: Connection
    ) -> None:
        """What waited on it is forgotten."""
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 1000})
        stream_id = ask(stingy)
        receive_data(stingy, stream_id, 1000)
        stingy.send(frames.rst_stream(stream_id))
        stingy.settle()
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: INITIAL})
        other = ask(stingy)
        receive_data(stingy, other, INITIAL - 1000)
        no_more(stingy)

        assert data_on(stingy, stream_id) == 1000

    def test_the_largest_windows(self, stingy: Connection) -> None:
        """2^31-1 for both is legal."""
        stingy.change_settings({Setting.INITIAL_WINDOW_SIZE: 2**31 - 1})
        stingy.send(frames.window_update(0, 2**31 - 1 - INITIAL))

        assert response_of(stingy, ask(stingy)).status == 0


class TestWindowsOfTheServer:
    def test_one_large_message_is_let_in(self, wire: Connection) -> None:
        put(wire, b"upload", bytes(1_400_000))

    def test_the_connection_window_comes_back(self, wire: Connection) -> None:
        for _ in range(60):
            put(wire, b"upload", bytes(60_000))

    def test_the_connection_window_comes_back_from_refused_streams(self, wire: Connection) -> None:
        """6.9.1: DATA counts whatever becomes of it: unknown methods, calls that were reset."""
        for _ in range(30):
            response = call(wire, "/unknown.Service/M", bytes(60_000))
            assert response.status == 12
        for _ in range(30):
            stream_id = wire.send_headers(RANGE)
            wire.send_data(stream_id, bytes(60_000))
            wire.send(frames.rst_stream(stream_id))

        put(wire, b"upload", bytes(200_000))

    def test_the_connection_window_comes_back_from_a_message_without_end(
        self, wire: Connection
    ) -> None:
        """Ten messages are half there and stay so; the connection serves all the same."""
        half = message(bytes(60_000))[:50_000]
        for _ in range(10):
            wire.send_data(wire.send_headers(request(KV + "Put")), half)

        put(wire, b"upload", bytes(200_000))
        assert_serves(wire)

    def test_many_streams_upload_at_once(self, wire: Connection) -> None:
        body = message(rpc_pb2.PutRequest(key=b"upload", value=bytes(100_000)).SerializeToString())
        ids = [wire.send_headers(request(KV + "Put")) for _ in range(10)]
        for at in range(0, len(body), 10_000):
            for stream_id in ids:
                wire.send_data(stream_id, body[at : at + 10_000])
        for stream_id in ids:
            wire.send_data(stream_id, b"", end_stream=True)

        assert [response_of(wire, stream_id).status for stream_id in ids] == [0] * 10
