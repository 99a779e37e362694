"""Peers that have the server hold answers which they do not take: RFC 9113, 10.5.

What a connection may have the server hold is bounded: then it takes no more of its requests, or
ends it. A peer that takes its answers after all gets them, or is told that the connection ended.
"""

from __future__ import annotations

import contextlib

import pytest

from kvstore.proto import rpc_pb2
from tests.server.http2_hostile.conftest import Open
from tests.support.h2 import frames, hpack_bytes
from tests.support.h2.calls import open_watch, put, range_message, watch_message
from tests.support.h2.connection import Closed, Connection, Silent
from tests.support.h2.frames import FrameType, Setting
from tests.support.h2.grpc import KV, WATCH, Response, message, request
from tests.support.h2.peers import MIB, Bystander, End, flood
from tests.support.h2.servers import WireServer

pytestmark = pytest.mark.slow

LARGE = 1_000_000


def plain(path: str) -> bytes:
    return b"".join(hpack_bytes.literal(name, value) for name, value in request(path))


RANGE = plain(KV + "Range")


@pytest.fixture(scope="module", autouse=True)
def large(server: WireServer) -> None:
    """A key of 1 MB and one of 10 kB."""
    with Connection(server.target) as writer:
        put(writer, b"large", bytes(LARGE))
        put(writer, b"medium", bytes(10_000))


def ranges(first: int, count: int, key: bytes) -> bytes:
    """So many calls on streams from `first` on."""
    return b"".join(
        frames.headers(stream_id, RANGE)
        + frames.data(stream_id, range_message(key), end_stream=True)
        for stream_id in range(first, first + 2 * count, 2)
    )


class TestWindowsThatStayShut:
    def test_ten_thousand_streams_with_a_window_of_zero(
        self, attacker: Open, bystander: Bystander
    ) -> None:
        connection = attacker({Setting.INITIAL_WINDOW_SIZE: 0})
        for at in range(100):
            if flood(connection, ranges(1 + 200 * at, 100, b"medium"), 1) is not End.SENT:
                break

        bystander.check(memory_mib=256, calls=200)

    def test_a_thousand_large_answers_behind_a_window_of_one(
        self, attacker: Open, bystander: Bystander
    ) -> None:
        """1 GB of answers."""
        connection = attacker({Setting.INITIAL_WINDOW_SIZE: 1})
        for at in range(100):
            if flood(connection, ranges(1 + 20 * at, 10, b"large"), 1) is not End.SENT:
                break

        bystander.check(memory_mib=256, calls=200)

    def test_a_thousand_large_answers_behind_the_window_of_the_connection(
        self, attacker: Open, bystander: Bystander
    ) -> None:
        connection = attacker({Setting.INITIAL_WINDOW_SIZE: 2**31 - 1}, open_windows=False)
        for at in range(100):
            if flood(connection, ranges(1 + 20 * at, 10, b"large"), 1) is not End.SENT:
                break

        bystander.check(memory_mib=256, calls=200)

    def test_the_same_on_fifty_connections(self, attacker: Open, bystander: Bystander) -> None:
        """Each connection alone is below any bound: 20 answers of 1 MB, together 1 GB."""
        for _ in range(50):
            connection = attacker({Setting.INITIAL_WINDOW_SIZE: 1})
            flood(connection, ranges(1, 20, b"large"), 1)

        bystander.check(memory_mib=1500, calls=200)


class TestWhoDoesNotRead:
    """All windows are open, and nothing is read of the socket."""

    def test_large_answers(self, attacker: Open, bystander: Bystander) -> None:
        connection = attacker({Setting.INITIAL_WINDOW_SIZE: 2**31 - 1}, receive_buffer=4096)
        connection.send(frames.window_update(0, 2**31 - 1 - 65_535))
        for at in range(100):
            if flood(connection, ranges(1 + 20 * at, 10, b"large"), 1) is not End.SENT:
                break

        bystander.check(memory_mib=256, calls=200)

    def test_all_is_there_for_a_late_reader(self, attacker: Open, bystander: Bystander) -> None:
        """Fifty answers of 1 MB, of which nothing is read before all are asked for."""
        connection = attacker(
            {Setting.INITIAL_WINDOW_SIZE: 2**31 - 1}, receive_buffer=4096, timeout_s=60
        )
        connection.send(frames.window_update(0, 2**31 - 1 - 65_535))
        connection.open_windows = False
        connection.send(ranges(1, 50, b"large"))
        connection.timeout_s = 60
        sizes: dict[int, int] = {}
        ended: set[int] = set()
        while len(ended) < 50:
            got = connection.receive()
            connection.received.clear()
            if got.type == FrameType.DATA:
                sizes[got.stream_id] = sizes.get(got.stream_id, 0) + len(got.payload)
            if got.end_stream:
                ended.add(got.stream_id)

        assert len(sizes) == 50
        assert all(size > LARGE for size in sizes.values())
        bystander.check(memory_mib=256, worst_s=5)

    def test_a_watch_that_is_not_read_loses_nothing(
        self, server: WireServer, attacker: Open, bystander: Bystander
    ) -> None:
        """200 MB are written meanwhile; read later, all of it is there, in order."""
        watcher = attacker({Setting.INITIAL_WINDOW_SIZE: 2**31 - 1}, receive_buffer=4096)
        watcher.send(frames.window_update(0, 2**31 - 1 - 65_535))
        watcher.open_windows, watcher.timeout_s = False, 60
        stream_id = open_watch(watcher, b"unread")
        with Connection(server.target, timeout_s=30) as writer:
            first = put(writer, b"unread", bytes(LARGE))
            for _ in range(199):
                last = put(writer, b"unread", bytes(LARGE))
        grown_mib = bystander.memory_bytes / MIB

        revisions = read_watch(watcher, stream_id, last)

        assert revisions == list(range(first, last + 1))
        assert grown_mib < 128
        bystander.check(memory_mib=256, calls=200)

    def test_a_watch_behind_a_shut_window_loses_nothing(
        self, server: WireServer, attacker: Open, bystander: Bystander
    ) -> None:
        """As before, with the window of the stream for what holds it back."""
        watcher = attacker(timeout_s=60)
        stream_id = open_watch(watcher, b"shut")
        with Connection(server.target, timeout_s=30) as writer:
            first = put(writer, b"shut", bytes(LARGE))
            for _ in range(99):
                last = put(writer, b"shut", bytes(LARGE))
        grown_mib = bystander.memory_bytes / MIB

        revisions = read_watch(watcher, stream_id, last)

        assert revisions == list(range(first, last + 1))
        assert grown_mib < 128
        bystander.check(memory_mib=256, calls=200)

    def test_a_thousand_watches_that_are_not_read(
        self, server: WireServer, attacker: Open, bystander: Bystander
    ) -> None:
        """Each is owed 20 MB, 20 GB together."""
        watcher = attacker({Setting.INITIAL_WINDOW_SIZE: 2**31 - 1}, receive_buffer=4096)
        watcher.send(frames.window_update(0, 2**31 - 1 - 65_535))
        block = plain(WATCH + "Watch")
        for at in range(1000):
            watcher.send(frames.headers(1 + 2 * at, block))
            watcher.send(frames.data(1 + 2 * at, watch_message(b"thousand")))
        with Connection(server.target, timeout_s=30) as writer:
            for _ in range(20):
                put(writer, b"thousand", bytes(LARGE))

        bystander.check(memory_mib=256, worst_s=10, calls=200)


class TestWhatIsSent:
    def test_half_a_message_on_many_streams(self, attacker: Open, bystander: Bystander) -> None:
        """Each stream holds what its window lets in: 1000 streams of up to 2 MB."""
        connection = attacker()
        connection.timeout_s = 5
        half = message(bytes(2_000_000))[:1_900_000]
        with contextlib.suppress(Silent, Closed):
            for _ in range(300):
                stream_id = connection.send_headers(request(KV + "Put"))
                connection.send_data(stream_id, half)

        bystander.check(memory_mib=256, calls=200)

    def test_a_message_that_goes_beyond_the_windows(
        self, attacker: Open, bystander: Bystander
    ) -> None:
        """256 MB on one stream without a look at its windows."""
        connection = attacker()
        stream_id = connection.send_headers(request(KV + "Put"))
        connection.send(frames.data(stream_id, message(bytes(2_000_000))[:16_000]))

        flood(connection, frames.data(stream_id, bytes(16_384)) * 64, 256)

        bystander.check()

    def test_writes_that_are_never_read(self, attacker: Open, bystander: Bystander) -> None:
        """20 000 puts without a look at their answers."""
        connection = attacker(receive_buffer=4096)
        block = plain(KV + "Put")
        body = message(rpc_pb2.PutRequest(key=b"unread-put", value=b"v").SerializeToString())
        for at in range(20):
            chunk = b"".join(
                frames.headers(stream_id, block) + frames.data(stream_id, body, end_stream=True)
                for stream_id in range(1 + 2000 * at, 1 + 2000 * (at + 1), 2)
            )
            if flood(connection, chunk, 1) is not End.SENT:
                break

        bystander.check()


def read_watch(connection: Connection, stream_id: int, last: int) -> list[int]:
    """The revisions that a watch tells of, up to `last`, opening the windows as it reads."""
    connection.open_windows = True
    body = b"".join(
        each.payload
        for each in connection.received
        if each.type == FrameType.DATA and each.stream_id == stream_id
    )
    revisions: list[int] = []
    while not revisions or revisions[-1] < last:
        connection.received.clear()
        got = connection.receive()
        if got.type != FrameType.DATA or got.stream_id != stream_id:
            continue
        body += got.payload
        for raw in Response(stream_id, body=body).messages if complete(body) else []:
            events = rpc_pb2.WatchResponse.FromString(raw).events
            revisions += [event.kv.mod_revision for event in events]
            body = body[5 + len(raw) :]
    return revisions


def complete(body: bytes) -> bool:
    """A whole message stands at the beginning."""
    return len(body) >= 5 and len(body) >= 5 + int.from_bytes(body[1:5], "big")
