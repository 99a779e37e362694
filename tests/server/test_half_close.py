"""Connections that end from both sides at once."""

from __future__ import annotations

import asyncio
import socket
import struct

from kvstore.server.transports.half_close import half_close


class Recording(asyncio.Protocol):
    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.made: asyncio.Future[asyncio.Transport] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.made.set_result(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)

    def eof_received(self) -> bool:
        return True  # ours is still open


async def connected() -> tuple[Recording, socket.socket]:
    """Our side of a connection, and the client's socket."""
    protocol = Recording()
    server = await asyncio.get_running_loop().create_server(lambda: protocol, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    await protocol.made
    server.close()
    return protocol, client


def test_the_client_reads_what_was_written_and_then_the_end() -> None:
    async def run() -> None:
        protocol, client = await connected()
        transport = await protocol.made
        transport.write(b"last words")
        half_close(transport)
        with client:
            assert client.recv(100) == b"last words"
            assert client.recv(100) == b""
        transport.abort()
        await protocol.lost

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_connection_that_the_client_has_just_reset_is_lost_and_no_error() -> None:
    async def run() -> None:
        protocol, client = await connected()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # with RST, and without a turn of the loop that would see it
        half_close(await protocol.made)
        await protocol.lost

    asyncio.run(asyncio.wait_for(run(), 10))
