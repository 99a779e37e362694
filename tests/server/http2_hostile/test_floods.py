"""Floods of frames that are cheap to send: RFC 9113, 10.5.

Each costs the peer its connection, or is worked off while others are served. What a flood has the
server hold is bounded.
"""

from __future__ import annotations

import contextlib

import pytest

from tests.server.http2_hostile.conftest import Open
from tests.support.h2 import frames, hpack_bytes
from tests.support.h2.calls import open_watch, range_message
from tests.support.h2.connection import Closed, Connection, Silent
from tests.support.h2.frames import ErrorCode, Flag, FrameType, Setting
from tests.support.h2.grpc import KV, WATCH, request
from tests.support.h2.peers import Bystander, End, flood

pytestmark = pytest.mark.slow

RANGE = request(KV + "Range")
PLAIN = b"".join(hpack_bytes.literal(name, value) for name, value in RANGE)


def resets(count: int, first: int, body: bytes = b"") -> bytes:
    """`count` streams from `first` on, each reset as soon as it is open."""
    sent = []
    for stream_id in range(first, first + 2 * count, 2):
        sent.append(frames.headers(stream_id, PLAIN))
        if body:
            sent.append(frames.data(stream_id, body, end_stream=True))
        sent.append(frames.rst_stream(stream_id))
    return b"".join(sent)


def assert_closed(connection: Connection, *codes: ErrorCode) -> None:
    """The connection ends; a GOAWAY, where one arrived, has one of these codes."""
    got = connection.read_until_closed()
    goaways = [each for each in got if each.type == FrameType.GOAWAY]
    assert {each.error_code for each in goaways} <= set(codes), goaways


class TestStreams:
    def test_rapid_reset(self, attacker: Open, bystander: Bystander) -> None:
        """CVE-2023-44487: 100 000 streams, none of which counts as open."""
        connection = attacker()
        for at in range(100):
            if flood(connection, resets(1000, 1 + 2000 * at), 1) is not End.SENT:
                break

        bystander.check()

    def test_rapid_reset_of_whole_calls(self, attacker: Open, bystander: Bystander) -> None:
        """The calls have all they need to run before they are reset."""
        connection = attacker()
        for at in range(50):
            if flood(connection, resets(1000, 1 + 2000 * at, range_message()), 1) is not End.SENT:
                break

        bystander.check()

    def test_rapid_reset_that_the_server_is_made_to_do(
        self, attacker: Open, bystander: Bystander
    ) -> None:
        """CVE-2025-8671: a zero WINDOW_UPDATE makes the server reset the stream itself."""
        connection = attacker()
        for at in range(50):
            chunk = b"".join(
                frames.headers(stream_id, PLAIN) + frames.window_update(stream_id, 0)
                for stream_id in range(1 + 2000 * at, 1 + 2000 * (at + 1), 2)
            )
            if flood(connection, chunk, 1) is not End.SENT:
                break

        bystander.check()

    def test_requests_that_are_refused(self, attacker: Open, bystander: Bystander) -> None:
        """50 000 times 415, whose answers are never read."""
        block = b"".join(hpack_bytes.literal(name, value) for name, value in RANGE[:4])
        connection = attacker(receive_buffer=4096)
        for at in range(50):
            chunk = b"".join(
                frames.headers(stream_id, block, end_stream=True)
                for stream_id in range(1 + 2000 * at, 1 + 2000 * (at + 1), 2)
            )
            if flood(connection, chunk, 1) is not End.SENT:
                break

        bystander.check()

    def test_streams_that_say_nothing(self, attacker: Open, bystander: Bystander) -> None:
        """50 000 open calls without a message: etcd has no limit of streams by default."""
        connection = attacker()
        for at in range(50):
            chunk = b"".join(
                frames.headers(stream_id, PLAIN)
                for stream_id in range(1 + 2000 * at, 1 + 2000 * (at + 1), 2)
            )
            if flood(connection, chunk, 1) is not End.SENT:
                break

        bystander.check(memory_mib=256)


class TestFramesWithoutAWindow:
    """Frames that no flow control holds back, from a peer that never reads the answers."""

    @pytest.mark.parametrize(
        "one",
        [
            frames.settings({Setting.INITIAL_WINDOW_SIZE: 65_535}),
            frames.ping(b"flooding"),
            frames.ping(b"flooding", ack=True),
            frames.settings_ack(),
            frames.priority(1, 0),
            frames.frame(0x42, 0, 1, b"unknown"),
            frames.window_update(0, 1),
            frames.goaway(0),
        ],
        ids=[
            "settings",
            "ping",
            "ping-ack",
            "settings-ack",
            "priority",
            "unknown",
            "window-update",
            "goaway",
        ],
    )
    def test_a_flood_that_is_never_read(
        self, attacker: Open, bystander: Bystander, one: bytes
    ) -> None:
        """200 000 frames; CVE-2019-9512, 9515 and their kin."""
        connection = attacker(receive_buffer=4096)

        flood(connection, one * 1000, 200)

        bystander.check()

    def test_a_flood_of_changing_windows(self, attacker: Open, bystander: Bystander) -> None:
        """Each SETTINGS has to be carried to 1000 open streams."""
        connection = attacker()
        for _ in range(1000):
            connection.send_headers(request(WATCH + "Watch"))
        chunk = b"".join(
            frames.settings({Setting.INITIAL_WINDOW_SIZE: size}) for size in range(1000)
        )

        flood(connection, chunk, 10)

        bystander.check()

    def test_settings_of_many_values(self, attacker: Open, bystander: Bystander) -> None:
        connection = attacker(receive_buffer=4096)
        one = frames.frame(FrameType.SETTINGS, 0, 0, b"\x00\x04\x00\x00\xff\xff" * 2730)

        flood(connection, one, 2000)

        bystander.check()


class TestEmptyFrames:
    """CVE-2019-9518."""

    def test_data_without_bytes(self, attacker: Open, bystander: Bystander) -> None:
        connection = attacker()
        stream_id = connection.send_headers(RANGE)

        flood(connection, frames.data(stream_id) * 1000, 300)

        bystander.check()

    def test_data_that_is_all_padding(self, attacker: Open, bystander: Bystander) -> None:
        connection = attacker()
        stream_id = open_watch(connection, b"padding")
        one = frames.frame(FrameType.DATA, Flag.PADDED, stream_id, b"\0")

        flood(connection, one * 1000, 60)

        bystander.check()

    def test_headers_without_fields(self, attacker: Open, bystander: Bystander) -> None:
        """Each is malformed: it has no method and no path."""
        connection = attacker(receive_buffer=4096)
        for at in range(50):
            chunk = b"".join(
                frames.headers(stream_id, b"", end_stream=True)
                for stream_id in range(1 + 2000 * at, 1 + 2000 * (at + 1), 2)
            )
            if flood(connection, chunk, 1) is not End.SENT:
                break

        bystander.check()

    def test_messages_without_bytes(self, attacker: Open, bystander: Bystander) -> None:
        """A bidi stream that gets 200 000 empty messages, none of whose answers is read."""
        connection = attacker(receive_buffer=4096)
        stream_id = connection.send_headers(request("/etcdserverpb.Lease/LeaseKeepAlive"))
        connection.timeout_s = 3
        with contextlib.suppress(Closed, Silent):
            connection.send_data(stream_id, bytes(5) * 200_000)

        bystander.check()


class TestHeaderBlocksWithoutEnd:
    """CVE-2024-27316 and its kin: the peer loses its connection before it has sent 64 MiB."""

    CODES = (
        ErrorCode.ENHANCE_YOUR_CALM,
        ErrorCode.PROTOCOL_ERROR,
        ErrorCode.COMPRESSION_ERROR,
        ErrorCode.INTERNAL_ERROR,
    )

    def test_large_pieces(self, attacker: Open, bystander: Bystander) -> None:
        connection = attacker()
        connection.send(frames.headers(1, PLAIN, end_headers=False))
        piece = hpack_bytes.literal("x-a", "v" * 16_000)

        end = flood(connection, frames.continuation(1, piece), 4096)

        assert end is End.CLOSED
        assert_closed(connection, *self.CODES)
        bystander.check()

    def test_one_string_in_large_pieces(self, attacker: Open, bystander: Bystander) -> None:
        """A literal of 2 GiB is announced, so that nothing can be decoded."""
        connection = attacker()
        start = PLAIN + b"\x00\x01a" + hpack_bytes.integer(2**31 - 1, 7)
        connection.send(frames.headers(1, start, end_headers=False))

        end = flood(connection, frames.continuation(1, bytes(16_384)), 4096)

        assert end is End.CLOSED
        bystander.check()

    @pytest.mark.parametrize("piece", [b"", b"\x82"], ids=["empty", "one-byte"])
    def test_small_pieces(self, attacker: Open, bystander: Bystander, piece: bytes) -> None:
        """A million pieces that hardly add to the block."""
        connection = attacker()
        connection.send(frames.headers(1, PLAIN, end_headers=False))

        end = flood(connection, frames.continuation(1, piece) * 1000, 1000)

        assert end is End.CLOSED
        bystander.check()


class TestHeaderLists:
    """RFC 9113, 10.5.1: the size of all fields together is limited, also of coded ones."""

    def test_a_list_over_the_limit(self, attacker: Open, bystander: Bystander) -> None:
        """17 MB in one block: etcd's limit is 16 MiB. Refused as a stream or as a connection."""
        connection = attacker()
        piece = hpack_bytes.literal("x-a", "v" * 16_000)
        connection.send(frames.headers(1, PLAIN, end_headers=False))
        end = flood(connection, frames.continuation(1, piece), 1100)
        if end is End.SENT:
            connection.send(frames.continuation(1, b"", end_headers=True))
            connection.expect(FrameType.RST_STREAM, stream_id=1)

        bystander.check()

    def test_a_bomb(self, attacker: Open, bystander: Bystander) -> None:
        """A field of 4 kB in the table, named 16 000 times by one byte each: 64 MB in one frame."""
        connection = attacker()
        bomb = PLAIN + hpack_bytes.incremental("x-bomb", "v" * 4000)
        bomb += hpack_bytes.indexed(62) * (16_384 - len(bomb))
        chunk = frames.headers(1, bomb, end_stream=True)

        connection.send(chunk)

        got = connection.expect_end_of(1)
        assert got.type in (FrameType.RST_STREAM, FrameType.GOAWAY, FrameType.HEADERS)
        assert not any(
            dict(block).get("grpc-status") == "0" for block in connection.fields.get(1, [])
        )
        bystander.check()

    def test_a_bomb_after_the_other(self, attacker: Open, bystander: Bystander) -> None:
        """100 times 64 MB of fields in 1.6 MB."""
        connection = attacker()
        fill = frames.headers(
            1, PLAIN + hpack_bytes.incremental("x-bomb", "v" * 4000), end_stream=True
        )
        bombs = b"".join(
            frames.headers(stream_id, hpack_bytes.indexed(62) * 16_384, end_stream=True)
            for stream_id in range(3, 203, 2)
        )

        flood(connection, fill + bombs, 1)

        bystander.check()
