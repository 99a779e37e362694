"""Our HTTP/1.1 over a real store, on a loop in a thread; and raw sockets to talk to it or to etcd.

Raw, because what is tested is bytes: where they end, in which order they come, when a side closes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from kvstore.backend import open_backend
from kvstore.server.config import Config
from kvstore.server.header import Headers
from kvstore.server.http.site import PageSite, SiteParts, build_metrics_site, build_site
from kvstore.server.metrics import HealthStats
from kvstore.server.services import Settings, build_methods
from kvstore.server.stats import CallStats
from kvstore.server.transports.http1.connection import Http1Connection
from kvstore.server.transports.web.messages import Site
from kvstore.store.aio import LoopStore

__all__ = ["HttpSite", "Wire", "get", "post"]

T = TypeVar("T")
HEADERS = Headers(11, 22, 2)


def get(path: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def post(path: str, body: str | bytes, *fields: str, version: str = "1.1") -> bytes:
    data = body.encode() if isinstance(body, str) else body
    length = f"Content-Length: {len(data)}"
    return get(path, *fields, length, method="POST", version=version) + data


class Wire:
    """One connection of a client that means what it sends."""

    def __init__(
        self, port: int, timeout_s: float = 10.0, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self._seen = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def until(self, mark: bytes) -> bytes:
        """What comes up to `mark`, which it includes. Fails when the other side closes before."""
        while mark not in self._seen:
            data = self.socket.recv(65536)
            assert data, f"closed before {mark!r}: {self._seen[-500:]!r}"
            self._seen += data
        at = self._seen.index(mark) + len(mark)
        found, self._seen = self._seen[:at], self._seen[at:]
        return found

    def rest(self) -> bytes:
        """All that comes before the other side closes or resets."""
        try:
            while data := self.socket.recv(65536):
                self._seen += data
        except ConnectionResetError:
            pass
        found, self._seen = self._seen, b""
        return found

    def answer(self) -> tuple[bytes, bytes]:
        """The head and the body of one whole answer; chunks are joined."""
        head = self.until(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head.lower():
            body = b""
            while chunk := self.chunk():
                body += chunk
            return head, body
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return head, self.exactly(length)

    def exactly(self, size: int) -> bytes:
        while len(self._seen) < size:
            data = self.socket.recv(65536)
            assert data, f"closed in a body: {self._seen!r}"
            self._seen += data
        found, self._seen = self._seen[:size], self._seen[size:]
        return found

    def chunk(self) -> bytes:
        """The next chunk; empty for the last one."""
        size = int(self.until(b"\r\n"), 16)
        if size == 0:
            self.until(b"\r\n")
            return b""
        while len(self._seen) < size + 2:
            data = self.socket.recv(65536)
            assert data, "closed in a chunk"
            self._seen += data
        found, self._seen = self._seen[:size], self._seen[size + 2 :]
        return found


class HttpSite:
    """A site over an empty store in memory. `changes` are of the defaults of the configuration."""

    def __init__(
        self,
        config: Config,
        *,
        only_metrics: bool = False,
        head_timeout_s: float = 300.0,
        alarms: Iterable[str] = (),
        wrap: Callable[[Site], Site] = lambda site: site,
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.connections: set[Http1Connection] = set()
        self.alarms = list(alarms)
        self.health = HealthStats()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.run(self._start(config, only_metrics, head_timeout_s, wrap))

    async def _start(
        self,
        config: Config,
        only_metrics: bool,
        head_timeout_s: float,
        wrap: Callable[[Site], Site],
    ) -> None:
        self.store = await LoopStore.open(open_backend(":memory:"))
        settings = Settings(
            peer_urls=config.peer_urls,
            client_urls=config.advertise_client_urls,
            max_request_bytes=config.max_request_bytes,
            quota_backend_bytes=config.quota_backend_bytes,
        )
        methods = build_methods(self.store, HEADERS, settings)
        self.stats = CallStats(methods)
        parts = SiteParts(
            config=config,
            store=self.store,
            methods=methods,
            headers=HEADERS,
            stats=self.stats,
            metrics=lambda accept: ("text/plain; version=0.0.4; charset=utf-8", b"up 1\n" * 1000),
            own_version="0.0.0",
            alarms=lambda: self.alarms,
            health=self.health,
        )
        site: PageSite = build_metrics_site(parts) if only_metrics else build_site(parts)
        self.server = await self.loop.create_server(
            lambda: Http1Connection(
                wrap(site), self.connections, stats=self.stats, head_timeout_s=head_timeout_s
            ),
            "127.0.0.1",
            0,
        )
        self.port = self.server.sockets[0].getsockname()[1]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the loop."""

        async def work() -> T:
            return function()

        return self.run(work())

    def wire(self) -> Wire:
        return Wire(self.port)

    def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """One request on a connection of its own."""
        with self.wire() as wire:
            wire.send(request)
            return wire.answer()

    def close(self) -> None:
        async def stop() -> None:
            self.server.close()
            for connection in list(self.connections):
                connection.close()
            await self.store.close()

        self.run(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
