"""Streams and the messages on them: their pieces, their order, their ends, their number."""

from __future__ import annotations

from kvstore.proto import rpc_pb2
from tests.server.http2_wire.conftest import Open, Serve
from tests.support.h2 import frames
from tests.support.h2.calls import (
    assert_serves,
    grant,
    keep_alive_message,
    open_watch,
    put,
    range_message,
    watch_message,
)
from tests.support.h2.connection import Connection
from tests.support.h2.frames import ErrorCode, FrameType, Setting
from tests.support.h2.grpc import KV, LEASE, WATCH, Response, message, request, response_of

RANGE = request(KV + "Range")


def watched(connection: Connection, stream_id: int) -> list[rpc_pb2.WatchResponse]:
    """The messages of a watch so far."""
    body = b"".join(
        each.payload
        for each in connection.received
        if each.type == FrameType.DATA and each.stream_id == stream_id
    )
    messages = Response(stream_id, body=body).messages
    return [rpc_pb2.WatchResponse.FromString(each) for each in messages]


def wait_for_event(connection: Connection, stream_id: int, value: bytes) -> None:
    """Read until the watch tells of a put of `value`."""
    while not any(
        event.kv.value == value
        for response in watched(connection, stream_id)
        for event in response.events
    ):
        connection.receive()


class TestMessagesAndFrames:
    """A message has nothing to do with the frames it comes in."""

    def test_one_byte_in_each_frame(self, wire: Connection) -> None:
        stream_id = wire.send_headers(RANGE)
        for byte in range_message():
            wire.send(frames.data(stream_id, bytes([byte])))
        wire.send(frames.data(stream_id, b"", end_stream=True))

        assert response_of(wire, stream_id).status == 0

    def test_empty_frames_between(self, wire: Connection) -> None:
        stream_id = wire.send_headers(RANGE)
        body = range_message()
        for part in (b"", body[:3], b"", body[3:7], b"", b"", body[7:]):
            wire.send(frames.data(stream_id, part))
        wire.send(frames.data(stream_id, b"", end_stream=True))

        assert response_of(wire, stream_id).status == 0

    def test_many_messages_in_one_frame(self, wire: Connection) -> None:
        lease = grant(wire)
        stream_id = wire.send_headers(request(LEASE + "LeaseKeepAlive"))
        wire.send(frames.data(stream_id, keep_alive_message(lease) * 500, end_stream=True))

        response = response_of(wire, stream_id)

        answers = [rpc_pb2.LeaseKeepAliveResponse.FromString(each) for each in response.messages]
        assert response.status == 0
        assert [each.ID for each in answers] == [lease] * 500

    def test_messages_across_frames_are_answered_in_their_order(self, wire: Connection) -> None:
        """Unknown leases are answered with their number, so that the order shows."""
        body = b"".join(keep_alive_message(lease) for lease in range(1000, 1300))
        stream_id = wire.send_headers(request(LEASE + "LeaseKeepAlive"))
        for at in range(0, len(body), 13):
            wire.send_data(stream_id, body[at : at + 13])
        wire.send_data(stream_id, b"", end_stream=True)

        response = response_of(wire, stream_id)

        answers = [rpc_pb2.LeaseKeepAliveResponse.FromString(each) for each in response.messages]
        assert [each.ID for each in answers] == list(range(1000, 1300))

    def test_a_message_of_no_bytes(self, wire: Connection) -> None:
        stream_id = wire.send_headers(request("/etcdserverpb.Cluster/MemberList"))
        wire.send(frames.data(stream_id, message(b""), end_stream=True))

        response = response_of(wire, stream_id)

        assert response.status == 0
        assert len(rpc_pb2.MemberListResponse.FromString(response.messages[0]).members) == 1

    def test_a_message_is_answered_before_the_stream_of_a_stream_method_ends(
        self, wire: Connection
    ) -> None:
        stream_id = wire.send_headers(request(LEASE + "LeaseKeepAlive"))
        for lease in range(1, 20):
            wire.send(frames.data(stream_id, keep_alive_message(lease)))
            wire.expect(FrameType.DATA, stream_id=stream_id)
        wire.send(frames.data(stream_id, b"", end_stream=True))

        response = response_of(wire, stream_id)
        assert (response.status, len(response.messages)) == (0, 19)


class TestInterleaving:
    def test_calls_that_come_piece_by_piece_in_turns(self, wire: Connection) -> None:
        bodies = {wire.send_headers(RANGE): range_message(b"key-%d" % at) for at in range(20)}
        for at in range(max(map(len, bodies.values()))):
            for stream_id, body in bodies.items():
                wire.send(frames.data(stream_id, body[at : at + 1]))
        for stream_id in reversed(bodies):
            wire.send(frames.data(stream_id, b"", end_stream=True))

        assert [response_of(wire, stream_id).status for stream_id in bodies] == [0] * 20

    def test_a_slow_call_does_not_hold_up_the_next(self, wire: Connection) -> None:
        slow = wire.send_headers(RANGE)
        wire.send(frames.data(slow, range_message()[:4]))
        for _ in range(10):
            assert_serves(wire)
        wire.send(frames.data(slow, range_message()[4:], end_stream=True))

        assert response_of(wire, slow).status == 0

    def test_a_thousand_watches_on_one_connection(self, wire: Connection) -> None:
        """etcd sets no limit by default."""
        ids = []
        for _ in range(1000):
            ids.append(wire.send_headers(request(WATCH + "Watch")))
            wire.send_data(ids[-1], watch_message(b"thousand"))
        assert told(wire, ids) == set(ids)
        with Connection(wire.target) as writer:
            put(writer, b"thousand", b"x")

        assert told(wire, ids) == set(ids)

    def test_stream_numbers_may_be_skipped(self, wire: Connection) -> None:
        for stream_id in (5, 101, 2**31 - 3, 2**31 - 1):
            wire.send_headers(RANGE, stream_id=stream_id)
            wire.send_data(stream_id, range_message(), end_stream=True)

            assert response_of(wire, stream_id).status == 0


class TestEnds:
    def test_a_keep_alive_stream_ends_when_the_client_has_said_all(self, wire: Connection) -> None:
        stream_id = wire.send_headers(request(LEASE + "LeaseKeepAlive"))
        wire.send(frames.data(stream_id, keep_alive_message(7)))
        wire.expect(FrameType.DATA, stream_id=stream_id)
        wire.send(frames.data(stream_id, b"", end_stream=True))

        response = response_of(wire, stream_id)

        assert (response.status, response.trailers_only) == (0, False)

    def test_a_watch_goes_on_when_the_client_has_said_all(self, wire: Connection) -> None:
        """etcd: the end of the requests is not the end of the watch."""
        stream_id = open_watch(wire, b"half-closed")
        wire.send(frames.data(stream_id, b"", end_stream=True))
        put(wire, b"half-closed", b"still")

        wait_for_event(wire, stream_id, b"still")

    def test_a_unary_call_is_answered_without_the_end_of_its_stream(self, wire: Connection) -> None:
        """One message is all of it; grpc-go then resets the stream with NO_ERROR (8.1)."""
        stream_id = wire.send_headers(RANGE)
        wire.send(frames.data(stream_id, range_message()))

        response = response_of(wire, stream_id)

        assert (response.status, len(response.messages)) == (0, 1)
        wire.settle()
        resets = [each for each in wire.received if each.type == FrameType.RST_STREAM]
        assert [each.error_code for each in resets] in ([], [ErrorCode.NO_ERROR])

    def test_the_end_may_come_after_the_answer(self, wire: Connection) -> None:
        """A client cannot know yet that it was answered; that costs it nothing."""
        stream_id = wire.send_headers(RANGE)
        wire.send(frames.data(stream_id, range_message()))
        assert response_of(wire, stream_id).status == 0
        wire.send(frames.data(stream_id, b"", end_stream=True))

        assert_serves(wire)

    def test_a_client_that_goes_away_leaves_nothing_behind(
        self, target: str, wire: Connection
    ) -> None:
        """Its watches are gone, others of the same key go on."""
        kept = open_watch(wire, b"goes-away")
        for _ in range(20):
            with Connection(target) as other:
                open_watch(other, b"goes-away")
        put(wire, b"goes-away", b"here")

        wait_for_event(wire, kept, b"here")

    def test_a_client_may_cancel_a_thousand_watches_at_once(self, wire: Connection) -> None:
        """A proxy does when its own clients go; it is no attack."""
        ids = []
        for _ in range(1000):
            ids.append(wire.send_headers(request(WATCH + "Watch")))
            wire.send_data(ids[-1], watch_message(b"canceled"))
        assert told(wire, ids) == set(ids)
        wire.send(b"".join(frames.rst_stream(stream_id) for stream_id in ids))

        assert_serves(wire)

    def test_a_client_may_give_up_its_calls(self, wire: Connection) -> None:
        """Timeouts of its own: a hundred calls are reset before their answer, ten at a time."""
        for _ in range(10):
            ids = [wire.send_headers(RANGE) for _ in range(10)]
            for stream_id in ids:
                wire.send_data(stream_id, range_message(), end_stream=True)
            wire.send(b"".join(frames.rst_stream(stream_id) for stream_id in ids))
            assert_serves(wire)

    def test_many_calls_on_one_connection(self, wire: Connection) -> None:
        for _ in range(500):
            assert_serves(wire)


class TestMaxConcurrentStreams:
    """RFC 9113, 5.1.2, with --max-concurrent-streams."""

    def test_the_setting_is_announced_and_enforced(self, serve: Serve, connections: Open) -> None:
        wire = connections(serve("--max-concurrent-streams=2").target)
        assert wire.server_settings[Setting.MAX_CONCURRENT_STREAMS] == 2
        first, second = open_watch(wire, b"a"), open_watch(wire, b"b")

        third = wire.send_headers(RANGE)

        assert response_of(wire, third).reset == ErrorCode.REFUSED_STREAM
        put_elsewhere(wire.target, b"a", b"goes on")
        wait_for_event(wire, first, b"goes on")
        wire.send(frames.rst_stream(second))
        wire.settle()
        assert_serves(wire)

    def test_calls_one_after_another_are_not_counted_together(
        self, serve: Serve, connections: Open
    ) -> None:
        wire = connections(serve("--max-concurrent-streams=1").target)

        for _ in range(50):
            assert_serves(wire)

    def test_it_is_per_connection(self, serve: Serve, connections: Open) -> None:
        server = serve("--max-concurrent-streams=1")

        for _ in range(3):
            open_watch(connections(server.target), b"a")


def put_elsewhere(target: str, key: bytes, value: bytes) -> None:
    with Connection(target) as writer:
        put(writer, key, value)


def told(connection: Connection, ids: list[int]) -> set[int]:
    """The streams that DATA came on, once all of `ids` are among them."""
    seen: set[int] = set()
    while not seen.issuperset(ids):
        got = connection.receive()
        if got.type == FrameType.DATA:
            seen.add(got.stream_id)
    return seen
