"""Accepting at the limit of connections and without descriptors, with sockets of this process."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import resource
import socket
from collections.abc import Awaitable, Callable

import pytest

from kvstore.server.config import Url
from kvstore.server.stats import AcceptStats
from kvstore.server.transports.native.accepting import Acceptor, Door, most_connections
from kvstore.server.transports.native.listening import listen_tcp


class Greeter(asyncio.Protocol):
    """Says hello, and ends when the client does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")


class Short(socket.socket):
    """A listening socket whose next `failures` accepts fail."""

    failures: list[int]

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            code = self.failures.pop(0)
            raise OSError(code, "no room")
        return super().accept()


class House:
    """An acceptor with one door on the loopback."""

    def __init__(self, limit: int) -> None:
        self.stats = AcceptStats()
        self.stats.limit = limit
        (listener,) = listen_tcp(Url("http", "127.0.0.1", 0))
        self.listener = Short(listener.family, listener.type, listener.proto, listener.detach())
        self.listener.failures = []
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.acceptor = Acceptor(asyncio.get_running_loop(), self.stats)
        self.acceptor.open(Door(self.listener, Greeter, None))

    async def visit(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


def run(test: Callable[[House], Awaitable[None]], limit: int = 3) -> None:
    async def main() -> None:
        house = House(limit)
        try:
            await asyncio.wait_for(test(house), 20)
        finally:
            house.acceptor.close()

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # there is nobody who would tell
        await asyncio.sleep(0)


async def leave(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


def test_those_beyond_the_limit_wait_until_others_leave(caplog: pytest.LogCaptureFixture) -> None:
    async def test(house: House) -> None:
        inside = [await house.visit() for _ in range(3)]
        for reader, _ in inside:
            assert await reader.readexactly(5) == b"hello"
        outside = [await house.visit() for _ in range(6)]
        await until(lambda: house.stats.waits["limit"] == 1)
        greeted = [asyncio.ensure_future(reader.readexactly(5)) for reader, _ in outside]
        await asyncio.sleep(0)
        assert not any(each.done() for each in greeted)
        for (_, leaving), hello, (_, writer) in zip(
            [*inside, *outside], greeted, outside, strict=False
        ):
            await leave(leaving)
            assert await hello == b"hello"
            assert house.stats.open <= 3
            assert writer.can_write_eof()
        for _, writer in outside[3:]:
            await leave(writer)
        await until(lambda: house.stats.open == 0)

    with caplog.at_level(logging.WARNING, logger="kvstore"):
        run(test)
    assert len(caplog.records) == 1
    assert "3 connections are the most for the open files" in caplog.text


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_room_there_is_a_pause_and_one_line(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(house: House) -> None:
        house.listener.failures = [code, code, code]
        reader, writer = await house.visit()
        assert await reader.readexactly(5) == b"hello"
        assert house.stats.waits == {"limit": 0, "error": 3}
        await leave(writer)

    with caplog.at_level(logging.WARNING, logger="kvstore"):
        run(test)
    assert [record.getMessage() for record in caplog.records] == [
        "accepting a connection: no room: others wait (said once a minute)"
    ]


def test_a_client_that_is_gone_again_is_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def test(house: House) -> None:
        house.listener.failures = [errno.ECONNABORTED]
        reader, writer = await house.visit()
        assert await reader.readexactly(5) == b"hello"
        assert house.stats.waits == {"limit": 0, "error": 0}
        await leave(writer)

    with caplog.at_level(logging.WARNING, logger="kvstore"):
        run(test)
    assert caplog.records == []


def test_no_more_than_a_few_are_taken_in_one_turn() -> None:
    async def test(house: House) -> None:
        sockets = [socket.create_connection(("127.0.0.1", house.port)) for _ in range(150)]
        taken = [house.stats.open]
        while taken[-1] < 150:
            await asyncio.sleep(0)
            taken.append(house.stats.open)
        assert max(now - before for before, now in itertools.pairwise(taken)) == 64
        for each in sockets:
            each.close()
        await until(lambda: house.stats.open == 0)

    run(test, limit=1000)


def test_the_end_closes_what_was_accepted_a_moment_before() -> None:
    async def test(house: House) -> None:
        with socket.create_connection(("127.0.0.1", house.port)) as client:
            await until(lambda: house.stats.open == 1)  # before the task for it has begun
            house.acceptor.close()
            await until(lambda: house.stats.open == 0)
            client.settimeout(10)
            assert client.recv(10) == b""

    run(test)


class TestLimit:
    @pytest.mark.parametrize(
        ("files", "spare"), [(100, 25), (400, 100), (512, 128), (1024, 128), (1_000_000, 128)]
    )
    def test_descriptors_are_left_for_the_data(
        self, files: int, spare: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("os.listdir", lambda path: ["0"] * 20)
        monkeypatch.setattr("resource.getrlimit", lambda kind: (files, files))
        assert most_connections() == files - 20 - spare

    def test_a_system_that_does_not_say_what_is_open_is_taken_for_a_usual_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing(path: str) -> list[str]:
            raise FileNotFoundError(path)

        monkeypatch.setattr("os.listdir", missing)
        monkeypatch.setattr("resource.getrlimit", lambda kind: (1024, 1024))
        assert most_connections() == 1024 - 32 - 128

    def test_there_is_always_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("resource.getrlimit", lambda kind: (3, 3))
        assert most_connections() == 1

    def test_no_limit_is_a_large_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        unlimited = resource.RLIM_INFINITY
        monkeypatch.setattr("resource.getrlimit", lambda kind: (unlimited, unlimited))
        assert most_connections() == 2**31
