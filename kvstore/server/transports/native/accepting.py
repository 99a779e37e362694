"""Takes connections from the sockets that listen, as many as there are file descriptors for.

    open < limit      each is accepted, a few in a turn of the loop
    open = limit      the rest waits in the queues of the sockets until one of ours is closed
    accept fails for want of descriptors or memory    a pause for all sockets, then the next try

The limit leaves descriptors for the data: neither the journal nor LMDB meets an EMFILE because of
clients. Facts: etcd server/embed/etcd.go (reservedInternalFDNum), client/pkg/transport.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from kvstore.server.stats import AcceptStats

__all__ = ["Acceptor", "Door", "most_connections"]

_log = logging.getLogger(__name__)

ACCEPTS_PER_TURN: Final = 64
"""Connections of one socket taken before others have their turn."""
_SPARE_DESCRIPTORS: Final = 128
"""Beside those open at the start, about 20: together what etcd sets aside."""
_USUAL_DESCRIPTORS: Final = 32
"""Where the system does not say how many are open."""
_PAUSE_S: Final = 0.1
_LINE_INTERVAL_S: Final = 60.0
"""Between two lines in the log about connections that wait."""
_HANDSHAKE_TIMEOUT_S: Final = 10.0
"""How long a client may take for its TLS handshake, as in etcd."""
_GONE: Final = (errno.EAGAIN, errno.EINTR, errno.ECONNABORTED, errno.EPROTO)
"""Nobody is there, or is there no more."""


class Door(NamedTuple):
    """A socket that listens, and what is made of who comes; without `tls` he is not greeted."""

    socket: socket.socket
    protocol: Callable[[], asyncio.BaseProtocol]
    tls: ssl.SSLContext | None


class Acceptor:
    def __init__(self, loop: asyncio.AbstractEventLoop, stats: AcceptStats) -> None:
        """`stats.limit` is how many connections there may be at once."""
        self._loop, self._stats = loop, stats
        self._doors: list[Door] = []
        self._greetings: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._is_full = self._is_closed = False
        self._said_at = -_LINE_INTERVAL_S

    def __repr__(self) -> str:
        return f"<Acceptor {self._stats.open} of {self._stats.limit}>"

    def open(self, door: Door) -> None:
        """Begin to accept there. The socket is closed by `close`."""
        self._doors.append(door)
        self._loop.add_reader(door.socket, self._accept, door)

    def close(self) -> None:
        """Accept no more, and break off handshakes. A second time it does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._stop()
        for door in self._doors:
            door.socket.close()
        if self._pause is not None:
            self._pause.cancel()
        for greeting in self._greetings:
            greeting.cancel()

    def _accept(self, door: Door) -> None:
        """Somebody waits at a door."""
        room = self._stats.limit - self._stats.open
        if room <= 0:
            self._is_full = True
            self._wait("limit", f"{self._stats.open} connections are the most for the open files")
            return
        for _ in range(min(room, ACCEPTS_PER_TURN)):
            try:
                taken, _ = door.socket.accept()
            except OSError as error:
                if error.errno not in _GONE:
                    self._pause = self._loop.call_later(_PAUSE_S, self._go_on)
                    self._wait("error", f"accepting a connection: {error.strerror}")
                return
            self._stats.open += 1
            self._begin(door, _Taken(taken, self._on_closed))

    def _begin(self, door: Door, taken: _Taken) -> None:
        greeting = self._loop.create_task(self._greet(door, taken))
        self._greetings.add(greeting)
        greeting.add_done_callback(partial(self._greeted, taken))

    def _greeted(self, taken: _Taken, greeting: asyncio.Task[None]) -> None:
        self._greetings.discard(greeting)
        if greeting.cancelled():  # perhaps before it had begun
            taken.close()

    async def _greet(self, door: Door, taken: _Taken) -> None:
        timeout_s = None if door.tls is None else _HANDSHAKE_TIMEOUT_S
        try:
            await self._loop.connect_accepted_socket(
                door.protocol, taken, ssl=door.tls, ssl_handshake_timeout=timeout_s
            )
        except OSError:  # a handshake that failed concerns nobody else; the transport is closed
            return

    def _wait(self, reason: str, text: str) -> None:
        self._stop()
        self._stats.waits[reason] += 1
        now = self._loop.time()
        if now - self._said_at >= _LINE_INTERVAL_S:
            self._said_at = now
            _log.warning("%s: others wait (said once a minute)", text)

    def _stop(self) -> None:
        for door in self._doors:
            self._loop.remove_reader(door.socket)

    def _on_closed(self) -> None:
        self._stats.open -= 1
        if self._is_full and self._pause is None:
            self._go_on()

    def _go_on(self) -> None:
        self._is_full, self._pause = False, None
        if not self._is_closed:
            for door in self._doors:
                self._loop.add_reader(door.socket, self._accept, door)


class _Taken(socket.socket):
    """An accepted socket that says when its descriptor is free again."""

    def __init__(self, taken: socket.socket, on_closed: Callable[[], None]) -> None:
        super().__init__(taken.family, taken.type, taken.proto, taken.detach())
        self._on_closed: Callable[[], None] | None = on_closed

    def close(self) -> None:
        super().close()
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed()


def most_connections() -> int:
    """How many the limit of open files allows beside what is open now; at least one.

    With a low limit a quarter of it is left free.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return 2**31
    return max(1, limit - _descriptors() - min(_SPARE_DESCRIPTORS, limit // 4))


def _descriptors() -> int:
    """Those that are open."""
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:  # a root directory without /dev or /proc
        return _USUAL_DESCRIPTORS
