"""The client against a server that does what HTTP/2 allows and more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from kvstore.bench.awaited import CallFailed, MessageStream, unary
from kvstore.bench.blocks import Status
from kvstore.bench.endpoint import Tls, parse_endpoint
from kvstore.bench.http2 import Connection, Method
from kvstore.bench.loop import CallLoop
from kvstore.bench.pace import Pace
from kvstore.bench.recorder import Operation
from tests.bench_tool.fake_server import (
    DATA,
    HEADERS,
    PING,
    WINDOW_UPDATE,
    FakeConnection,
    FakeServer,
    frame,
    serving,
)

ECHO = Method("/test.Service/Echo")


def ok(connection: FakeConnection, stream: int) -> None:
    connection.ok(stream, b"answer")


def run(server: FakeServer, use: Callable[[Connection], Awaitable[None]], **options: int) -> None:
    async def main() -> None:
        connection = Connection(parse_endpoint(server.target, Tls()), **options)  # type: ignore[arg-type]
        async with asyncio.timeout(20):
            await connection.connect()
            try:
                await use(connection)
            finally:
                connection.close()
                await asyncio.sleep(0)

    asyncio.run(main())


async def failure(connection: Connection, message: bytes = b"") -> Status:
    with pytest.raises(CallFailed) as caught:
        await unary(connection, ECHO, message)
    return caught.value.status


class TestUnary:
    def test_the_answer_is_the_message_without_its_prefix(self) -> None:
        async def use(connection: Connection) -> None:
            assert await unary(connection, ECHO, b"question") == b"answer"

        with serving(ok) as server:
            run(server, use)
            assert server.connections[0].bodies[1] == b"\x00\x00\x00\x00\x08question"
            assert server.fields[0][":path"] == ECHO.path
            assert server.fields[0]["te"] == "trailers"

    def test_header_blocks_shrink_to_indexes(self) -> None:
        async def use(connection: Connection) -> None:
            for _ in range(5):
                await unary(connection, ECHO, b"")

        with serving(ok) as server:
            run(server, use)
            sizes = [len(each[3]) for each in server.connections[0].frames if each[0] == HEADERS]
            assert sizes[0] > 60
            assert max(sizes[1:]) <= 8
            assert [each[":path"] for each in server.fields] == [ECHO.path] * 5

    def test_a_server_without_a_table_gets_what_it_can_read(self) -> None:
        async def use(connection: Connection) -> None:
            for _ in range(3):
                await unary(connection, ECHO, b"")

        with serving(ok, {1: 0}) as server:
            run(server, use)
            assert [each[":path"] for each in server.fields] == [ECHO.path] * 3

    def test_a_status_is_known_by_its_code_and_text(self) -> None:
        def answer(connection: FakeConnection, stream: int) -> None:
            connection.error(stream, 11, "etcdserver: mvcc: 100%25 gone")

        async def use(connection: Connection) -> None:
            expected = Status("OutOfRange", "etcdserver: mvcc: 100% gone")
            assert [await failure(connection) for _ in range(3)] == [expected] * 3

        with serving(answer) as server:
            run(server, use)

    def test_texts_that_change_the_table_are_each_understood(self) -> None:
        def answer(connection: FakeConnection, stream: int) -> None:
            if stream % 4 == 1:
                connection.ok(stream, b"%d" % stream)
            else:
                connection.error(stream, 5, f"number {stream}")

        async def use(connection: Connection) -> None:
            for number in range(200):
                stream = 2 * number + 1
                if stream % 4 == 1:
                    assert await unary(connection, ECHO, b"") == b"%d" % stream
                else:
                    assert await failure(connection) == Status("NotFound", f"number {stream}")

        with serving(answer) as server:
            run(server, use)

    def test_an_answer_of_a_web_server_is_an_error(self) -> None:
        def answer(connection: FakeConnection, stream: int) -> None:
            connection.headers(stream, [(":status", "503"), ("content-type", "text/html")])
            connection.data(stream, b"<html>")
            connection.unsent.append((stream, b""))
            connection.send_unsent()

        async def use(connection: Connection) -> None:
            assert await failure(connection) == Status("Unavailable", "HTTP status 503")

        with serving(answer) as server:
            run(server, use)

    def test_a_stream_that_is_reset_is_an_error(self) -> None:
        async def use(connection: Connection) -> None:
            status = await failure(connection)
            assert status == Status("Unavailable", "the server reset the stream (REFUSED_STREAM)")

        with serving(lambda connection, stream: connection.reset(stream, 7)) as server:
            run(server, use)

    def test_calls_wait_for_their_turn_when_the_server_takes_few_at_once(self) -> None:
        open_at_once = []

        def answer(connection: FakeConnection, stream: int) -> None:
            begun = len([each for each in connection.frames if each[0] == HEADERS])
            open_at_once.append(begun - connection.server.requests + 1)
            ok(connection, stream)

        async def use(connection: Connection) -> None:
            answers = await asyncio.gather(*(unary(connection, ECHO, b"") for _ in range(20)))
            assert answers == [b"answer"] * 20

        with serving(answer, {3: 2}) as server:
            run(server, use)
            assert server.requests == 20
            assert max(open_at_once) <= 2


class TestFlowControl:
    def test_a_large_answer_comes_through_small_windows(self) -> None:
        large = bytes(range(256)) * 4096

        async def use(connection: Connection) -> None:
            assert await unary(connection, ECHO, b"") == large

        with serving(lambda connection, stream: connection.ok(stream, large)) as server:
            run(server, use, window_bytes=65_535)
            updates = [each for each in server.connections[0].frames if each[0] == WINDOW_UPDATE]
            assert len([each for each in updates if each[2] == 1]) > 10

    def test_a_large_request_waits_for_the_windows_of_the_server(self) -> None:
        large = bytes(200_000)
        sizes: list[int] = []

        def answer(connection: FakeConnection, stream: int) -> None:
            sizes.append(len(connection.bodies[stream]))
            ok(connection, stream)

        class Stingy(FakeConnection):
            """Gives back what it got only when all of the windows is used up."""

            def take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
                super().take(kind, flags, stream, payload)
                if kind == DATA and not flags & 1 and len(self.bodies[stream]) % 65_535 == 0:
                    for which in (0, stream):
                        self.send(frame(WINDOW_UPDATE, 0, which, (65_535).to_bytes(4, "big")))

        async def use(connection: Connection) -> None:
            assert await unary(connection, ECHO, large) == b"answer"

        with serving(answer, connection=Stingy) as server:
            run(server, use)
            assert sizes == [len(large) + 5]
            frames = [len(each[3]) for each in server.connections[0].frames if each[0] == DATA]
            assert max(frames) <= 16_384

    def test_many_small_requests_stay_within_the_window_of_the_connection(self) -> None:
        left: list[int] = [65_535]

        class Counting(FakeConnection):
            """Gives back what it got when little is left."""

            def take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
                if kind == DATA:
                    left.append(left[-1] - len(payload))
                super().take(kind, flags, stream, payload)

            def credit(self, stream: int) -> None:
                if left[-1] < 2_000:
                    self.send(frame(WINDOW_UPDATE, 0, 0, (60_000).to_bytes(4, "big")))
                    left.append(left[-1] + 60_000)

        async def use(connection: Connection) -> None:
            calls = (unary(connection, ECHO, bytes(1000)) for _ in range(300))
            assert await asyncio.gather(*calls) == [b"answer"] * 300

        with serving(ok, connection=Counting) as server:
            run(server, use)
            assert min(left) >= 0

    def test_pings_are_answered_with_their_payload(self) -> None:
        def answer(connection: FakeConnection, stream: int) -> None:
            connection.send(frame(PING, 0, 0, b"12345678"))
            ok(connection, stream)

        async def use(connection: Connection) -> None:
            await unary(connection, ECHO, b"")
            await unary(connection, ECHO, b"")

        with serving(answer) as server:
            run(server, use)
            acks = [each for each in server.connections[0].frames if each[:2] == (PING, 1)]
            assert acks[0][3] == b"12345678"


class TestStreams:
    def test_messages_are_cut_out_of_frames(self) -> None:
        messages = [b"a" * 5, b"", b"b" * 40_000, b"c"]
        heard: list[bytes] = []

        async def use(connection: Connection) -> None:
            stream = MessageStream(heard.append)
            connection.call(stream, ECHO, b"first")
            connection.send(stream, b"second")
            await unary(connection, ECHO, b"go")
            fake = server.connections[0]
            assert fake.bodies[1] == b"\x00\x00\x00\x00\x05first\x00\x00\x00\x00\x06second"
            assert heard == messages
            connection.cancel(stream)

        def answer(connection: FakeConnection, stream: int) -> None:
            connection.headers(1, [(":status", "200"), ("content-type", "application/grpc")])
            for message in messages:
                connection.data(1, message)
            ok(connection, stream)

        with serving(answer) as server:
            run(server, use)


class TestLoss:
    def test_going_away_ends_later_calls_and_leaves_earlier_ones(self) -> None:
        def answer(connection: FakeConnection, stream: int) -> None:
            if stream == 3:
                connection.goaway(1, 0, b"restart")
                connection.ok(1, b"still")
                connection.close()

        async def use(connection: Connection) -> None:
            lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            connection.lost = lost.set_result
            first = asyncio.create_task(unary(connection, ECHO, b""))
            await asyncio.sleep(0)
            status = await failure(connection)
            assert status.text == "the server is going away (NO_ERROR: restart)"
            assert await first == b"still"
            assert await lost

        with serving(answer) as server:
            run(server, use)

    def test_a_connection_that_ends_ends_its_calls_and_can_be_made_again(self) -> None:
        def answer(connection: FakeConnection, stream: int) -> None:
            if len(connection.server.connections) == 1:
                connection.close()
            else:
                ok(connection, stream)

        async def use(connection: Connection) -> None:
            lost: list[str] = []
            connection.lost = lost.append
            status = await failure(connection)
            assert status == Status("Unavailable", "the connection was closed by the server")
            assert lost == [status.text]
            waiting = asyncio.create_task(unary(connection, ECHO, b""))
            await asyncio.sleep(0)
            await connection.connect()
            assert await waiting == b"answer"

        with serving(answer) as server:
            run(server, use)

    def test_calls_that_wait_are_told_when_it_is_given_up(self) -> None:
        async def use(connection: Connection) -> None:
            await failure(connection)
            waiting = asyncio.create_task(failure(connection))
            await asyncio.sleep(0)
            connection.abandon(Status("Unavailable", "given up"))
            assert (await waiting).text == "given up"
            assert connection.is_dead

        with serving(lambda connection, stream: connection.close()) as server:
            run(server, use)

    def test_what_is_no_server_of_http2_is_told(self) -> None:
        async def main() -> None:
            async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await reader.read()
                writer.close()
                ended.set()

            ended = asyncio.Event()
            server = await asyncio.start_server(greet, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            connection = Connection(parse_endpoint(f"127.0.0.1:{port}", Tls()))
            with pytest.raises(ConnectionError, match="does not speak HTTP/2"):
                await connection.connect()
            await ended.wait()
            server.close()

        asyncio.run(main())


class TestCallLoop:
    def test_clients_make_exactly_the_requests_asked_for(self) -> None:
        operation = Operation("echo", "", 0.0)

        async def use(connection: Connection) -> None:
            pace = Pace(time.monotonic(), total=500)
            loop = CallLoop([connection], 7, pace, lambda: (operation, ECHO, b"x"))
            await loop.run()

        with serving(ok) as server:
            run(server, use)
            assert server.requests == 500
            assert len(operation.latencies) == 500
            assert min(operation.latencies) > 0

    def test_errors_are_counted_and_do_not_stop_it(self) -> None:
        operation = Operation("echo", "", 0.0)

        def answer(connection: FakeConnection, stream: int) -> None:
            if stream % 3:
                ok(connection, stream)
            else:
                connection.error(stream, 14, "etcdserver: too many requests")

        async def use(connection: Connection) -> None:
            pace = Pace(time.monotonic(), total=30)
            await CallLoop([connection], 2, pace, lambda: (operation, ECHO, b"")).run()

        with serving(answer) as server:
            run(server, use)
            assert operation.errors == {Status("Unavailable", "etcdserver: too many requests"): 10}
            assert len(operation.latencies) == 20

    def test_a_call_without_an_answer_is_given_up(self) -> None:
        operation = Operation("echo", "", 0.0)

        async def use(connection: Connection) -> None:
            loop = CallLoop(
                [connection], 1, Pace(time.monotonic(), total=1), lambda: (operation, ECHO, b"")
            )
            running = asyncio.create_task(loop.run())
            await asyncio.sleep(0)
            loop.expire(time.monotonic() + 31, 30)
            await running
            assert connection.open_calls == 0

        with serving(lambda connection, stream: None) as server:
            run(server, use)
            assert operation.errors == {Status("DeadlineExceeded", "no answer in 30 s"): 1}
