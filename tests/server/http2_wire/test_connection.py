"""What concerns a connection as a whole: its beginning, SETTINGS, PING and frames to pass over."""

from __future__ import annotations

import pytest

from tests.server.http2_wire.conftest import Open
from tests.support.h2 import frames
from tests.support.h2.calls import assert_serves, open_watch, put, range_message
from tests.support.h2.connection import Connection
from tests.support.h2.frames import Flag, FrameType, Setting
from tests.support.h2.grpc import KV, request, response_of

RANGE = request(KV + "Range")


class TestPreface:
    """RFC 9113, 3.4."""

    def test_the_first_frame_of_the_server_is_settings(self, wire: Connection) -> None:
        assert wire.received[0].type == FrameType.SETTINGS
        assert not wire.received[0].has(Flag.ACK)

    def test_the_settings_of_the_server_are_legal(self, wire: Connection) -> None:
        assert wire.server_settings.get(Setting.ENABLE_PUSH, 0) == 0
        assert wire.server_settings.get(Setting.INITIAL_WINDOW_SIZE, 0) < 2**31
        assert 2**14 <= wire.server_settings.get(Setting.MAX_FRAME_SIZE, 2**14) < 2**24

    def test_a_call_in_one_write_with_the_preface_is_answered(
        self, target: str, connections: Open
    ) -> None:
        connection = connections(target, handshake=False)
        connection.send(
            frames.PREFACE
            + frames.settings()
            + frames.headers(1, connection.encode(RANGE))
            + frames.data(1, range_message(), end_stream=True)
        )

        assert response_of(connection, 1).status == 0

    def test_everything_byte_by_byte_is_understood(self, target: str, connections: Open) -> None:
        connection = connections(target, handshake=False)
        everything = (
            frames.PREFACE
            + frames.settings({Setting.MAX_FRAME_SIZE: 2**14})
            + frames.headers(1, connection.encode(RANGE))
            + frames.data(1, range_message(), end_stream=True)
        )

        for at in range(len(everything)):
            connection.send(everything[at : at + 1])

        assert response_of(connection, 1).status == 0

    @pytest.mark.parametrize(
        "first",
        [frames.ping(), frames.window_update(0, 1), frames.frame(0x16)],
        ids=["ping", "window-update", "unknown"],
    )
    def test_a_first_frame_that_is_not_settings_costs_the_connection(
        self, target: str, connections: Open, first: bytes
    ) -> None:
        """3.4: a connection error."""
        connection = connections(target, handshake=False)
        connection.send(frames.PREFACE + first)

        connection.read_until_closed()


class TestSettings:
    """RFC 9113, 6.5."""

    def test_each_settings_frame_is_acknowledged_once(self, wire: Connection) -> None:
        wire.send(frames.settings({Setting.MAX_FRAME_SIZE: 2**15}) * 3)
        assert_serves(wire)

        acks = [each for each in wire.received if each.type == FrameType.SETTINGS][2:]
        assert [each.payload for each in acks] == [b""] * 3
        assert all(each.has(Flag.ACK) for each in acks)

    def test_an_unknown_setting_is_passed_over(self, wire: Connection) -> None:
        wire.change_settings({0x7777: 1, 0: 5, 0xFFFF: 2**32 - 1})

        assert_serves(wire)

    def test_the_last_of_two_values_in_one_frame_counts(self, wire: Connection) -> None:
        """6.5.3: the values are processed in the order they appear."""
        twice = frames.settings({Setting.INITIAL_WINDOW_SIZE: 0})[9:]
        twice += frames.settings({Setting.INITIAL_WINDOW_SIZE: 65_535})[9:]
        wire.send(frames.frame(FrameType.SETTINGS, 0, 0, twice))

        assert_serves(wire)

    @pytest.mark.parametrize("size", [2**14, 2**24 - 1])
    def test_no_frame_is_larger_than_the_client_takes(self, wire: Connection, size: int) -> None:
        wire.change_settings({Setting.MAX_FRAME_SIZE: size})
        put(wire, b"frame-size", bytes(300_000))
        wire.received.clear()
        stream_id = wire.send_headers(RANGE)
        wire.send_data(stream_id, range_message(b"frame-size"), end_stream=True)

        response = response_of(wire, stream_id)

        assert len(response.body) > 300_000
        assert max(len(each.payload) for each in wire.received) <= size


class TestPing:
    """RFC 9113, 6.7."""

    def test_a_ping_is_acknowledged_with_its_bytes(self, wire: Connection) -> None:
        wire.send(frames.ping(b"\x00\xffopaque"))

        ack = wire.expect(FrameType.PING, lambda each: each.has(Flag.ACK))

        assert ack.payload == b"\x00\xffopaque"

    def test_an_ack_that_nobody_asked_for_is_passed_over(self, wire: Connection) -> None:
        wire.send(frames.ping(b"unasked!", ack=True))

        assert wire.settle() == []


class TestFramesToPassOver:
    """RFC 9113, 4.1, 5.3.2, 5.5, 6.3."""

    @pytest.mark.parametrize("stream_id", [0, 1, 101])
    @pytest.mark.parametrize("type_", [0x0A, 0x0C, 0x1F, 0x42, 0xFF])
    def test_an_unknown_frame_type(self, wire: Connection, type_: int, stream_id: int) -> None:
        wire.send(frames.frame(type_, 0xFF, stream_id, b"whatever"))

        assert_serves(wire)

    def test_an_unknown_frame_between_headers_and_data(self, wire: Connection) -> None:
        stream_id = wire.send_headers(RANGE)
        wire.send(frames.frame(0x42, 0x05, stream_id, b"whatever"))
        wire.send_data(stream_id, range_message(), end_stream=True)

        assert response_of(wire, stream_id).status == 0

    def test_undefined_flags(self, wire: Connection) -> None:
        """4.1: flags without a meaning for the type are ignored."""
        undefined = 0xFF & ~(Flag.END_STREAM | Flag.END_HEADERS | Flag.PADDED | Flag.PRIORITY)
        block = wire.encode(RANGE)
        wire.send(frames.frame(FrameType.HEADERS, Flag.END_HEADERS | undefined, 1, block))
        undefined = 0xFF & ~(Flag.END_STREAM | Flag.PADDED)
        wire.send(frames.frame(FrameType.DATA, Flag.END_STREAM | undefined, 1, range_message()))
        wire.send(frames.frame(FrameType.PING, 0xFE, 0, b"flags of"))

        assert response_of(wire, 1).status == 0
        while not any(each.payload == b"flags of" for each in wire.received):
            wire.receive()

    def test_the_reserved_bit_of_a_stream_identifier(self, wire: Connection) -> None:
        wire.send(frames.headers(0x8000_0001, wire.encode(RANGE)))
        wire.send(frames.data(0x8000_0001, range_message(), end_stream=True))

        assert response_of(wire, 1).status == 0

    def test_priority_frames_on_idle_open_and_closed_streams(self, wire: Connection) -> None:
        wire.send(frames.priority(1, depends_on=0, weight=255) + frames.priority(77, 1))
        stream_id = wire.send_headers(RANGE)
        wire.send(frames.priority(stream_id, depends_on=0x8000_0000 | 11))
        wire.send_data(stream_id, range_message(), end_stream=True)
        assert response_of(wire, stream_id).status == 0
        wire.send(frames.priority(stream_id, depends_on=3))

        wire.new_stream()
        assert_serves(wire)

    def test_headers_with_priority(self, wire: Connection) -> None:
        payload = b"\x80\x00\x00\x0b\x10" + wire.encode(RANGE)
        wire.send(frames.frame(FrameType.HEADERS, Flag.END_HEADERS | Flag.PRIORITY, 1, payload))
        wire.send(frames.data(1, range_message(), end_stream=True))

        assert response_of(wire, 1).status == 0

    @pytest.mark.parametrize("padding", [0, 1, 255])
    def test_padding(self, wire: Connection, padding: int) -> None:
        """6.1, 6.2: of HEADERS with PRIORITY and of DATA, also of DATA that is all padding."""
        flags = Flag.END_HEADERS | Flag.PRIORITY | Flag.PADDED
        payload = frames.padded(bytes(5) + wire.encode(RANGE), padding)
        wire.send(frames.frame(FrameType.HEADERS, flags, 1, payload))
        wire.send(frames.frame(FrameType.DATA, Flag.PADDED, 1, frames.padded(b"", padding)))
        payload = frames.padded(range_message(), padding)
        wire.send(frames.frame(FrameType.DATA, Flag.PADDED | Flag.END_STREAM, 1, payload))

        assert response_of(wire, 1).status == 0

    def test_padding_is_given_back_to_the_windows(self, wire: Connection) -> None:
        """6.9.1: the whole payload counts for the windows, so padding must come back too."""
        stream_id = wire.send_headers(RANGE)
        padding = frames.frame(FrameType.DATA, Flag.PADDED, stream_id, frames.padded(b"", 255))
        for _ in range(4 * 65_535 // 256):
            while wire.window(stream_id) < 256:
                wire.receive()
            wire.send(padding)
            wire.spend(stream_id, 256)
        wire.send_data(stream_id, range_message(), end_stream=True)

        assert response_of(wire, stream_id).status == 0

    def test_goaway_of_the_client_lets_open_streams_finish(self, wire: Connection) -> None:
        """6.8: a GOAWAY is about streams that its receiver begins."""
        stream_id = open_watch(wire, b"goaway")
        call_id = wire.send_headers(RANGE)
        wire.send(frames.goaway(0))
        wire.send_data(call_id, range_message(), end_stream=True)

        assert response_of(wire, call_id).status == 0
        assert not any(each.end_stream and each.stream_id == stream_id for each in wire.received)
