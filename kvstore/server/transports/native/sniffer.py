"""The first bytes of a connection say what it speaks: HTTP/2 with prior knowledge, or HTTP/1.1.

Where only HTTP/1.1 is served everything is HTTP/1.1, and a port with both hands over what has a
line of a request, whoever its method; all else ends without a word, as with etcd (cmux there). With
TLS it is the same, after the handshake: a client that offers nothing by ALPN is served, too.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from typing import Final

from kvstore.server.transports.http1.head import may_be_line
from kvstore.server.transports.http2.frames import PREFACE
from kvstore.server.transports.native.protocol import Http2Protocol

__all__ = ["Sniffer"]

_log = logging.getLogger(__name__)

GREETING_TIMEOUT_S: Final = 120.0
"""How long a connection may say too little (grpc-go's ConnectionTimeout)."""
_ENOUGH: Final = len(b"PRI * HTTP/2.0\r\n")
"""Of the preface: no request of HTTP/1 begins so."""
_LINE: Final = re.compile(rb"[^ \n]* [^ \n]* HTTP/1\.[0-9]\r?\n")
_MAX_LINE_BYTES: Final = 4096


class Sniffer(asyncio.Protocol):
    def __init__(
        self,
        http2: Callable[[], Http2Protocol] | None,
        http1: Callable[[], asyncio.Protocol] | None,
        open_connections: set[Sniffer],
        loop: asyncio.AbstractEventLoop,
        refusal: Callable[[ssl.SSLObject], str | None] | None = None,
    ) -> None:
        """What is None is not served here. It is in `open_connections` until it knows.

        With TLS, `refusal` says why a client is not let in after all (`ServerTls.refusal`).
        """
        self._http2, self._http1, self._open, self._loop = http2, http1, open_connections, loop
        self._refusal = refusal
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.add(self)
        self._timer = self._loop.call_later(GREETING_TIMEOUT_S, transport.abort)
        if self._refusal is not None:
            reason = self._refusal(transport.get_extra_info("ssl_object"))
            if reason is not None:
                peer = transport.get_extra_info("peername")
                _log.warning("rejected connection from %s: %s", peer, reason)
                transport.abort()

    def data_received(self, data: bytes) -> None:
        self._seen = seen = self._seen + data
        if self._http2 is not None and seen[:_ENOUGH] == PREFACE[: min(len(seen), _ENOUGH)]:
            if len(seen) >= _ENOUGH:
                self._hand_over(self._http2)
        elif self._http1 is None:
            self._transport.abort()
        elif self._http2 is None or self._refusal is not None or _LINE.match(seen):
            self._hand_over(self._http1)
        elif b"\n" in seen or len(seen) >= _MAX_LINE_BYTES or not may_be_line(seen):
            self._transport.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()

    def close(self) -> None:
        self._transport.abort()

    def _hand_over(self, make: Callable[[], asyncio.Protocol | Http2Protocol]) -> None:
        self._forget()
        protocol = make()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._seen)

    def _forget(self) -> None:
        self._timer.cancel()
        self._open.discard(self)
