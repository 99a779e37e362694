"""The calls of a connection without a socket."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from kvstore.errors import LeaseNotFound
from kvstore.proto import rpc_pb2
from kvstore.server.method import (
    Call,
    Deferred,
    EncodedParts,
    Hold,
    Kind,
    Method,
    Progress,
    Sliced,
)
from kvstore.server.stats import CallStats
from kvstore.server.transports.http2.connection import Connection
from kvstore.server.transports.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from kvstore.server.transports.http2.header_block import encode_fields
from kvstore.server.transports.http2.limits import Limits
from kvstore.server.transports.rpc.backlog import FULL_BYTES, QUEUE_BYTES
from kvstore.server.transports.rpc.calls import Calls
from kvstore.server.transports.rpc.framing import MessageReader, frame_message, pack_prefix
from kvstore.server.transports.rpc.head import CallHead
from kvstore.server.transports.rpc.receive_buffer import MUCH_BYTES
from kvstore.server.transports.rpc.service import Service
from kvstore.server.transports.web.http2 import WebHead

PATH = "/pkg.Things/Echo"
MIB = 1 << 20
REQUEST = encode_fields(
    [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", PATH.encode()),
        (b"content-type", b"application/grpc"),
    ]
)
READ = REQUEST.replace(b"Echo", b"Read")


class Echo:
    """A Session that answers each message with an empty one."""

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self.on_ready = on_ready
        self.answers = 0
        self.is_over = self.is_closed = False

    def receive(self, request: object) -> None:
        self.answers += 1
        self.on_ready()

    def pull(self) -> bytes | None:
        if not self.answers:
            return None
        self.answers -= 1
        return b""

    has_work = is_spent = False
    room = 1

    def end(self) -> None:
        self.is_over = True
        self.on_ready()

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    "end", [frame(DATA, END_STREAM, 1), frame(RST_STREAM, 0, 1, bytes(4))], ids=["ended", "reset"]
)
def test_a_session_is_freed_with_its_stream_and_not_by_the_collector(end: bytes) -> None:
    made: list[weakref.ref[Echo]] = []

    def session(call: Call, on_ready: Callable[[], None], hold: Hold) -> Echo:
        echo = Echo(on_ready)
        made.append(weakref.ref(echo))
        return echo

    message = rpc_pb2.PutRequest
    methods = {PATH: Method(PATH, Kind.BIDI, message, message, Echo, session=session)}
    loop = asyncio.new_event_loop()
    service = Service(
        methods, CallStats(methods), loop, max_message_bytes=1000, min_ping_interval_s=5.0
    )
    calls = Calls(service, "peer", lambda: None)
    connection: Connection[CallHead | WebHead] = Connection(calls, Limits(), 0.0)
    calls.connection = connection
    begin = frame(HEADERS, END_HEADERS, 1, REQUEST) + frame(DATA, 0, 1, frame_message(b""))
    gc.disable()
    try:
        connection.receive(PREFACE + frame(SETTINGS, 0, 0) + begin, 0.0)
        calls.turn()
        (echo,) = made
        assert echo() is not None
        connection.receive(end, 0.0)
        calls.turn()
        assert echo() is None
        assert not connection.streams
    finally:
        gc.enable()
        loop.close()


def test_a_call_that_is_reset_before_it_begins_leaves_no_coroutine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the read that brought it, so that its task has not run yet."""
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)

    async def handler(request: object, call: Call) -> bytes:
        return b""

    message = rpc_pb2.PutRequest
    methods = {PATH: Method(PATH, Kind.UNARY, message, message, handler)}
    loop = asyncio.new_event_loop()
    service = Service(
        methods, CallStats(methods), loop, max_message_bytes=1000, min_ping_interval_s=5.0
    )
    calls = Calls(service, "peer", lambda: None)
    connection: Connection[CallHead | WebHead] = Connection(calls, Limits(), 0.0)
    calls.connection = connection
    whole = frame(HEADERS, END_HEADERS, 1, REQUEST) + frame(DATA, END_STREAM, 1, frame_message(b""))
    reset = frame(RST_STREAM, 0, 1, bytes(4))
    connection.receive(PREFACE + frame(SETTINGS, 0, 0) + whole + reset, 0.0)
    loop.run_until_complete(service.close())
    loop.close()
    gc.collect()
    assert complaints == []
    assert service.stats.methods[PATH].handled[1] == 1


class Bench:
    """A connection and its calls, with no socket: what is sent is taken, or is not."""

    def __init__(self, *offered: Method, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """A `loop` that is given is closed by whoever gave it."""
        self.loop = loop or asyncio.new_event_loop()
        self._owns_loop = loop is None
        methods = {method.path: method for method in offered}
        service = Service(
            methods,
            CallStats(methods),
            self.loop,
            max_message_bytes=2 * MIB,
            min_ping_interval_s=5.0,
        )
        self.calls = Calls(service, "peer", lambda: None)
        self.connection: Connection[CallHead | WebHead] = Connection(self.calls, Limits(), 0.0)
        self.calls.connection = self.connection
        self.receive(PREFACE + frame(SETTINGS, 0, 0))
        self.last_id = -1

    def receive(self, data: bytes) -> None:
        async def receive() -> None:
            self.connection.receive(data, 0.0)

        self.loop.run_until_complete(receive())

    def ask(self, *, fields: bytes = b"", flags: int = 0, body: bytes | None = None) -> None:
        self.last_id += 2
        self.receive(frame(HEADERS, END_HEADERS | flags, self.last_id, REQUEST + fields))
        if body is not None:
            self.receive(frame(DATA, END_STREAM, self.last_id, frame_message(body)))

    def run(self, turns: int) -> None:
        """So many turns of the connection, with what the loop has to do in between."""
        for _ in range(turns):
            self.loop.run_until_complete(asyncio.sleep(0))
            self.calls.turn()
            self.connection.next_turn()
            self.connection.resume()

    def lose(self) -> None:
        async def lose() -> None:
            self.connection.abandon()
            self.calls.backlog.close()

        self.loop.run_until_complete(lose())

    def close(self) -> None:
        self.lose()
        self.loop.run_until_complete(self.calls.service.close())
        if self._owns_loop:
            self.loop.close()


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(kind: Kind, handler: Callable[..., Any], **options: Any) -> Bench:
        message = rpc_pb2.PutRequest
        made.append(Bench(Method(PATH, kind, message, message, handler, **options)))
        return made[-1]

    yield make
    for each in made:
        each.close()


class TestWhatIsNotTaken:
    """Answers to a client whose windows stay shut count from the moment that work begins."""

    def unread(self, bench: Bench) -> int:
        size = sum(len(part) for part in bench.connection.out)
        return size + bench.connection.queued_bytes

    @pytest.mark.parametrize("is_read", [True, False])
    def test_large_answers_that_are_there_at_once(
        self, bench: Callable[..., Bench], is_read: bool
    ) -> None:
        made = 0

        def handler(request: object, call: Call) -> bytes:
            nonlocal made
            made += 1
            return bytes(MIB)

        one = bench(Kind.UNARY, handler, is_read=is_read)
        for _ in range(500):
            one.ask(body=b"")
            one.run(1)

        most = QUEUE_BYTES if is_read else FULL_BYTES
        assert self.unread(one) <= most + 2 * MIB
        assert made <= 500 + most // MIB
        one.receive(frame(WINDOW_UPDATE, 0, 0, (2**31 - 1 - 65_535).to_bytes(4, "big")))
        for stream_id in range(1, 1001, 2):
            one.receive(frame(WINDOW_UPDATE, 0, stream_id, (2**30).to_bytes(4, "big")))
        while one.connection.streams:
            one.run(1)
            one.connection.out.clear()
            one.connection.window = 2**31 - 1
        assert one.calls.service.stats.methods[PATH].handled[0] == 500

    def test_answers_in_slices(self, bench: Callable[..., Bench]) -> None:
        async def make(progress: Progress) -> EncodedParts:
            parts = []
            for _ in range(10):
                parts.append(bytes(MIB))
                progress.add(MIB)
                await progress.turn()
            return EncodedParts(parts)

        one = bench(Kind.UNARY, lambda request, call: Sliced(make))
        for _ in range(500):
            one.ask(body=b"")
        one.run(300)

        assert self.unread(one) <= QUEUE_BYTES * 5 // 4 + 11 * MIB
        assert self.unread(one) >= QUEUE_BYTES

    def test_transactions_that_read_and_wait_for_their_commit(
        self, bench: Callable[..., Bench]
    ) -> None:
        waiting: list[Deferred] = []

        def handler(request: object, call: Call) -> Deferred:
            waiting.append(Deferred(lambda result: bytes(MIB)))
            waiting[-1].held_bytes = MIB
            return waiting[-1]

        one = bench(Kind.UNARY, handler)
        for _ in range(500):
            one.ask(body=b"")
        assert len(waiting) == 1  # others have their turn first
        one.run(500)

        assert len(waiting) == FULL_BYTES // MIB
        for each in waiting:
            each.set_result(None)
        assert self.unread(one) <= FULL_BYTES + MIB

    def test_streams_of_large_answers(self, bench: Callable[..., Bench]) -> None:
        async def handler(request: object, call: Call) -> AsyncIterator[bytes]:
            for _ in range(100):
                yield bytes(MIB)
                await asyncio.sleep(0)

        one = bench(Kind.SERVER_STREAM, handler)
        for _ in range(500):
            one.ask(body=b"")
        one.run(100)

        assert self.unread(one) <= QUEUE_BYTES + 9 * MIB
        assert self.unread(one) >= QUEUE_BYTES

    def test_small_answers_go_on_beside_large_ones(self, bench: Callable[..., Bench]) -> None:
        def handler(request: rpc_pb2.PutRequest, call: Call) -> bytes:
            return bytes(MIB) if request.key == b"large" else b"small"

        one = bench(Kind.UNARY, handler, is_read=True)
        for _ in range(100):
            one.ask(body=rpc_pb2.PutRequest(key=b"large").SerializeToString())
            one.run(2)
        one.connection.out.clear()
        one.ask(body=b"")
        one.run(2)
        for _ in range(2):  # one of them is the turn of a large answer
            one.receive(frame(WINDOW_UPDATE, 0, 0, (100).to_bytes(4, "big")))

        assert b"small" in b"".join(one.connection.out)

    def test_streams_that_wait_are_kept_once_and_let_go(self, bench: Callable[..., Bench]) -> None:
        one = bench(Kind.BIDI, print, session=lambda call, on_ready, hold: Echo(on_ready))
        release = one.calls.backlog.hold(FULL_BYTES)
        for _ in range(10):
            one.ask()
            for _ in range(10):
                one.receive(frame(DATA, 0, one.last_id, frame_message(b"")))
                one.run(1)
        assert len(one.calls.backlog._sessions) == 10
        for stream_id in range(3, 20, 2):
            one.receive(frame(RST_STREAM, 0, stream_id, bytes(4)))
        assert len(one.calls.backlog._sessions) == 1
        release()
        one.run(2)
        assert one.calls.service.stats.methods[PATH].sent == 10

    def test_large_answers_that_nobody_wants_any_more_wait_for_nothing(
        self, bench: Callable[..., Bench]
    ) -> None:
        async def handler(request: object, call: Call) -> AsyncIterator[bytes]:
            yield b""

        one = bench(Kind.SERVER_STREAM, handler)
        one.calls.backlog.hold(QUEUE_BYTES)
        for _ in range(10):
            one.ask(body=b"")
            one.run(1)
        assert len(one.calls.backlog._starts) == 10
        for stream_id in range(1, 20, 2):
            one.receive(frame(RST_STREAM, 0, stream_id, bytes(4)))
        one.run(2)
        assert not one.calls.backlog._starts

    def test_a_connection_that_is_lost_leaves_nothing_behind(
        self, bench: Callable[..., Bench]
    ) -> None:
        one = bench(Kind.UNARY, lambda request, call: Sliced(self.endless))
        for _ in range(50):
            one.ask(body=b"")
        one.run(50)
        one.lose()
        one.run(2)

        assert one.calls.backlog.making_bytes == 0
        assert one.connection.queued_bytes == 0
        assert one.connection.open_bytes == 0

    async def endless(self, progress: Progress) -> EncodedParts:
        while True:
            progress.add(MIB)
            await progress.turn()


class TestTurns:
    def test_a_stream_is_heard_beside_calls_that_never_end(self) -> None:
        """More of them wait than a turn answers, and more come with each turn."""
        message, sessions = rpc_pb2.PutRequest, list[Echo]()

        def session(call: Call, on_ready: Callable[[], None], hold: Hold) -> Echo:
            sessions.append(Echo(on_ready))
            return sessions[-1]

        unary = Method("/pkg.Things/Read", Kind.UNARY, message, message, lambda *_: bytes(8000))
        one = Bench(Method(PATH, Kind.BIDI, message, message, print, session=session), unary)
        one.receive(frame(WINDOW_UPDATE, 0, 0, (2**31 - 1 - 65_535).to_bytes(4, "big")))
        one.ask()
        one.receive(frame(DATA, 0, 1, frame_message(b"")))
        one.run(2)
        (echo,), stats = sessions, one.calls.service.stats.methods[PATH]
        for turn in range(20):
            for _ in range(300 if turn else 1000):
                one.last_id += 2
                one.receive(
                    frame(HEADERS, END_HEADERS, one.last_id, READ)
                    + frame(DATA, END_STREAM, one.last_id, frame_message(b""))
                )
            echo.receive(None)
            one.run(1)
            one.connection.out.clear()
            assert len(one.calls.backlog._waiting) > 256
        assert stats.sent >= 20
        one.close()


class TestWhatIsSentAhead:
    def test_streams_that_are_open_are_bounded_in_bytes(self, bench: Callable[..., Bench]) -> None:
        one = bench(Kind.UNARY, lambda request, call: b"")
        one.connection._limits.open_bytes = MIB
        large = encode_fields([(b"x-large", b"v" * 10_000)])[1:]
        for _ in range(1000):
            one.ask(fields=large)

        assert one.connection.open_bytes < MIB + 30_000
        kinds = [part[3] for part in one.connection.out]
        assert kinds.count(RST_STREAM) == 1000 - len(one.connection.streams)

    @pytest.mark.parametrize("kind", [Kind.UNARY, Kind.BIDI, Kind.SERVER_STREAM])
    def test_halves_of_messages_are_bounded(self, bench: Callable[..., Bench], kind: Kind) -> None:
        """Only the oldest of many gets window when so much is kept; the others do not go on."""

        async def handler(requests: object, call: Call) -> AsyncIterator[bytes]:
            async for _ in requests:  # type: ignore[attr-defined]
                yield b""

        session = (
            None if kind is Kind.SERVER_STREAM else lambda call, on_ready, hold: Echo(on_ready)
        )
        one = bench(kind, handler, session=session if kind is Kind.BIDI else None)
        piece = frame_message(bytes(MIB))[:16_000]
        credited = 0
        for _ in range(600):
            one.ask()
            one.receive(frame(DATA, 0, one.last_id, piece))
            for _ in range(15):
                one.receive(frame(DATA, 0, one.last_id, piece[5:]))
            credited += sum(
                part[3] == WINDOW_UPDATE and part[5:9] != bytes(4) for part in one.connection.out
            )
            one.connection.out.clear()

        assert credited < 2 * MUCH_BYTES // (Limits.stream_window_bytes // 2)
        assert not one.connection.is_closed
        for _ in range(100):
            one.ask()
            one.receive(frame(DATA, 0, one.last_id, piece))
            for _ in range(15):
                one.receive(frame(DATA, 0, one.last_id, piece[5:]))
        assert one.connection.is_closed

    def test_halves_behind_answers_that_are_not_taken_are_bounded(
        self, bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("kvstore.server.transports.rpc.receive_buffer.MOST_BYTES", 8 * MIB)
        one = bench(Kind.BIDI, print, session=lambda call, on_ready, hold: Echo(on_ready))
        one.receive(frame(SETTINGS, 0, 0, b"\0\4" + bytes(4)))  # windows of 0
        for _ in range(40):
            one.ask()
            one.receive(frame(DATA, 0, one.last_id, frame_message(b"")))
            one.run(1)
            for _ in range(15):
                one.receive(frame(DATA, 0, one.last_id, frame_message(bytes(MIB))[:16_000]))
                one.run(1)
            if one.connection.is_closed:
                break

        assert one.connection.is_closed
        assert one.calls.receive_buffer._bytes <= 8 * MIB + 16_000

    def test_a_stream_goes_on_when_its_responses_have_left(
        self, bench: Callable[..., Bench]
    ) -> None:
        """A piece of the next request came before that, as much of it as the window lets in."""

        async def handler(requests: object, call: Call) -> AsyncIterator[bytes]:
            async for _ in requests:  # type: ignore[attr-defined]
                yield b""

        one = bench(Kind.BIDI, handler)
        one.receive(frame(SETTINGS, 0, 0, b"\0\4" + bytes(4)))
        one.ask()
        one.receive(frame(DATA, 0, 1, frame_message(b"")))
        one.run(5)
        stream = one.connection.streams[1]
        large = memoryview(frame_message(rpc_pb2.PutRequest(value=bytes(MIB)).SerializeToString()))
        for _ in range(2):
            while large and stream.recv_window:
                size = min(16_000, stream.recv_window, len(large))
                one.receive(frame(DATA, 0, 1, bytes(large[:size])))
                large = large[size:]
                one.run(1)
            one.receive(frame(WINDOW_UPDATE, 0, 1, (2**30).to_bytes(4, "big")))
            one.run(5)
        assert not large
        assert one.calls.service.stats.methods[PATH].sent == 2

    def test_a_stream_that_is_stuck_keeps_no_window_from_others(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The oldest of what is kept waits for its client, and all others for window."""
        most = 4 * MIB
        monkeypatch.setattr("kvstore.server.transports.rpc.receive_buffer.MUCH_BYTES", most)
        message = rpc_pb2.PutRequest
        stuck = Method(
            PATH, Kind.BIDI, message, message, print, session=lambda call, ready, hold: Echo(ready)
        )
        unary = Method("/pkg.Things/Read", Kind.UNARY, message, message, lambda *_: b"")
        one = Bench(stuck, unary)
        one.receive(frame(SETTINGS, 0, 0, b"\0\4" + bytes(4)))
        one.ask()
        one.receive(frame(DATA, 0, 1, frame_message(b"")))
        one.run(2)
        one.receive(frame(DATA, 0, 1, frame_message(b"") * 10))
        one.run(2)
        large = frame_message(rpc_pb2.PutRequest(value=bytes(MIB)).SerializeToString())
        left = {}
        for _ in range(most // Limits.stream_window_bytes * 2):
            one.last_id += 2
            one.receive(frame(HEADERS, END_HEADERS, one.last_id, READ))
            left[one.last_id] = memoryview(large)
        sent = True
        while left and sent:
            sent = False
            for stream_id, rest in list(left.items()):
                window = one.connection.streams[stream_id].recv_window
                piece, left[stream_id] = rest[: min(16_000, window)], rest[min(16_000, window) :]
                sent = sent or bool(piece)
                if not left[stream_id]:
                    del left[stream_id]
                flags = 0 if stream_id in left else END_STREAM
                if piece:
                    one.receive(frame(DATA, flags, stream_id, bytes(piece)))
            one.run(1)

        assert not left
        one.receive(frame(RST_STREAM, 0, 1, bytes(4)))
        assert one.calls.receive_buffer._bytes == 0
        one.close()

    def test_a_session_is_fed_what_it_has_room_for(self, bench: Callable[..., Bench]) -> None:
        class Narrow(Echo):
            @property
            def room(self) -> int:  # type: ignore[override]  # a fixed one is enough for others
                return max(256 - self.answers, 0)

        made: list[Echo] = []

        def session(call: Call, on_ready: Callable[[], None], hold: Hold) -> Echo:
            made.append(Narrow(on_ready))
            return made[-1]

        one = bench(Kind.BIDI, print, session=session)
        one.ask()
        for _ in range(10):
            one.receive(frame(DATA, 0, 1, frame_message(b"") * 3000))

        one.run(1000)
        assert made[0].answers <= 256
        assert one.calls.service.stats.methods[PATH].received < 30_000
        for stream_id in (0, 1):
            one.receive(frame(WINDOW_UPDATE, 0, stream_id, (2**30).to_bytes(4, "big")))
        one.run(1000)
        assert one.calls.service.stats.methods[PATH].sent == 30_000
        assert one.calls.service.stats.methods[PATH].received == 30_000


WHOLE = frame(HEADERS, END_HEADERS, 1, REQUEST)
WHOLE += frame(DATA, END_STREAM, 1, frame_message(b"\x0a\x01k"))


class TestRequestsThatComeAlone:
    """They are served without a turn and, if nothing follows, without a stream: nobody can tell."""

    @staticmethod
    def answer(request: rpc_pb2.PutRequest) -> bytes:
        if request.key == b"bad":
            raise LeaseNotFound
        return request.key * 3

    class Repeating(Echo):
        def __init__(self, on_ready: Callable[[], None]) -> None:
            super().__init__(on_ready)
            self.said: list[bytes] = []

        def receive(self, request: rpc_pb2.PutRequest) -> None:  # type: ignore[override]
            self.said.append(TestRequestsThatComeAlone.answer(request))
            self.on_ready()

        def pull(self) -> bytes | None:
            return self.said.pop(0) if self.said else None

    @pytest.mark.parametrize(
        "body",
        [
            frame_message(b"\x0a\x01k"),
            frame_message(b""),
            frame_message(b"\x0a\x01k") * 2,
            frame_message(b"\x0a\x01k")[:-1],
            frame_message(b"\x0a\x03bad"),
            frame_message(b"\xff"),
            pack_prefix(0, 3 * MIB) + b"k",
            pack_prefix(1, 3) + b"\x0a\x01k",
            pack_prefix(2, 3) + b"\x0a\x01k",
            b"",
            b"\0",
        ],
    )
    @pytest.mark.parametrize("window", [0, 9, 65_535])
    def test_they_are_answered_as_they_are_in_pieces(
        self, bench: Callable[..., Bench], body: bytes, window: int
    ) -> None:
        said = []
        for once, size in ((self.answer, len(body)), (None, len(body)), (None, 1)):
            one = bench(
                Kind.BIDI, print, session=lambda _, ready, hold: self.Repeating(ready), once=once
            )
            one.receive(frame(SETTINGS, 0, 0, b"\0\4" + window.to_bytes(4, "big")))
            one.connection.out.clear()
            pieces = [body[at : at + size] for at in range(0, len(body), size or 1)] or [b""]
            head = frame(HEADERS, END_HEADERS, 1, REQUEST)
            for piece in pieces[:-1]:
                one.receive(head + frame(DATA, 0, 1, piece))
                head = b""
            one.receive(head + frame(DATA, END_STREAM, 1, pieces[-1]))
            one.run(3)
            one.receive(frame(WINDOW_UPDATE, 0, 1, (100).to_bytes(4, "big")))
            one.run(3)
            stats = one.calls.service.stats.methods[PATH]
            counts = (stats.started, stats.received, stats.sent, stats.handled)
            said.append((_messages(one.connection.out), counts, len(one.connection.streams)))
        assert said[0] == said[1]
        assert said[0] == said[2]

    def test_no_stream_is_made_for_one(
        self, bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = bench(Kind.BIDI, print, session=print, once=self.answer)
        monkeypatch.setattr(one.connection, "open", None)
        one.receive(WHOLE)
        assert _messages(one.connection.out)[0] == frame_message(b"kkk")

    def test_what_has_to_wait_goes_to_the_session(self, bench: Callable[..., Bench]) -> None:
        one = bench(
            Kind.BIDI, print, session=lambda _, ready, hold: Echo(ready), once=lambda request: None
        )
        one.receive(WHOLE)
        one.run(1)
        stats = one.calls.service.stats.methods[PATH]
        assert (stats.started, stats.received, stats.sent, stats.handled[0]) == (1, 1, 1, 1)

    def test_a_stream_whose_client_may_say_more_is_its_session_s(
        self, bench: Callable[..., Bench]
    ) -> None:
        one = bench(Kind.BIDI, print, session=lambda _, ready, hold: Echo(ready), once=print)
        one.ask()
        one.receive(frame(DATA, 0, 1, frame_message(b"")))
        one.run(1)
        assert one.calls.service.stats.methods[PATH].sent == 1
        assert len(one.connection.streams) == 1

    def test_only_the_first_of_a_turn_does_not_wait_for_it(
        self, bench: Callable[..., Bench]
    ) -> None:
        made: list[Echo] = []

        class Roomy(Echo):
            room = 1000

        def session(call: Call, on_ready: Callable[[], None], hold: Hold) -> Echo:
            made.append(Roomy(on_ready))
            return made[-1]

        one = bench(Kind.BIDI, print, session=session)
        one.ask()
        one.receive(frame(DATA, 0, 1, frame_message(b"")) * 100)
        assert made[0].answers == 1
        one.run(1)
        stats = one.calls.service.stats.methods[PATH]
        assert 1 < stats.received <= 1 + 32
        one.run(10)
        assert stats.received == stats.sent == 100

    def test_a_stream_whose_client_takes_nothing_has_to_wait(
        self, bench: Callable[..., Bench]
    ) -> None:
        one = bench(Kind.BIDI, print, session=lambda _, ready, hold: Echo(ready))
        one.receive(frame(SETTINGS, 0, 0, b"\0\4" + bytes(4)))
        one.ask()
        for _ in range(10):
            one.receive(frame(DATA, 0, 1, frame_message(b"")))
            one.run(1)
        stats = one.calls.service.stats.methods[PATH]
        assert stats.received == 1
        one.receive(frame(WINDOW_UPDATE, 0, 1, (100).to_bytes(4, "big")))
        one.run(20)
        assert stats.received == stats.sent == 10


def _messages(out: list[bytes | memoryview]) -> tuple[bytes, list[bytes]]:
    """The DATA in what is sent, and all else but what gives window back."""
    sent, at, data, others = b"".join(out), 0, b"", []
    while at < len(sent):
        size = int.from_bytes(sent[at : at + 3], "big")
        kind, whole = sent[at + 3], sent[at : at + 9 + size]
        if kind == DATA:
            data += whole[9:]
        elif kind != WINDOW_UPDATE:
            others.append(whole)
        at += 9 + size
    return data, others


class TestGzip:
    GZIP = encode_fields([(b"grpc-encoding", b"gzip")])[1:]
    BOMB = frame_message(rpc_pb2.PutRequest(value=bytes(MIB - 100)).SerializeToString())

    @pytest.fixture
    def unpacked(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        sizes: list[int] = []
        plain = MessageReader.plain

        def counted(self: MessageReader, flag: int, message: bytes) -> bytes:
            sizes.append(len(unpacked := plain(self, flag, message)))
            return unpacked

        monkeypatch.setattr(MessageReader, "plain", counted)
        return sizes

    def bomb(self) -> bytes:
        packer = zlib.compressobj(wbits=31)
        packed = packer.compress(self.BOMB[5:]) + packer.flush()
        return pack_prefix(1, len(packed)) + packed

    def test_calls_are_unpacked_in_turns(
        self, bench: Callable[..., Bench], unpacked: list[int]
    ) -> None:
        one = bench(Kind.UNARY, lambda request, call: b"")
        for _ in range(20):
            one.ask(fields=self.GZIP)
            one.receive(frame(DATA, END_STREAM, one.last_id, self.bomb()))

        assert sum(unpacked) <= 2 * MIB
        one.run(1)
        assert sum(unpacked) <= 4 * MIB
        one.run(40)
        assert one.calls.service.stats.methods[PATH].handled[0] == 20

    def test_messages_of_a_stream_are_unpacked_in_turns(
        self, bench: Callable[..., Bench], unpacked: list[int]
    ) -> None:
        one = bench(Kind.BIDI, print, session=lambda call, on_ready, hold: Echo(on_ready))
        one.ask(fields=self.GZIP)
        one.receive(frame(DATA, 0, 1, self.bomb() * 10))

        assert sum(unpacked) <= 2 * MIB
        one.run(1)
        assert sum(unpacked) <= 4 * MIB
        one.run(40)
        assert one.calls.service.stats.methods[PATH].sent == 10

    def test_packing_answers_takes_turns_and_large_ones_are_sent_as_they_are(
        self, bench: Callable[..., Bench]
    ) -> None:
        made = 0

        def handler(request: rpc_pb2.PutRequest, call: Call) -> bytes:
            nonlocal made
            made += 1
            return bytes(60_000) if request.key else bytes(MIB)

        one = bench(Kind.UNARY, handler)
        for _ in range(20):
            one.ask(fields=self.GZIP, body=b"\x0a\x01k")

        assert made < 5
        one.run(40)
        assert made == 20
        one.connection.out.clear()
        one.ask(fields=self.GZIP, body=b"")
        assert any(part[:5] == pack_prefix(0, MIB) for part in one.connection.out)
