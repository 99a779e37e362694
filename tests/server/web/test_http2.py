"""Pages and the gateway on the streams of an HTTP/2 connection, without a socket."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import hpack
import pytest

from kvstore.server.stats import CallStats
from kvstore.server.transports.http2.connection import Connection, Limits
from kvstore.server.transports.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
    unpack_head,
)
from kvstore.server.transports.http2.header_block import encode_fields
from kvstore.server.transports.rpc import backlog
from kvstore.server.transports.rpc.calls import Calls
from kvstore.server.transports.rpc.head import CallHead
from kvstore.server.transports.rpc.receive_buffer import MOST_BYTES, MUCH_BYTES
from kvstore.server.transports.rpc.service import Service
from kvstore.server.transports.web.http2 import REQUEST_COSTS, Web, WebHead
from kvstore.server.transports.web.messages import Answer

WINDOW = Limits.stream_window_bytes
TURN = Limits.room_bytes // REQUEST_COSTS


class Kept:
    """A handler that keeps what it is told."""

    def __init__(self, answer: Answer, *, keeps_body: bool) -> None:
        self.answer, self.keeps_body = answer, keeps_body
        self.is_backed_up = False
        self.told: list[object] = []

    def data(self, data: bytes) -> None:
        self.told.append(len(data))

    def end(self, fault: str = "") -> None:
        self.told.append("end")

    def hang_up(self) -> None:
        raise AssertionError("streams do not half-close")

    def cancel(self) -> None:
        self.told.append("cancel")

    def drain(self) -> None:
        self.told.append("drain")

    def writable(self) -> None:
        self.told.append("writable")


class Site:
    def __init__(self) -> None:
        self.handlers: list[Kept] = []

    def begin(self, answer: Answer) -> Kept | None:
        path = answer.request.path
        if path == "/now":
            answer.reply(200, [("Content-Type", "a/b")], b"now")
        elif path == "/moved":
            answer.reply(307, [("Location", 2 * answer.request.query)], b"elsewhere")
        elif path == "/broken":
            raise RuntimeError("a bug")
        else:
            self.handlers.append(Kept(answer, keeps_body=path == "/kept"))
            return self.handlers[-1]
        return None


class Sent:
    """A frame that was sent."""

    def __init__(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self.kind, self.flags, self.stream_id, self.payload = kind, flags, stream_id, payload

    @property
    def ends(self) -> bool:
        return bool(self.flags & END_STREAM)


class Case:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.site = Site()
        service = Service(
            {}, CallStats({}), self.loop, max_message_bytes=1000, min_ping_interval_s=5.0
        )
        self.calls = Calls(service, "peer", lambda: None, Web(lambda: self.site, is_all=False))
        self.connection: Connection[CallHead | WebHead] = Connection(self.calls, Limits(), 0.0)
        self.calls.connection = self.connection
        self.decoder = hpack.Decoder()
        self.receive(PREFACE + frame(SETTINGS, 0, 0))
        self.sent()

    def receive(self, data: bytes) -> None:
        self.connection.receive(data, 0.0)

    def turn(self) -> None:
        """What was to be written has been, and it is the connection's turn again."""
        self.loop.run_until_complete(asyncio.sleep(0))
        self.connection.next_turn()
        self.calls.turn()

    def ask(
        self, stream_id: int, path: str, *more: tuple[bytes, bytes], method: str = "POST", end: int
    ) -> None:
        fields = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":path", path.encode()),
            (b":authority", b"host"),
            *more,
        ]
        self.receive(frame(HEADERS, END_HEADERS | end, stream_id, encode_fields(fields)))

    def sent(self) -> list[Sent]:
        data, found = b"".join(self.connection.out), []
        self.connection.out.clear()
        while data:
            size_kind, flags, stream_id = unpack_head(data, 0)
            size = size_kind >> 8
            found.append(Sent(size_kind & 0xFF, flags, stream_id, data[9 : 9 + size]))
            data = data[9 + size :]
        return found

    def fields(self, sent: Sent) -> dict[str, str]:
        return dict(self.decoder.decode(sent.payload))


@pytest.fixture
def case() -> Iterator[Case]:
    case = Case()
    yield case
    case.connection.abandon()
    case.loop.close()


class TestAnswers:
    def test_a_whole_one_ends_with_its_data(self, case: Case) -> None:
        case.ask(1, "/now", end=END_STREAM)
        head, data, end = case.sent()
        fields = case.fields(head)
        assert fields.pop("date").endswith(" GMT")
        assert fields == {":status": "200", "content-type": "a/b", "content-length": "3"}
        assert (data.payload, end.kind, end.payload, end.ends) == (b"now", DATA, b"", True)
        assert not case.connection.streams

    def test_head_never_gets_data(self, case: Case) -> None:
        case.ask(1, "/now", method="HEAD", end=END_STREAM)
        case.ask(3, "/watch", method="HEAD", end=END_STREAM)
        answer = case.site.handlers[0].answer
        answer.start(200, ())
        answer.send(b"x")
        answer.finish()
        first, second = case.sent()
        assert (first.kind, first.ends, second.kind, second.ends) == (HEADERS, True, HEADERS, True)

    def test_a_stream_sends_its_head_with_its_first_message(self, case: Case) -> None:
        case.ask(1, "/watch", end=0)
        answer = case.site.handlers[0].answer
        answer.start(200, ())
        assert case.sent() == []
        answer.send(b"one")
        answer.send(b"two")
        answer.finish()
        assert [each.payload for each in case.sent()[1:]] == [b"one", b"two", b""]

    def test_a_stream_without_messages_is_a_head(self, case: Case) -> None:
        case.ask(1, "/watch", end=END_STREAM)
        case.site.handlers[0].answer.start(200, ())
        case.site.handlers[0].answer.finish()
        (head,) = case.sent()
        assert head.ends

    def test_trailers_that_are_announced_come(self, case: Case) -> None:
        case.ask(1, "/kept", end=END_STREAM)
        named = [("Trailer", "Grpc-Trailer-Content-Type")]
        case.site.handlers[0].answer.reply(400, named, b"x", trailed=True)
        *_, end = case.sent()
        assert (end.kind, end.ends) == (HEADERS, True)
        assert case.fields(end) == {"grpc-trailer-content-type": "application/grpc"}

    def test_none_come_when_none_are_announced(self, case: Case) -> None:
        """A client that takes them would be given a frame with none in it."""
        case.ask(1, "/kept", end=END_STREAM)
        case.site.handlers[0].answer.reply(200, (), b"x", trailed=True)
        assert [frame.kind for frame in case.sent()] == [HEADERS, DATA, DATA]

    def test_fields_that_no_frame_holds_are_an_answer_of_their_own(self, case: Case) -> None:
        case.ask(1, f"/moved?{'x' * 10_000}", end=END_STREAM)
        assert case.fields(case.sent()[0])[":status"] == "414"

    def test_a_bug_in_the_site_costs_one_stream(
        self, case: Case, caplog: pytest.LogCaptureFixture
    ) -> None:
        case.ask(1, "/broken", end=END_STREAM)
        head, data, _ = case.sent()
        assert (case.fields(head)[":status"], data.payload) == ("500", b"internal error\n")
        assert "POST /broken failed" in caplog.text

    def test_a_client_that_waits_is_told_to_go_on(self, case: Case) -> None:
        case.ask(1, "/kept", (b"expect", b"100-continue"), end=0)
        (go_on,) = case.sent()
        assert (case.fields(go_on), go_on.ends) == ({":status": "100"}, False)

    def test_calls_are_not_the_sites(self, case: Case) -> None:
        case.ask(1, "/now", (b"content-type", b"application/grpc+proto"), end=END_STREAM)
        assert case.fields(case.sent()[0])["grpc-status"] == "12"

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "nowhere"),
            ("GET", "/%zz"),
            ("GET", "/\x7f"),
            ("GET", "https://host/now"),
            ("CONNECT", "/now"),
        ],
    )
    def test_what_has_no_target_is_reset(self, case: Case, method: str, path: str) -> None:
        case.ask(1, path, method=method, end=END_STREAM)
        (reset,) = case.sent()
        assert reset.kind == RST_STREAM

    def test_a_name_of_a_user_before_the_host_is_reset(self, case: Case) -> None:
        """As in a field `Host` of HTTP/1.1, and by etcd."""
        fields = [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":path", b"/now"),
            (b":authority", b"user@host"),
        ]
        case.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, encode_fields(fields)))
        (reset,) = case.sent()
        assert reset.kind == RST_STREAM

    def test_a_timeout_reaches_the_site(self, case: Case) -> None:
        for stream_id, text in ((1, b"1S"), (3, b"2S")):
            case.ask(stream_id, "/kept", (b"grpc-timeout", text), end=0)
        found = [handler.answer.request.field("grpc-timeout") for handler in case.site.handlers]
        assert found == ["1S", "2S"]


class TestBodies:
    def test_a_body_comes_as_it_arrives_and_its_window_is_given_back(self, case: Case) -> None:
        case.ask(1, "/watch", end=0)
        case.receive(frame(DATA, 0, 1, b"x" * 16_000) * 9)
        (handler,) = case.site.handlers
        assert sum(handler.told) == 9 * 16_000
        assert [each.kind for each in case.sent()] == [WINDOW_UPDATE]
        case.receive(frame(DATA, END_STREAM, 1, b""))
        assert handler.told[-1] == "end"

    def test_a_handler_that_is_backed_up_stops_its_client(self, case: Case) -> None:
        case.ask(1, "/watch", end=0)
        (handler,) = case.site.handlers
        handler.is_backed_up = True
        case.receive(frame(DATA, 0, 1, b"x" * 16_000) * (WINDOW // 16_000))
        assert handler.told == []
        handler.is_backed_up = False
        handler.answer.resume()
        case.turn()
        assert sum(size for size in handler.told if isinstance(size, int)) > WINDOW - 16_000

    def test_unfinished_bodies_count_with_those_of_calls(self, case: Case) -> None:
        streams = range(1, 2 * (MOST_BYTES // WINDOW + 20), 2)
        for stream_id in streams:
            case.turn()
            case.ask(stream_id, "/kept", end=0)
            case.receive(frame(DATA, 0, stream_id, b"x" * 16_000) * (WINDOW // 16_000))
        assert case.connection.is_closed
        sent = case.sent()
        before = sent[: [each.kind for each in sent].index(GOAWAY)]
        given = [each for each in before if each.kind == WINDOW_UPDATE and each.stream_id]
        assert len(given) <= MUCH_BYTES // (WINDOW // 2) + 1

    def test_long_streams_are_not_hoarded(self, case: Case) -> None:
        case.ask(1, "/watch", end=0)
        for _ in range(2 * MOST_BYTES // 160_000):
            case.receive(frame(DATA, 0, 1, b"x" * 16_000) * 10)
            case.connection.out.clear()
            case.site.handlers[0].told.clear()
        assert not case.connection.is_closed

    def test_requests_wait_while_answers_are_not_taken(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backlog, "FULL_BYTES", 100_000)
        case.ask(1, "/kept", end=END_STREAM)
        case.site.handlers[0].answer.reply(200, (), b"x" * 200_000)
        case.ask(3, "/kept", end=END_STREAM)
        assert len(case.site.handlers) == 1
        case.receive(frame(WINDOW_UPDATE, 0, 0, (1 << 20).to_bytes(4, "big")))
        case.receive(frame(WINDOW_UPDATE, 0, 1, (1 << 20).to_bytes(4, "big")))
        case.turn()
        assert case.site.handlers[1].told == ["end"]


class TestAnswersBeforeTheEndOfTheBody:
    """curl loses an answer that a reset follows while it still has something to send."""

    def test_a_short_rest_is_taken_and_the_stream_not_reset(self, case: Case) -> None:
        case.ask(1, "/now", end=0)
        assert [each.kind for each in case.sent()] == [HEADERS, DATA, DATA]
        case.receive(frame(DATA, 0, 1, b"x" * 16_000) * 4)
        assert len(case.connection.streams) == 1
        case.receive(frame(DATA, END_STREAM, 1, b"x"))
        assert not case.connection.streams
        assert case.sent() == []

    def test_trailers_end_it_as_well(self, case: Case) -> None:
        case.ask(1, "/now", end=0)
        case.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, encode_fields([(b"x", b"y")])))
        assert not case.connection.streams
        assert [each.kind for each in case.sent()] == [HEADERS, DATA, DATA]

    def test_a_client_that_goes_on_is_stopped(self, case: Case) -> None:
        case.ask(1, "/now", end=0)
        case.sent()
        case.receive(frame(DATA, 0, 1, b"x" * 16_000) * (WINDOW // 16_000))
        (reset,) = case.sent()
        assert reset.payload == int(ErrorCode.NO_ERROR).to_bytes(4, "big")
        assert not case.connection.streams

    @pytest.mark.parametrize("is_answered", [True, False])
    def test_the_end_of_the_server_does_not_wait_for_it(
        self, case: Case, is_answered: bool
    ) -> None:
        case.ask(1, "/now" if is_answered else "/kept", end=0)
        case.calls.drain()
        if not is_answered:
            case.site.handlers[0].answer.reply(200, (), b"x")
        case.ask(3, "/now", end=0)
        assert [each.kind for each in case.sent()].count(RST_STREAM) == 2
        assert not case.connection.streams

    def test_its_body_has_to_be_as_long_as_it_said(self, case: Case) -> None:
        case.ask(1, "/now", (b"content-length", b"3"), end=0)
        case.receive(frame(DATA, END_STREAM, 1, b"xxxx"))
        assert case.sent()[-1].payload == int(ErrorCode.PROTOCOL_ERROR).to_bytes(4, "big")
        assert not case.connection.streams


class TestTurns:
    def test_a_few_requests_begin_in_a_turn(self, case: Case) -> None:
        for number in range(TURN * 3):
            case.ask(2 * number + 1, "/kept", end=END_STREAM)
        counts = [len(case.site.handlers)]
        while counts[-1] < TURN * 3:
            case.turn()
            counts.append(len(case.site.handlers))
        assert counts == [TURN, 2 * TURN, 3 * TURN]
        assert all(handler.told == ["end"] for handler in case.site.handlers)
        case.turn()
        case.ask(1001, "/now", end=END_STREAM)
        assert case.fields(case.sent()[0])[":status"] == "200"

    def test_bodies_of_those_that_wait_are_kept(self, case: Case) -> None:
        for number in range(TURN):
            case.ask(2 * number + 1, "/now", end=END_STREAM)
        case.ask(101, "/kept", end=0)
        case.receive(frame(DATA, 0, 101, b"x" * 5) + frame(DATA, END_STREAM, 101, b"y" * 5))
        assert case.site.handlers == []
        case.turn()
        assert case.site.handlers[0].told == [10, "end"]

    def test_too_many_that_wait_are_refused(self, case: Case) -> None:
        for number in range(TURN + backlog.WAITING_CALLS + 1):
            case.ask(2 * number + 1, "/now", end=END_STREAM)
        assert case.sent()[-1].payload == int(ErrorCode.REFUSED_STREAM).to_bytes(4, "big")
        assert len(case.connection.streams) == backlog.WAITING_CALLS
        for _ in range(backlog.WAITING_CALLS // TURN + 1):
            case.turn()
        assert not case.connection.streams

    def test_a_request_that_is_reset_in_line_never_begins(self, case: Case) -> None:
        for number in range(TURN):
            case.ask(2 * number + 1, "/now", end=END_STREAM)
        case.ask(101, "/kept", end=END_STREAM)
        case.receive(frame(RST_STREAM, 0, 101, bytes(4)))
        case.turn()
        assert case.site.handlers == []


class TestBackPressure:
    def test_a_stream_waits_for_the_window_of_its_client(self, case: Case) -> None:
        case.ask(1, "/watch", end=END_STREAM)
        (handler,) = case.site.handlers
        handler.answer.start(200, ())
        handler.answer.send(b"x" * 65_535)
        assert not handler.answer.is_congested
        handler.answer.send(b"y" * 1000)
        assert handler.answer.is_congested
        handler.told.clear()
        case.receive(frame(WINDOW_UPDATE, 0, 0, (1000).to_bytes(4, "big")))
        assert (handler.answer.is_congested, handler.told) == (True, [])
        case.receive(frame(WINDOW_UPDATE, 0, 1, (1000).to_bytes(4, "big")))
        assert (handler.answer.is_congested, handler.told) == (False, ["writable"])


class TestTheEnd:
    def test_a_reset_cancels(self, case: Case) -> None:
        case.ask(1, "/watch", end=0)
        case.receive(frame(RST_STREAM, 0, 1, bytes(4)))
        (handler,) = case.site.handlers
        assert handler.told == ["cancel"]
        handler.answer.reply(200, (), b"late")
        assert case.sent() == []

    def test_a_lost_connection_cancels(self, case: Case) -> None:
        case.ask(1, "/watch", end=END_STREAM)
        case.connection.abandon()
        assert case.site.handlers[0].told == ["end", "cancel"]

    def test_a_stream_is_asked_to_end_with_the_server(self, case: Case) -> None:
        case.ask(1, "/watch", end=END_STREAM)
        case.calls.drain()
        assert case.site.handlers[0].told == ["end", "drain"]

    @pytest.mark.parametrize("end", ["reply", "reset"])
    def test_a_request_is_freed_with_its_stream(self, case: Case, end: str) -> None:
        case.ask(1, "/kept", end=END_STREAM)
        freed = weakref.ref(case.site.handlers[0])
        gc.disable()
        try:
            if end == "reply":
                case.site.handlers[0].answer.reply(200, (), b"x")
            else:
                case.receive(frame(RST_STREAM, 0, 1, bytes(4)))
            case.site.handlers.clear()
            assert freed() is None
        finally:
            gc.enable()
