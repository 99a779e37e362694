"""One connection: the order of answers, what ends it, and what hostile clients cost."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from kvstore.server.config import parse_config
from kvstore.server.transports.http1 import connection as module
from kvstore.server.transports.http1.connection import DISCARD_BYTES, Http1Connection
from kvstore.server.transports.native.sniffer import Sniffer
from kvstore.server.transports.web.messages import Answer
from tests.support.http_site import HttpSite, get, post


class Plain:
    """A handler that keeps what it is told."""

    is_backed_up = False

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.told: list[object] = []

    def data(self, data: bytes) -> None:
        self.told.append(data)

    def end(self, fault: str = "") -> None:
        self.told.append(("end", fault))

    def hang_up(self) -> None:
        self.told.append("hang up")

    def cancel(self) -> None:
        self.told.append("cancel")

    def drain(self) -> None:
        self.told.append("drain")

    def writable(self) -> None:
        self.told.append("writable")


class Waiting:
    """A site whose answers are given by the test."""

    def __init__(self) -> None:
        self.handlers: list[Plain] = []

    def begin(self, answer: Answer) -> Plain | None:
        if answer.request.path == "/now":
            answer.reply(200, (), b"now")
            return None
        if answer.request.path == "/broken":
            raise RuntimeError("a bug")
        self.handlers.append(Plain(answer))
        return self.handlers[-1]


class FakeTransport(asyncio.Transport):
    """Keeps what is written; `is_open` until it is closed or aborted."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_open, self.is_reading, self.has_eof = True, True, False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 5) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_eof = True

    def is_closing(self) -> bool:
        return not self.is_open

    def close(self) -> None:
        self.is_open = False

    abort = close

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class Case:
    """A connection over a transport in memory, on a loop that runs only when told to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.site = Waiting()
        self.transport = FakeTransport()
        self.connections: set[Http1Connection] = set()
        self.connection = Http1Connection(self.site, self.connections)
        self.do(lambda: self.connection.connection_made(self.transport))

    def do(self, function: Callable[[], object]) -> None:
        """Run it on the loop, and what it brought about."""

        async def work() -> None:
            function()
            for _ in range(3):
                await asyncio.sleep(0)

        self.loop.run_until_complete(work())

    def receive(self, data: bytes) -> None:
        self.do(lambda: self.connection.data_received(data))

    def paths(self) -> list[str]:
        return [handler.answer.request.path for handler in self.site.handlers]


@pytest.fixture
def case() -> Iterator[Case]:
    case = Case()
    yield case
    case.do(lambda: case.connection.connection_lost(None))
    assert not case.connections
    case.loop.close()


class TestOrder:
    def test_pipelined_requests_begin_one_after_the_other(self, case: Case) -> None:
        case.receive(get("/a") + get("/b") + get("/now"))
        assert case.paths() == ["/a"]
        case.do(lambda: case.site.handlers[0].answer.reply(200, (), b"A"))
        assert case.paths() == ["/a", "/b"]
        case.do(lambda: case.site.handlers[1].answer.reply(200, (), b"B"))
        assert [part[-1:] for part in case.transport.written.split(b"HTTP/1.1 200 OK")[1:]] == [
            b"A",
            b"B",
            b"w",
        ]
        assert case.transport.is_open

    def test_what_is_pipelined_meanwhile_is_bounded(self, case: Case) -> None:
        case.receive(get("/a"))
        case.receive(get("/b") * 5000)
        assert not case.transport.is_reading
        case.do(lambda: case.site.handlers[0].answer.reply(200, (), b""))
        assert case.paths() == ["/a", "/b"]

    def test_pipelined_requests_share_the_loop(self, case: Case) -> None:
        begun: list[int] = []

        def answered() -> int:
            return case.transport.written.count(b"200 OK")

        async def work() -> None:
            case.connection.data_received(get("/now") * 100)
            while answered() < 100:
                begun.append(answered())
                await asyncio.sleep(0)

        case.loop.run_until_complete(work())
        each = module.TURN // module.REQUEST_COST
        assert begun == list(range(each, 100, each))
        assert case.transport.is_open

    def test_small_chunks_share_the_loop(self, case: Case) -> None:
        case.receive(get("/a", "Transfer-Encoding: chunked", method="POST"))
        (handler,) = case.site.handlers

        async def work() -> None:
            case.connection.data_received(b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
            assert len(handler.told) == module.TURN
            while ("end", "") not in handler.told:  # noqa: ASYNC110  # turns are counted
                await asyncio.sleep(0)

        case.loop.run_until_complete(work())
        assert len(handler.told) == 1001

    def test_what_came_before_a_half_close_is_answered_in_later_turns(self, case: Case) -> None:
        case.do(lambda: case.connection.data_received(get("/now") * 20))
        case.do(case.connection.eof_received)
        for _ in range(10):
            case.do(lambda: None)
        assert case.transport.written.count(b"200 OK") == 20
        assert not case.transport.is_open

    def test_nothing_is_begun_while_the_client_does_not_read(self, case: Case) -> None:
        case.do(case.connection.pause_writing)
        assert not case.transport.is_reading
        case.receive(get("/now") + get("/now"))
        assert case.transport.written == b""
        case.do(case.connection.resume_writing)
        assert case.transport.written.count(b"200 OK") == 2
        assert case.transport.is_reading

    def test_a_stream_is_told_when_the_client_reads_again(self, case: Case) -> None:
        case.receive(get("/a"))
        case.do(case.connection.pause_writing)
        assert case.site.handlers[0].answer.is_congested
        case.do(case.connection.resume_writing)
        assert case.site.handlers[0].told == [("end", ""), "writable"]

    def test_a_handler_that_is_backed_up_gets_no_more(self, case: Case) -> None:
        case.receive(post("/a", b"x" * 10)[:-5])
        handler = case.site.handlers[0]
        handler.is_backed_up = True
        case.receive(b"x" * 5)
        assert handler.told == [b"xxxxx"]
        handler.is_backed_up = False
        case.do(handler.answer.resume)
        assert handler.told == [b"xxxxx", b"xxxxx", ("end", "")]

    def test_a_body_comes_as_it_arrives(self, case: Case) -> None:
        case.receive(get("/a", "Transfer-Encoding: chunked", method="POST"))
        for piece in (b"1\r\nx", b"\r\n2\r\nyz\r\n", b"0\r\n\r\n"):
            case.receive(piece)
        assert case.site.handlers[0].told == [b"x", b"yz", ("end", "")]


class TestAnswers:
    def test_a_long_answer_is_chunked_and_a_short_one_is_not(self, case: Case) -> None:
        for size in (2048, 2049):
            case.receive(get("/a"))
            answer = case.site.handlers[-1].answer
            case.do(lambda answer=answer, size=size: answer.reply(200, (), b"x" * size))
        first, second = case.transport.written.split(b"HTTP/1.1 ")[1:]
        assert b"\r\nContent-Length: 2048\r\n" in first
        assert b"\r\nTransfer-Encoding: chunked\r\n\r\n801\r\n" in second
        assert second.endswith(b"x\r\n0\r\n\r\n")

    def test_each_send_is_one_chunk(self, case: Case) -> None:
        case.receive(get("/a"))
        answer = case.site.handlers[0].answer
        case.do(lambda: answer.start(200, [("Content-Type", "a/b")]))
        for data in (b"one\n", b"another\n"):
            case.do(lambda data=data: answer.send(data))
        case.do(answer.finish)
        assert case.transport.written.endswith(b"\r\n\r\n4\r\none\n\r\n8\r\nanother\n\r\n0\r\n\r\n")

    def test_head_has_the_length_and_no_body(self, case: Case) -> None:
        case.receive(get("/now", method="HEAD"))
        head, end, body = case.transport.written.partition(b"\r\n\r\n")
        assert b"Content-Length: 3" in head
        assert (end, body) == (b"\r\n\r\n", b"")

    def test_http_1_0_gets_no_chunks_and_the_end_of_the_connection(self, case: Case) -> None:
        case.receive(get("/a", version="1.0"))
        answer = case.site.handlers[0].answer
        case.do(lambda: (answer.start(200, ()), answer.send(b"x\n"), answer.finish()))
        assert case.transport.written.startswith(b"HTTP/1.0 200 OK\r\nDate: ")
        assert case.transport.written.endswith(b" GMT\r\n\r\nx\n")
        assert not case.transport.is_open

    def test_http_1_0_may_be_kept_alive(self, case: Case) -> None:
        case.receive(get("/now", "Connection: keep-alive", version="1.0"))
        assert b"Connection: keep-alive\r\n" in case.transport.written
        assert case.transport.is_open

    def test_a_request_to_close_is_granted(self, case: Case) -> None:
        case.receive(get("/now", "Connection: close"))
        assert b"Connection: close\r\n" in case.transport.written
        assert not case.transport.is_open

    def test_a_client_that_waits_for_it_is_told_to_go_on(self, case: Case) -> None:
        case.receive(post("/a", b"x", "Expect: 100-continue")[:-1])
        assert case.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
        case.receive(b"x")
        assert case.site.handlers[0].told == [b"x", ("end", "")]

    def test_a_client_that_waits_is_not_told_to_go_on_when_it_is_refused(self, case: Case) -> None:
        case.receive(post("/now", b"x", "Expect: 100-continue")[:-1])
        assert b"100 Continue" not in case.transport.written
        assert b"Connection: close\r\n" in case.transport.written
        assert case.transport.has_eof

    def test_any_other_expectation_fails(self, case: Case) -> None:
        case.receive(get("/now", "Expect: more"))
        assert case.transport.written.startswith(b"HTTP/1.1 417 Expectation Failed\r\n")
        assert not case.transport.is_open

    def test_a_bug_in_the_site_costs_one_connection(
        self, case: Case, caplog: pytest.LogCaptureFixture
    ) -> None:
        case.receive(get("/broken"))
        assert case.transport.written.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert b"a bug" not in case.transport.written
        assert not case.transport.is_open
        assert "GET /broken failed" in caplog.text


class TestTheEnd:
    def test_an_idle_connection_drains_at_once(self, case: Case) -> None:
        case.receive(get("/now"))
        case.do(case.connection.drain)
        assert not case.transport.is_open

    def test_a_request_in_flight_is_finished_first(self, case: Case) -> None:
        case.receive(get("/a"))
        case.do(case.connection.drain)
        handler = case.site.handlers[0]
        assert case.transport.is_open
        assert handler.told == [("end", ""), "drain"]
        case.do(lambda: handler.answer.reply(200, (), b"done"))
        assert b"Connection: close\r\n" in case.transport.written
        assert case.transport.written.endswith(b"done")
        assert not case.transport.is_open

    def test_a_handler_is_told_when_the_client_is_gone(self, case: Case) -> None:
        case.receive(get("/a"))
        case.do(lambda: case.connection.connection_lost(None))
        handler = case.site.handlers[0]
        assert handler.told == [("end", ""), "cancel"]
        case.do(lambda: handler.answer.reply(200, (), b"late"))
        assert case.transport.written == b""

    def test_a_half_closed_client_gets_what_it_asked_for(self, case: Case) -> None:
        case.receive(get("/a") + get("/now"))
        case.do(case.connection.eof_received)
        handler = case.site.handlers[0]
        assert handler.told == [("end", ""), "hang up"]
        case.do(lambda: handler.answer.reply(200, (), b"A"))
        assert case.transport.written.endswith(b"now")
        assert not case.transport.is_open

    def test_a_body_that_is_cut_off_is_not_whole(self, case: Case) -> None:
        case.receive(post("/a", b"xy")[:-1])
        case.do(case.connection.eof_received)
        handler = case.site.handlers[0]
        assert handler.told == [b"x", ("end", "unexpected EOF"), "hang up"]
        case.do(lambda: handler.answer.reply(400, (), b"cut"))
        assert not case.transport.is_open

    @pytest.mark.parametrize("missing", [0, 1])
    def test_a_half_close_reaches_a_request_that_begins_later(
        self, case: Case, missing: int
    ) -> None:
        whole = post("/b", b"xy")
        case.receive(get("/a") + whole[: len(whole) - missing])
        case.do(case.connection.eof_received)
        case.do(lambda: case.site.handlers[0].answer.reply(200, (), b"A"))
        handler = case.site.handlers[1]
        assert handler.told[-1] == "hang up"
        assert handler.told[-2] == ("end", "unexpected EOF" if missing else "")
        case.do(lambda: handler.answer.reply(200, (), b"B"))
        assert not case.transport.is_open

    def test_what_is_parsed_in_later_turns_is_not_cut_off(self, case: Case) -> None:
        case.receive(get("/a", "Transfer-Encoding: chunked", method="POST"))
        (handler,) = case.site.handlers

        async def work() -> None:
            case.connection.data_received(b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
            case.connection.eof_received()
            for _ in range(1000 // module.TURN + 2):
                await asyncio.sleep(0)

        case.loop.run_until_complete(work())
        assert handler.told[-2:] == [("end", ""), "hang up"]
        assert len(handler.told) == 1002

    def test_a_malformed_chunk_cuts_the_body_off(self, case: Case) -> None:
        case.receive(get("/a", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n\r\n")
        handler = case.site.handlers[0]
        assert handler.told == [("end", "invalid byte in chunk length")]
        case.do(lambda: handler.answer.reply(400, (), b"cut"))
        assert b"Connection: close\r\n" in case.transport.written

    def test_the_rest_of_a_body_is_read_after_its_answer(self, case: Case) -> None:
        case.receive(post("/now", b"x" * 100_000)[:-50_000])
        case.receive(b"x" * 50_000 + get("/now"))
        assert case.transport.written.count(b"200 OK") == 2
        assert case.transport.is_open

    def test_a_body_that_is_cut_off_after_its_answer_ends_the_connection(self, case: Case) -> None:
        case.receive(post("/now", b"xy")[:-1])
        case.do(case.connection.eof_received)
        assert not case.transport.is_open

    def test_a_body_that_goes_on_after_its_answer_is_cut_off(self, case: Case) -> None:
        case.receive(get("/now", "Content-Length: 99999999", method="POST"))
        for _ in range(DISCARD_BYTES // 50_000 + 1):
            assert not case.transport.has_eof
            case.receive(b"x" * 50_000)
        assert case.transport.has_eof


class TestBehindTheSniffer:
    def test_the_first_bytes_that_it_has_seen_are_not_lost(self) -> None:
        async def work() -> bytes:
            loop = asyncio.get_running_loop()
            site, connections = Waiting(), set[Http1Connection]()

            def sniffer() -> Sniffer:
                return Sniffer(None, lambda: Http1Connection(site, connections), set(), loop)

            server = await loop.create_server(sniffer, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            request = get("/now", "Connection: close")
            writer.write(request[:2])
            await writer.drain()
            writer.write(request[2:])
            said = await reader.read()
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()
            assert not connections
            return said

        assert asyncio.run(work()).endswith(b"\r\n\r\nnow")


class TestHostileClients:
    """Over real sockets: each costs only its own connection."""

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
            b"\0" * 5000,
            b"hello\r\n\r\n",
        ],
    )
    def test_garbage_is_a_bad_request(self, site: HttpSite, garbage: bytes) -> None:
        with site.wire() as wire:
            wire.send(garbage)
            assert wire.rest() == (
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
                b"Connection: close\r\n\r\n400 Bad Request"
            )
        assert site.ask(get("/version"))[0].startswith(b"HTTP/1.1 200")

    def test_a_head_that_takes_too_long_is_not_waited_for(self) -> None:
        site = HttpSite(parse_config([]), head_timeout_s=0.05)
        try:
            with site.wire() as idle, site.wire() as slow:
                idle.send(get("/version"))
                idle.answer()
                slow.send(b"GET / HTTP/1.1\r\nHo")
                assert slow.rest() == b""
                idle.send(get("/version"))
                assert idle.answer()[0].startswith(b"HTTP/1.1 200")
        finally:
            site.close()

    def test_a_client_that_does_not_read_holds_bounded_memory(self, site: HttpSite) -> None:
        value = "eHh4" * 30_000
        assert b"200" in site.ask(post("/v3/kv/put", f'{{"key":"YQ==","value":"{value}"}}'))[0]
        request = post("/v3/kv/range", '{"key":"YQ=="}')
        with site.wire() as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.socket.settimeout(0.3)
            sent = _send_until_full(wire.socket, request * 100)
            _until(lambda: len(site.connections) == 1)  # that of the put is gone
            (connection,) = site.connections
            held = site.call(lambda: connection._transport.get_write_buffer_size())
            assert held < module.WRITE_HIGH_BYTES + 2 * len(value)
            assert len(connection._unread) < 512 * 1024
            served = site.stats.methods["/etcdserverpb.KV/Range"].started
            assert served < sent // len(request)
            assert site.ask(get("/health"))[0].startswith(b"HTTP/1.1 200")

    def test_a_drip_of_single_bytes_is_a_request_in_the_end(self, site: HttpSite) -> None:
        with site.wire() as wire:
            wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in post("/v3/kv/range", '{"key":"YQ=="}'):
                wire.send(bytes((byte,)))
            assert wire.answer()[0].startswith(b"HTTP/1.1 200")

    def test_a_client_that_resets_leaves_nothing(self, site: HttpSite) -> None:
        with site.wire() as wire:
            wire.send(post("/v3/watch", '{"create_request":{"key":"YQ=="}}'))
            wire.until(b'"created":true}}\n\r\n')
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        _until(lambda: not site.connections)
        assert site.stats.http1_connections == 0
        _until(lambda: site.call(lambda: site.store.status().watchers) == 0)


def _send_until_full(to: socket.socket, data: bytes) -> int:
    """Send until nothing is taken for the timeout of the socket; returns how many bytes were."""
    sent = 0
    try:
        while True:
            sent += to.send(data)
    except TimeoutError:
        return sent


def _until(is_so: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline_monotonic_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_monotonic_s
        time.sleep(0.005)
