"""The end of a server: SIGTERM drains its connections, RFC 9113, 6.8, and it exits with 0."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from tests.server.http2_wire.conftest import Open, Serve
from tests.support.h2 import frames
from tests.support.h2.calls import open_watch, put, range_message
from tests.support.h2.connection import Closed, Connection, connect
from tests.support.h2.frames import ErrorCode, Frame, FrameType, Setting
from tests.support.h2.grpc import KV, request, response_of
from tests.support.h2.servers import Kind

RANGE = request(KV + "Range")


def final_goaway(connection: Connection) -> Frame:
    """The GOAWAY that names the last stream; a first one may only warn, naming all of them."""
    return connection.expect(FrameType.GOAWAY, lambda each: each.last_stream_id < 2**31 - 1)


def greet(target: str) -> None:
    """Connect and wait for a byte. Raises ConnectionError when the connection is not taken.

    One that the kernel took before the listener closed is closed without a byte.
    """
    with connect(target) as late:
        late.sendall(frames.PREFACE + frames.settings())
        if not late.recv(1):
            raise ConnectionResetError


def pending_range(connection: Connection) -> int:
    """A call whose answer cannot leave yet: it has no window; returns its stream."""
    put(connection, b"drain", bytes(300_000))
    connection.change_settings({Setting.INITIAL_WINDOW_SIZE: 0})
    stream_id = connection.send_headers(RANGE)
    connection.send_data(stream_id, range_message(b"drain"), end_stream=True)
    connection.expect(FrameType.HEADERS, stream_id=stream_id)
    return stream_id


def open_window(connection: Connection, stream_id: int) -> None:
    connection.send(frames.window_update(0, 10**6) + frames.window_update(stream_id, 10**6))


def test_an_idle_connection_is_told_and_closed(serve: Serve, connections: Open) -> None:
    server = serve()
    wire = connections(server.target, timeout_s=20)
    put(wire, b"a", b"b")
    os.kill(server.pid, signal.SIGTERM)

    goaway = final_goaway(wire)

    assert goaway.error_code == ErrorCode.NO_ERROR
    assert goaway.last_stream_id == 1
    with contextlib.suppress(Closed):
        wire.read_until_closed()
    assert server.wait() == 0


def test_a_call_in_flight_finishes(serve: Serve, connections: Open) -> None:
    server = serve()
    wire = connections(server.target, timeout_s=20)
    stream_id = pending_range(wire)
    os.kill(server.pid, signal.SIGTERM)
    goaway = final_goaway(wire)
    open_window(wire, stream_id)

    response = response_of(wire, stream_id)

    assert goaway.last_stream_id >= stream_id
    assert (response.status, len(response.messages)) == (0, 1)
    wire.read_until_closed()
    assert server.wait() == 0


def test_a_new_stream_is_not_taken_while_another_finishes(serve: Serve, connections: Open) -> None:
    """6.8: streams above the last one are not processed; the client may repeat them elsewhere."""
    server = serve()
    wire = connections(server.target, timeout_s=20)
    stream_id = pending_range(wire)
    os.kill(server.pid, signal.SIGTERM)
    goaway = final_goaway(wire)
    late = wire.send_headers(RANGE)
    wire.send_data(late, range_message(b"drain"), end_stream=True)
    open_window(wire, stream_id)

    assert goaway.last_stream_id < late
    assert response_of(wire, stream_id).status == 0
    assert late not in wire.fields
    wire.read_until_closed()
    assert server.wait() == 0
    assert late not in wire.fields


def test_no_new_connection_is_taken(serve: Serve, connections: Open) -> None:
    server = serve()
    wire = connections(server.target, timeout_s=20)
    stream_id = pending_range(wire)
    os.kill(server.pid, signal.SIGTERM)
    final_goaway(wire)

    with pytest.raises(ConnectionError):
        greet(server.target)
    open_window(wire, stream_id)
    assert response_of(wire, stream_id).status == 0
    assert server.wait() == 0


def test_watches_end_and_do_not_hold_up_the_exit(serve: Serve, connections: Open) -> None:
    """A watch never ends by itself: its client hears of the end, or at least of the close."""
    server = serve()
    watching = [connections(server.target, timeout_s=20) for _ in range(5)]
    ids = [open_watch(each, b"drain") for each in watching]
    os.kill(server.pid, signal.SIGTERM)

    for each, stream_id in zip(watching, ids, strict=True):
        response = response_of(each, stream_id)
        assert response.status in (None, 0, 14), response
    assert server.wait() == 0


def test_half_open_connections_do_not_hold_up_the_exit(kind: Kind, serve: Serve) -> None:
    """Some have sent nothing, some a part of the preface, some a part of a header block."""
    if kind is not Kind.OURS:
        pytest.skip("etcd waits for them, two minutes at least")
    server = serve()
    begun = frames.PREFACE + frames.settings() + frames.headers(1, b"", end_headers=False)
    with contextlib.ExitStack() as sockets:
        for start in (b"", frames.PREFACE[:10], begun):
            sockets.enter_context(connect(server.target)).sendall(start)
        os.kill(server.pid, signal.SIGTERM)

        assert server.wait() == 0
