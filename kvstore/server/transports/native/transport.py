"""Our own transport: sockets, and what listens on them.

Addresses are taken by `bind`, before the data is opened; a client that comes early waits in the
queue of the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from kvstore.server.config.urls import Url
from kvstore.server.method import MethodTable
from kvstore.server.stats import CallStats
from kvstore.server.transports.http2.limits import Limits
from kvstore.server.transports.interface import Face, Pages
from kvstore.server.transports.native.accepting import Acceptor, Door, most_connections
from kvstore.server.transports.native.listening import SocketFile, listen_tcp
from kvstore.server.transports.native.protocol import Http2Protocol, Pings, Turns
from kvstore.server.transports.native.sniffer import Sniffer
from kvstore.server.transports.rpc.service import Service
from kvstore.server.transports.web.http2 import Web

if TYPE_CHECKING:
    from kvstore.server.tls import ServerTls

if TYPE_CHECKING:
    from kvstore.server.transports.http1.connection import Http1Connection

__all__ = ["NativeTransport"]

_DRAIN_LOOK_S: Final = 0.005
"""How often a drain looks whether all connections are gone."""


class _Socket(NamedTuple):
    socket: socket.socket
    is_secure: bool
    face: Face


class NativeTransport:
    """Implements Transport. `max_streams` is per connection."""

    def __init__(
        self,
        *,
        max_message_bytes: int,
        max_streams: int = 2**32 - 1,
        min_ping_interval_s: float = 5.0,
        ping_interval_s: float = 7200.0,
        ping_timeout_s: float = 20.0,
        reuse_port: bool = False,
        tls: ServerTls | None = None,
    ) -> None:
        """`tls` is for secure URLs, and must be there when one is bound."""
        self._max_message_bytes = max_message_bytes
        self._min_ping_interval_s = min_ping_interval_s
        self._limits = Limits()
        self._limits.max_streams = max_streams
        self._pings = Pings(ping_interval_s, ping_timeout_s)
        self._reuse_port, self._tls = reuse_port, tls
        self._sockets: list[_Socket] = []
        self._files: list[SocketFile] = []
        self._acceptor: Acceptor | None = None
        self._connections: set[Http2Protocol] = set()
        self._unknown: set[Sniffer] = set()
        self._service: Service | None = None
        self._turns: Turns | None = None
        self._http1_connections: set[Http1Connection] = set()

    def __repr__(self) -> str:
        return f"<NativeTransport {len(self._connections)} connections>"

    # -- listening -------------------------------------------------------------------------------

    def bind(self, url: Url, face: Face = Face.CLIENT) -> int:
        """Take the address of `url`; returns the port, for a socket file 0. Raises OSError."""
        try:
            listeners = self._listeners(url)
        except OSError as error:
            raise OSError(
                error.errno, f"cannot listen on {url.address}: {error.strerror}"
            ) from error
        self._sockets += [_Socket(listener, url.is_secure, face) for listener in listeners]
        return 0 if url.is_unix else int(listeners[0].getsockname()[1])

    def _listeners(self, url: Url) -> list[socket.socket]:
        if not url.is_unix:
            return listen_tcp(url, reuse_port=self._reuse_port)
        file = SocketFile(url.host)
        self._files.append(file)
        return [file.socket]

    async def start(
        self, methods: MethodTable, stats: CallStats, pages: Pages | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        self._service = service = Service(
            methods,
            stats,
            loop,
            max_message_bytes=self._max_message_bytes,
            min_ping_interval_s=self._min_ping_interval_s,
        )
        self._turns = turns = Turns(loop)

        def http2(web: Web | None) -> Http2Protocol:
            protocol = Http2Protocol(
                service, turns, self._limits, self._pings, self._connections.discard, web
            )
            self._connections.add(protocol)
            return protocol

        stats.accepts.limit = most_connections()
        self._acceptor = acceptor = Acceptor(loop, stats.accepts)
        for listener in self._sockets:
            tls = None
            if listener.is_secure:
                assert self._tls is not None
                tls = self._tls.context
            sniffers = self._sniffers(listener, http2, pages, loop)
            acceptor.open(Door(listener.socket, sniffers, tls))

    @property
    def together(self) -> Callable[[Callable[[], None]], None]:
        """`Turns.together`, once it was started."""
        assert self._turns is not None
        return self._turns.together

    def _sniffers(
        self,
        listener: _Socket,
        http2: Callable[[Web | None], Http2Protocol],
        pages: Pages | None,
        loop: asyncio.AbstractEventLoop,
    ) -> Callable[[], Sniffer]:
        """What looks at the first bytes of the connections of one socket.

        HTTP/2 without TLS is gRPC's alone, as in etcd: nothing was agreed on, so it is not guessed.
        """
        face = listener.face
        web, make_http1 = None, None
        if pages is not None and face.has_http:
            make_http1 = partial(pages.connection, face, self._http1_connections)
            if listener.is_secure:
                web = Web(partial(pages.site, face), is_all=not face.has_grpc)
        has_http2 = face.has_grpc or web is not None
        make_http2 = partial(http2, web) if has_http2 else None
        refusal = self._tls.refusal if listener.is_secure and self._tls is not None else None
        return lambda: Sniffer(make_http2, make_http1, self._unknown, loop, refusal)

    # -- the end ---------------------------------------------------------------------------------

    async def drain(self, grace_s: float) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        for listener in self._sockets:
            listener.socket.close()
        for unknown in list(self._unknown):
            unknown.close()
        for connection in self._open():
            connection.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._open():  # noqa: ASYNC110  # each leaves by itself, of two sets
                    await asyncio.sleep(_DRAIN_LOOK_S)
        for connection in self._open():
            connection.close()
        if self._service is not None:
            await self._service.close()
        for file in self._files:
            file.remove()

    def _open(self) -> list[Http2Protocol | Http1Connection]:
        return [*self._connections, *self._http1_connections]
