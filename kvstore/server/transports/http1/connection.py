"""One HTTP/1.1 connection: requests are answered one after the other, in their order.

    idle ──first byte──▶ head ──Head──▶ active ──answered and End──▶ idle (or closed)

While a request is active nothing behind its body is parsed, and while the client does not take
what it is sent nothing is parsed at all; so what is kept for a client is one read, the events of
one piece of it, and what its handler keeps. At `READ_AHEAD_BYTES` unparsed bytes no more is read.

What a client does wrong costs its own connection: the head of a request has `HEAD_TIMEOUT_S`, bytes
that are not HTTP are told so and the connection is closed, and what is left of a body after its
answer is read up to `DISCARD_BYTES`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from kvstore.server.stats import CallStats
from kvstore.server.transports.half_close import half_close
from kvstore.server.transports.http1 import encoding
from kvstore.server.transports.http1.encoding import Framing
from kvstore.server.transports.http1.parser import Body, End, Event, Fault, Head, Parser
from kvstore.server.transports.native.protocol import peer_text
from kvstore.server.transports.web.fields import PLAIN, date
from kvstore.server.transports.web.messages import Fields, Handler, Request, Site

__all__ = ["Http1Connection"]

_log = logging.getLogger(__name__)

HEAD_TIMEOUT_S: Final = 300.0
"""From the first byte of a request to the end of its head (etcd's ReadHeaderTimeout)."""
READ_AHEAD_BYTES: Final = 64 * 1024
PIECE_BYTES: Final = 8 * 1024
TURN: Final = 256
"""Pieces of bodies that are taken in one turn of the loop;"""
REQUEST_COST: Final = 32
"""a request that begins counts as so many."""
DISCARD_BYTES: Final = 256 * 1024
"""Of a body after its answer; a client that goes on is cut off."""
WRITE_HIGH_BYTES: Final = 256 * 1024
WRITE_LOW_BYTES: Final = 64 * 1024
LINGER_S: Final = 0.5
"""After our last byte: a reset for what was not read could overtake it."""
WHOLE_BYTES: Final = 2048
"""A longer answer is chunked, as Go's is."""
_CUT_OFF: Final = "unexpected EOF"


class Http1Connection(asyncio.Protocol):
    def __init__(
        self,
        site: Site,
        connections: set[Http1Connection],
        *,
        stats: CallStats | None = None,
        head_timeout_s: float = HEAD_TIMEOUT_S,
    ) -> None:
        """It is in `connections`, and counted, from `connection_made` to `connection_lost`."""
        self._site, self._connections = site, connections
        self._stats, self._head_timeout_s = stats, head_timeout_s
        self._parser = Parser()
        self._unread = b""
        self._events: deque[Event] = deque()
        self._active: _Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_congested = self._is_paused = self._is_pumping = False
        self._is_draining = self._is_eof = self._is_closing = False
        self._lingered_bytes = 0

    def __repr__(self) -> str:
        return f"<Http1Connection {self._active} unread={len(self._unread)}>"

    # -- asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._peer = peer_text(transport)
        self._is_secure = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        self._connections.add(self)
        if self._stats is not None:
            self._stats.http1_connections += 1

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > DISCARD_BYTES and not self._transport.is_closing():
                self._transport.pause_reading()
            return
        self._unread = self._unread + data if self._unread else bytes(data)
        self._pump()

    def eof_received(self) -> bool:
        self._is_eof = True
        self._pump()
        is_needed = self._active is not None and not self._is_closing
        if not is_needed:
            self._close()
        return is_needed and not self._is_secure

    def pause_writing(self) -> None:
        self._is_congested = True
        self._regulate()

    def resume_writing(self) -> None:
        self._is_congested = False
        if self._active is not None and self._active.handler is not None:
            self._active.handler.writable()
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closing = True
        self._stop_timer()
        self._connections.discard(self)
        if self._stats is not None:
            self._stats.http1_connections -= 1
        self._unread = b""
        self._events.clear()
        active, self._active = self._active, None
        if active is not None and active.handler is not None and not active.is_answered:
            active.is_answered = True
            active.handler.cancel()

    # -- from the listener -----------------------------------------------------------------------

    def drain(self) -> None:
        """Close, after the request in flight if there is one; a stream is asked to end."""
        self._is_draining = True
        active = self._active
        if active is None:
            self._close()
        elif active.handler is not None and not active.is_answered:
            active.handler.drain()

    def close(self) -> None:
        """End it now, with whatever it was doing."""
        self._transport.abort()

    # -- reading ---------------------------------------------------------------------------------

    def pump_soon(self) -> None:
        """Go on, from outside of whoever called."""
        self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Act on what came, for one turn; the rest follows when others had theirs."""
        if self._is_pumping:
            return
        self._is_pumping, left = True, TURN
        try:
            while not self._is_closing and left > 0:
                if self._events:
                    cost = REQUEST_COST if type(self._events[0]) is Head else 1
                    if not self._take(self._events[0]):
                        break
                    left -= cost
                elif self._unread and not self._is_blocked:
                    piece, self._unread = self._unread[:PIECE_BYTES], self._unread[PIECE_BYTES:]
                    self._events += self._parser.feed(piece)
                else:
                    break
        finally:
            self._is_pumping = False
        if self._is_closing:
            return
        if left <= 0:
            self.pump_soon()
        elif self._is_eof:
            self._say_no_more()
        if not self._is_closing:
            self._watch_head()
            self._regulate()

    def _say_no_more(self) -> None:
        """The client does, and what it said is parsed as far as it can be now."""
        active = self._active
        if self._has_answered:
            if not self._is_congested:
                self._close()
        elif active is not None and active.handler is not None and not active.is_answered:
            if not active.is_read and not self._events and not self._unread:
                self._cut(active, _CUT_OFF)
            if active.is_read and not active.is_answered and not active.is_hung_up:
                active.is_hung_up = True
                active.handler.hang_up()

    @property
    def _has_answered(self) -> bool:
        """Nobody waits for anything; the rest of a body after its answer does not matter."""
        active = self._active
        return active is None or (active.is_answered and not active.is_read)

    @property
    def _is_blocked(self) -> bool:
        active = self._active
        if self._is_congested or active is None:
            return self._is_congested
        if active.is_answered:
            return active.is_read
        return active.is_read or (active.handler is not None and active.handler.is_backed_up)

    def _take(self, event: Event) -> bool:
        """Act on the event and drop it; False when it has to wait."""
        active = self._active
        match event:
            case Head(request):
                if active is not None or self._is_congested:
                    return False
                self._events.popleft()
                self._begin(request)
            case Body(data):
                if active is not None and not active.is_answered and active.handler is not None:
                    if active.handler.is_backed_up or self._is_congested:
                        return False
                    self._events.popleft()
                    active.handler.data(data)
                else:
                    self._events.popleft()
                    self._discard(active, len(data))
            case End():
                self._events.popleft()
                if active is not None:
                    active.is_read = True
                    if active.is_answered:
                        self._next()
                    elif active.handler is not None:
                        active.handler.end()
            case Fault(status, text):
                if active is not None and active.is_read and not active.is_answered:
                    return False
                self._events.popleft()
                self._reject(active, status, text)
        return True

    def _begin(self, request: Request) -> None:
        request.peer, request.is_secure = self._peer, self._is_secure
        exchange = self._active = _Exchange(self, request)
        expects = request.field("expect")
        if expects and not request.expects_continue:
            exchange.expectation_failed()
            return
        try:
            exchange.handler = self._site.begin(exchange)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            if not exchange.has_begun:
                exchange.reply(500, [PLAIN], b"internal error\n", closes=True)
        if expects and request.has_body and not exchange.is_answered and not request.is_http_1_0:
            self.write(encoding.CONTINUE)

    def _discard(self, active: _Exchange | None, size: int) -> None:
        if active is not None:
            active.discarded_bytes += size
            if active.discarded_bytes > DISCARD_BYTES:
                self._close(lingers=True)

    def _cut(self, active: _Exchange, fault: str) -> None:
        """The body ends here, and with its answer the connection."""
        active.is_read = active.closes = True
        assert active.handler is not None
        active.handler.end(fault)

    def _reject(self, active: _Exchange | None, status: int, text: str) -> None:
        self._unread = b""
        if active is not None and not active.is_answered and active.handler is not None:
            self._cut(active, text)
            return
        if active is None:
            self.write(encoding.plain_error(status, text))
        self._close(lingers=True)

    def _watch_head(self) -> None:
        if not self._parser.is_in_head:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._head_timeout_s, self._on_head_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_head_timeout(self) -> None:
        self._timer = None
        if self._active is None and not self._is_congested:
            self._close()
        else:
            self._watch_head()  # it is we who kept it waiting

    def _regulate(self) -> None:
        """Read from the socket, or do not."""
        wants = not self._is_congested and len(self._unread) < READ_AHEAD_BYTES
        if wants == self._is_paused and not self._transport.is_closing():
            self._is_paused = not wants
            if wants:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # -- writing ---------------------------------------------------------------------------------

    @property
    def is_congested(self) -> bool:
        return self._is_congested

    @property
    def will_close(self) -> bool:
        return self._is_draining

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def answered(self, exchange: _Exchange) -> None:
        """The answer of the active request is complete."""
        if exchange is not self._active:
            return
        is_cut = exchange.closes and End() not in self._events
        if exchange.is_read or is_cut:
            self._next()
        if not self._is_pumping and not self._is_closing:
            self.pump_soon()

    def _next(self) -> None:
        active, self._active = self._active, None
        if active is not None and (active.closes or self._is_draining):
            self._close(lingers=not active.is_read or bool(self._unread))

    def _close(self, *, lingers: bool = False) -> None:
        """After what has been written; a client that has more to say is heard out shortly."""
        if self._is_closing:
            return
        self._is_closing = True
        self._stop_timer()
        self._unread = b""
        self._events.clear()
        transport = self._transport
        if not lingers or self._is_eof or not transport.can_write_eof():
            transport.close()
            return
        if self._is_paused:
            self._is_paused = False
            transport.resume_reading()
        if not transport.is_closing():
            half_close(transport)
        self._loop.call_later(LINGER_S, transport.close)


class _Exchange:
    """Implements Answer: one request and what has been said to it."""

    __slots__ = (
        "_connection",
        "_framing",
        "base",
        "closes",
        "discarded_bytes",
        "handler",
        "has_begun",
        "is_answered",
        "is_hung_up",
        "is_read",
        "request",
    )

    def __init__(self, connection: Http1Connection, request: Request) -> None:
        self._connection, self.request = connection, request
        self._framing = Framing.LENGTH
        self.base: Fields = ()
        self.handler: Handler | None = None
        self.has_begun = self.is_answered = self.is_read = self.is_hung_up = False
        self.closes = not request.keeps_alive
        self.discarded_bytes = 0

    def __repr__(self) -> str:
        return f"<{self.request!r} read={self.is_read} answered={self.is_answered}>"

    @property
    def is_congested(self) -> bool:
        return self._connection.is_congested

    def resume(self) -> None:
        self._connection.pump_soon()

    def expectation_failed(self) -> None:
        """As Go does it: the field that closes is the first."""
        self.closes = self.is_answered = True
        text = f"HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\nDate: {date()}"
        self._connection.write(text.encode() + b"\r\nContent-Length: 0\r\n\r\n")
        self._connection.answered(self)

    def reply(
        self,
        status: int,
        fields: Fields,
        body: bytes,
        *,
        closes: bool = False,
        trailed: bool = False,
    ) -> None:
        if self.is_answered:
            return
        self.closes = self.closes or closes
        is_head = self.request.method == "HEAD"
        content_type = ""
        if body and not any(name == "Content-Type" for name, _ in fields):
            content_type = PLAIN[1]
        if is_head and not 0 < len(body) <= WHOLE_BYTES:
            framing = Framing.NONE
        elif len(body) <= WHOLE_BYTES and not trailed:
            framing = Framing.LENGTH
        else:
            framing = self._streaming_framing()
        data = self._head(status, fields, framing, length=len(body), content_type=content_type)
        if not is_head:
            if framing is Framing.CHUNKED:
                data += encoding.chunk(body) + _last_chunk(fields)
            else:
                data += body
        self._write_last(data)

    def start(self, status: int, fields: Fields) -> None:
        if self.request.method == "HEAD":
            self.reply(status, fields, b"")
        elif not self.is_answered:
            self._framing = self._streaming_framing()
            self._connection.write(self._head(status, fields, self._framing))

    def send(self, data: bytes) -> None:
        if not self.is_answered:
            chunked = self._framing is Framing.CHUNKED
            self._connection.write(encoding.chunk(data) if chunked else data)

    def finish(self) -> None:
        if not self.is_answered:
            chunked = self._framing is Framing.CHUNKED
            self._write_last(encoding.LAST_CHUNK if chunked else b"")

    def _write_last(self, data: bytes) -> None:
        self.is_answered = True
        if data:
            self._connection.write(data)
        self._connection.answered(self)

    def _streaming_framing(self) -> Framing:
        """Without chunks the end of the connection is the end of the answer."""
        if self.request.is_http_1_0:
            self.closes = True
            return Framing.CLOSE
        return Framing.CHUNKED

    def _head(
        self,
        status: int,
        fields: Fields,
        framing: Framing,
        *,
        length: int = 0,
        content_type: str = "",
    ) -> bytes:
        self.has_begun = True
        request = self.request
        if self._connection.will_close:
            self.closes = True
        if request.has_body and not self.is_read and request.field("expect"):
            self.closes = True  # the client may be waiting to be told to go on
        connection = ""
        if request.is_http_1_0:
            connection = "" if self.closes else "keep-alive"
        elif self.closes:
            connection = "close"
        return encoding.head(
            status,
            [*self.base, *fields],
            framing,
            length=length,
            is_http_1_0=request.is_http_1_0,
            connection=connection,
            content_type=content_type,
        )


def _last_chunk(fields: Fields) -> bytes:
    """With the trailer that `fields` announce, if any; the only one there is says the protocol."""
    for name, value in fields:
        if name == "Trailer":
            return b"0\r\n%b: application/grpc\r\n\r\n" % value.encode()
    return encoding.LAST_CHUNK
