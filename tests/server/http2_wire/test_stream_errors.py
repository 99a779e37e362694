"""What costs one stream: it is reset with the code that RFC 9113 names, the connection goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.server.http2_wire.conftest import Open
from tests.support.h2 import frames
from tests.support.h2.calls import assert_serves, open_watch, put, range_message, watch_message
from tests.support.h2.connection import Connection
from tests.support.h2.frames import ErrorCode, FrameType
from tests.support.h2.grpc import KV, WATCH, exchange, request, response_of
from tests.support.h2.servers import Kind

RANGE_PATH = KV + "Range"


class Malformed(NamedTuple):
    """A request that 8.1.1 calls malformed; grpc-go takes some of them."""

    name: str
    section: str
    fields: list[tuple[str, str]]
    grpc_go_agrees: bool = True


MALFORMED = [
    Malformed("upper case name", "8.2.1", request(RANGE_PATH, ("X-Upper", "a"))),
    Malformed("space in a name", "8.2.1", request(RANGE_PATH, ("x a", "a"))),
    Malformed("colon in a name", "8.2.1", request(RANGE_PATH, ("x:a", "a"))),
    Malformed("empty name", "8.2.1", request(RANGE_PATH, ("", "a"))),
    Malformed("NUL in a value", "8.2.1", request(RANGE_PATH, ("x-a", "a\0b"))),
    Malformed("LF in a value", "8.2.1", request(RANGE_PATH, ("x-a", "a\nb"))),
    Malformed("CR in a value", "8.2.1", request(RANGE_PATH, ("x-a", "a\rb"))),
    Malformed("connection", "8.2.2", request(RANGE_PATH, ("connection", "close"))),
    Malformed("keep-alive", "8.2.2", request(RANGE_PATH, ("keep-alive", "5")), False),
    Malformed("proxy-connection", "8.2.2", request(RANGE_PATH, ("proxy-connection", "x")), False),
    Malformed("transfer-encoding", "8.2.2", request(RANGE_PATH, ("transfer-encoding", "x")), False),
    Malformed("upgrade", "8.2.2", request(RANGE_PATH, ("upgrade", "h2c")), False),
    Malformed("te other than trailers", "8.2.2", request(RANGE_PATH, te="gzip"), False),
    Malformed("no method", "8.3.1", request(RANGE_PATH, method=None), False),
    Malformed("no scheme", "8.3.1", request(RANGE_PATH, scheme=None), False),
    Malformed("no path", "8.3.1", request(None), False),
    Malformed("empty path", "8.3.1", request(""), False),
    Malformed("method twice", "8.3.1", request(RANGE_PATH)[:1] + request(RANGE_PATH)),
    Malformed("path twice", "8.3.1", [(":path", RANGE_PATH), *request(RANGE_PATH)]),
    Malformed("unknown pseudo-header", "8.3", [(":what", "a"), *request(RANGE_PATH)]),
    Malformed("status in a request", "8.3", [(":status", "200"), *request(RANGE_PATH)]),
    Malformed("pseudo-header after a field", "8.3", [("x-a", "a"), *request(RANGE_PATH)]),
    Malformed(
        "content-length too small", "8.1.1", request(RANGE_PATH, ("content-length", "1")), False
    ),
    Malformed(
        "content-length too large", "8.1.1", request(RANGE_PATH, ("content-length", "99")), False
    ),
    Malformed(
        "content-length no number", "8.1.1", request(RANGE_PATH, ("content-length", "x")), False
    ),
]


@pytest.mark.parametrize("case", MALFORMED, ids=[case.name for case in MALFORMED])
def test_a_malformed_request_is_reset(
    kind: Kind, target: str, connections: Open, case: Malformed
) -> None:
    """8.1.1: a stream error of type PROTOCOL_ERROR; an answer of 400 before it is allowed."""
    if kind is not Kind.OURS and not case.grpc_go_agrees:
        pytest.skip("grpc-go takes this request")
    connection = connections(target)

    response = exchange(connection, case.fields, range_message())

    assert response.reset == ErrorCode.PROTOCOL_ERROR or response.http_status == 400, response
    assert response.messages == []
    assert_serves(connection)


class Wrong(NamedTuple):
    """Frames on a watch stream that was opened as stream 1."""

    name: str
    section: str
    code: int
    send: Callable[[Connection], bytes]
    grpc_go_agrees: bool = True


WRONG = [
    Wrong(
        "window update of 0", "6.9", ErrorCode.PROTOCOL_ERROR, lambda c: frames.window_update(1, 0)
    ),
    Wrong(
        "priority of 4 bytes",
        "6.3",
        ErrorCode.FRAME_SIZE_ERROR,
        lambda c: frames.frame(FrameType.PRIORITY, 0, 1, bytes(4)),
        False,
    ),
    Wrong(
        "window above 2^31-1",
        "6.9.1",
        ErrorCode.FLOW_CONTROL_ERROR,
        lambda c: frames.window_update(1, 2**31 - 1),
        False,
    ),
    Wrong(
        "trailers without the end of the stream",
        "8.1",
        ErrorCode.PROTOCOL_ERROR,
        lambda c: frames.headers(1, c.encode([("x-trailer", "a")])),
        False,
    ),
    Wrong(
        "pseudo-header in trailers",
        "8.1",
        ErrorCode.PROTOCOL_ERROR,
        lambda c: frames.headers(1, c.encode([(":path", "/")]), end_stream=True),
        False,
    ),
    Wrong(
        "data after the end of the stream",
        "5.1",
        ErrorCode.STREAM_CLOSED,
        lambda c: frames.data(1, b"", end_stream=True) + frames.data(1, b"x"),
    ),
    Wrong(
        "headers after the end of the stream",
        "5.1",
        ErrorCode.STREAM_CLOSED,
        lambda c: (
            frames.data(1, b"", end_stream=True)
            + frames.headers(1, c.encode([("x-trailer", "a")]), end_stream=True)
        ),
        False,
    ),
]


@pytest.mark.parametrize("case", WRONG, ids=[case.name for case in WRONG])
def test_a_wrong_frame_resets_its_stream(
    kind: Kind, target: str, connections: Open, case: Wrong
) -> None:
    """5.4.2: RST_STREAM with the code. The other watch of the connection goes on."""
    if kind is not Kind.OURS and not case.grpc_go_agrees:
        pytest.skip("grpc-go is more lenient, or ends the connection")
    connection = connections(target)
    assert open_watch(connection, b"wrong") == 1
    open_watch(connection, b"other")

    connection.send(case.send(connection))

    assert response_of(connection, 1).reset == case.code
    assert_serves(connection)


def test_data_on_a_stream_that_the_client_reset_is_harmless(target: str, connections: Open) -> None:
    """5.1: it may be answered STREAM_CLOSED; it may not cost the connection of a racing client."""
    connection = connections(target)
    stream_id = open_watch(connection, b"reset")
    connection.send(frames.rst_stream(stream_id) + frames.data(stream_id, watch_message(b"more")))

    assert_serves(connection)
    resets = [each for each in connection.received if each.type == FrameType.RST_STREAM]
    assert all(each.error_code == ErrorCode.STREAM_CLOSED for each in resets)


def test_frames_that_may_come_late_on_a_closed_stream_are_harmless(
    wire: Connection,
) -> None:
    """5.1: WINDOW_UPDATE, RST_STREAM and PRIORITY may follow the end of a stream."""
    stream_id = wire.send_headers(request(RANGE_PATH))
    wire.send_data(stream_id, range_message(), end_stream=True)
    assert response_of(wire, stream_id).status == 0
    wire.send(
        frames.window_update(stream_id, 100)
        + frames.priority(stream_id, 0)
        + frames.rst_stream(stream_id)
        + frames.rst_stream(stream_id, ErrorCode.NO_ERROR)
    )

    assert_serves(wire)
    assert not any(each.type == FrameType.RST_STREAM for each in wire.received)


def test_a_reset_stream_says_no_more(wire: Connection) -> None:
    """6.4: after receiving a RST_STREAM the receiver sends no more on the stream."""
    stream_id = open_watch(wire, b"silence")
    wire.send(frames.rst_stream(stream_id))
    wire.settle()
    before = len(wire.received)
    put(wire, b"silence", b"x")
    assert_serves(wire)

    assert not any(each.stream_id == stream_id for each in wire.received[before:])


@pytest.mark.parametrize("code", [0, 1, 8, 0xFFFF])
def test_a_reset_with_any_code_is_taken(wire: Connection, code: int) -> None:
    stream_id = wire.send_headers(request(WATCH + "Watch"))
    wire.send(frames.rst_stream(stream_id, code))

    assert_serves(wire)
