"""What TLS clients of tests say, and the simplest server that answers them.

A client greets as HTTP/2 does and is served when it gets a SETTINGS frame; any server of etcd's API
answers so.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import NamedTuple

from kvstore.server.tls import ServerTls

__all__ = ["Greeted", "greet", "serving"]

_EMPTY_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _EMPTY_SETTINGS
_TIMEOUT_S = 10.0


class Greeted(NamedTuple):
    """How a connection went."""

    is_served: bool
    version: str | None = None
    alpn: str | None = None
    cipher: str = ""
    certificate: bytes = b""
    """What the server showed, in DER."""
    session: ssl.SSLSession | None = None
    resumed: bool = False


def greet(
    port: int,
    context: ssl.SSLContext,
    *,
    name: str = "127.0.0.1",
    session: ssl.SSLSession | None = None,
) -> Greeted:
    """Connect to the port of 127.0.0.1 and greet; a connection that ends is not served."""
    with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=name, session=session) as secure:
                secure.sendall(_GREETING)
                answer = secure.recv(9)
                if answer[3:4] != b"\x04":
                    return Greeted(is_served=False)
                cipher = secure.cipher()
                return Greeted(
                    True,
                    secure.version(),
                    secure.selected_alpn_protocol(),
                    cipher[0] if cipher else "",
                    secure.getpeercert(binary_form=True) or b"",
                    secure.session,
                    bool(secure.session_reused),
                )
        except (ssl.SSLError, ConnectionError):
            return Greeted(is_served=False)


class _Answer(asyncio.Protocol):
    def __init__(self, tls: ServerTls, seen: list[str]) -> None:
        self._tls, self._seen = tls, seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        ssl_object = transport.get_extra_info("ssl_object")
        refusal = self._tls.refusal(ssl_object)
        self._seen.append(refusal or f"CN={self._tls.common_name(ssl_object)}")
        if refusal is not None:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._transport.write(_EMPTY_SETTINGS)


class Serving(NamedTuple):
    port: int
    seen: list[str]
    """Of each finished handshake the reason of a refusal, or `CN=` and the common name."""


@contextlib.contextmanager
def serving(tls: ServerTls) -> Iterator[Serving]:
    """A server on a free port, on a loop in a thread of its own."""
    loop, seen = asyncio.new_event_loop(), list[str]()
    # The failures of handshakes are what the tests are about.
    loop.set_exception_handler(lambda loop, context: None)
    server = loop.run_until_complete(
        loop.create_server(lambda: _Answer(tls, seen), "127.0.0.1", 0, ssl=tls.context)
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Serving(server.sockets[0].getsockname()[1], seen)
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    # Connections that are being closed get their turns.
    for _ in range(10):
        await asyncio.sleep(0)
