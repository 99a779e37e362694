"""Our own transport: sockets, and what listens on them.

Addresses are taken by `bind`, before the data is opened; a client that comes early waits in the
queue of the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from kvstore.server.config.urls import Url
from kvstore.server.method import MethodTable
from kvstore.server.stats import CallStats
from kvstore.server.transports.http2.limits import Limits
from kvstore.server.transports.interface import Face, Http1Factory
from kvstore.server.transports.native.protocol import Http2Protocol, Pings, Turns
from kvstore.server.transports.native.sniffer import Sniffer
from kvstore.server.transports.rpc.service import Service

if TYPE_CHECKING:
    from kvstore.server.tls import ServerTls

if TYPE_CHECKING:
    from kvstore.server.transports.http1.connection import Http1Connection

__all__ = ["NativeTransport"]

_BACKLOG: Final = 4096
_DRAIN_LOOK_S: Final = 0.005
"""How often a drain looks whether all connections are gone."""
_PORT_TRIES: Final = 16
_HANDSHAKE_TIMEOUT_S: Final = 10.0
"""How long a client may take for its TLS handshake, as in etcd."""


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
        """`http1` makes the protocol for connections that do not speak HTTP/2; None: closed.

        `tls` is for secure URLs, and must be there when one is bound.
        """
        self._max_message_bytes = max_message_bytes
        self._min_ping_interval_s = min_ping_interval_s
        self._limits = Limits()
        self._limits.max_streams = max_streams
        self._pings = Pings(ping_interval_s, ping_timeout_s)
        self._reuse_port, self._tls = reuse_port, tls
        self._sockets: list[_Socket] = []
        self._servers: list[asyncio.Server] = []
        self._connections: set[Http2Protocol] = set()
        self._unknown: set[Sniffer] = set()
        self._service: Service | None = None
        self._paths: list[str] = []
        self._http1_connections: set[Http1Connection] = set()

    def __repr__(self) -> str:
        return f"<NativeTransport {len(self._connections)} connections>"

    # -- listening -------------------------------------------------------------------------------

    def bind(self, url: Url, face: Face = Face.CLIENT) -> int:
        """Take the address of `url`; returns the port, for a socket file 0. Raises OSError."""
        try:
            if url.is_unix:
                self._bind_unix(url, face)
                return 0
            return self._bind_tcp(url, face)
        except OSError as error:
            raise OSError(
                error.errno, f"cannot listen on {url.address}: {error.strerror}"
            ) from error

    def _bind_unix(self, url: Url, face: Face) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(url.host)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(url.host)
            self._listen(listener, url, face)
        except BaseException:
            listener.close()
            raise
        self._paths.append(url.host)

    def _bind_tcp(self, url: Url, face: Face) -> int:
        """All addresses of the host on one port; a free one must be free on all of them."""
        found = socket.getaddrinfo(
            url.host or None, url.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
        for attempt in range(_PORT_TRIES):
            listeners: list[socket.socket] = []
            port = url.port
            try:
                for family, address in addresses:
                    listener = self._tcp_listener(family, (address[0], port, *address[2:]))
                    if listener is not None:
                        listeners.append(listener)
                        port = listener.getsockname()[1]
                if not listeners:
                    raise OSError(0, "no address of the host can be used")
            except OSError:
                for listener in listeners:
                    listener.close()
                if url.port or attempt == _PORT_TRIES - 1:
                    raise
                continue
            for listener in listeners:
                self._listen(listener, url, face)
            return port
        raise AssertionError("the last attempt returns or raises")

    def _tcp_listener(self, family: int, address: tuple[object, ...]) -> socket.socket | None:
        """A bound socket; None when the machine does not have the family (IPv6 turned off)."""
        try:
            # With its protocol named, asyncio turns Nagle's delay off for what it accepts.
            listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        except OSError:
            return None
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._reuse_port:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
        except OSError as error:
            listener.close()
            if family == socket.AF_INET6 and error.errno == 99:
                return None
            raise
        return listener

    def _listen(self, listener: socket.socket, url: Url, face: Face) -> None:
        listener.setblocking(False)
        listener.listen(_BACKLOG)
        self._sockets.append(_Socket(listener, url.is_secure, face))

    async def start(
        self, methods: MethodTable, stats: CallStats, http1: Http1Factory | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        self._service = service = Service(
            methods,
            stats,
            loop,
            max_message_bytes=self._max_message_bytes,
            min_ping_interval_s=self._min_ping_interval_s,
        )
        turns = Turns(loop)

        def http2() -> Http2Protocol:
            protocol = Http2Protocol(
                service, turns, self._limits, self._pings, self._connections.discard
            )
            self._connections.add(protocol)
            return protocol

        for listener in self._sockets:
            sniffers = self._sniffers(listener, http2, http1, loop)
            if listener.is_secure:
                assert self._tls is not None
                server = await loop.create_server(
                    sniffers,
                    sock=listener.socket,
                    backlog=_BACKLOG,
                    ssl=self._tls.context,
                    ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_S,
                )
            else:
                server = await loop.create_server(sniffers, sock=listener.socket, backlog=_BACKLOG)
            self._servers.append(server)

    def _sniffers(
        self,
        listener: _Socket,
        http2: Callable[[], Http2Protocol],
        http1: Http1Factory | None,
        loop: asyncio.AbstractEventLoop,
    ) -> Callable[[], Sniffer]:
        """What looks at the first bytes of the connections of one socket."""
        face = listener.face
        make_http2 = http2 if face.has_grpc else None
        make_http1 = None
        if http1 is not None and face.has_http:
            make_http1 = partial(http1, face, self._http1_connections)
        refusal = self._tls.refusal if listener.is_secure and self._tls is not None else None
        return lambda: Sniffer(make_http2, make_http1, self._unknown, loop, refusal)

    # -- the end ---------------------------------------------------------------------------------

    async def drain(self, grace_s: float) -> None:
        for server in self._servers:
            server.close()
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
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _open(self) -> list[Http2Protocol | Http1Connection]:
        return [*self._connections, *self._http1_connections]
