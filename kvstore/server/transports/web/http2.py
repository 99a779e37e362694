"""Requests over HTTP/2 that are no gRPC: the same sites answer them as over HTTP/1.1.

With TLS etcd looks at the content type: what has `application/grpc` in it is a call, all else is a
request of a page or of the gateway. (Without TLS an HTTP/2 connection is gRPC's alone.)

    Connection ──begin, data, reset, writable──▶ WebCall ──begin──▶ site
                                                    ▲  └──data, end, cancel──▶ its handler
                                                    └──reply, start, send, finish──┘

A few requests begin in one turn (`REQUEST_COSTS`), since a page may take as long as hundreds of
calls. A request waits like any call while too much of earlier answers has not left
(`rpc/backlog.py`), and what handlers keep of bodies counts with the requests of gRPC that are not
whole (`rpc/receive_buffer.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from kvstore.server.transports.http2.errors import StreamFault
from kvstore.server.transports.http2.frames import DEFAULT_MAX_FRAME_BYTES, ErrorCode
from kvstore.server.transports.http2.header_block import encode_fields
from kvstore.server.transports.http2.stream import Stream
from kvstore.server.transports.web.fields import PLAIN, date
from kvstore.server.transports.web.messages import Fields, Handler, Request, Site
from kvstore.server.transports.web.target import parse_target

if TYPE_CHECKING:
    from kvstore.server.transports.rpc.calls import Calls

__all__ = ["Web", "WebCall", "WebHead"]

_log = logging.getLogger(__name__)

_GRPC: Final = b"application/grpc"
_SIZED_BYTES: Final = 4096
"""A longer answer does not say how long it is, as Go's does not."""
REQUEST_COSTS: Final = 128 * 1024
"""A page may take as long as making so many bytes of answers: a few begin in one turn."""
_PIECE_BYTES: Final = 8 * 1024
"""Of a body, before its handler is asked whether it takes more."""
_CONTINUE: Final = encode_fields([(b":status", b"100")])
_NO_TRAILERS: Final = b""


class Web:
    """What an address serves besides gRPC. `is_all`: it serves no gRPC."""

    __slots__ = ("_make_site", "is_all")

    def __init__(self, make_site: Callable[[], Site], *, is_all: bool) -> None:
        self._make_site, self.is_all = make_site, is_all

    def site(self) -> Site:
        """Made with the first request."""
        return self._make_site()

    def wants(self, fields: Iterable[tuple[bytes, bytes]]) -> bool:
        """Is a request with these header fields the site's?"""
        if self.is_all:
            return True
        for name, value in fields:
            if name == b"content-type":
                return _GRPC not in value
        return True


class WebHead:
    """What the header fields of such a request say; shared by all requests with the same ones."""

    __slots__ = ("content_length", "is_whole", "kept_bytes", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        length = request.field("content-length")
        self.content_length = int(length) if length else None
        self.is_whole = False
        self.kept_bytes = 0

    @classmethod
    def of(cls, fields: Iterable[tuple[bytes, bytes]], peer: str) -> WebHead:
        """Raises StreamFault when they ask for nothing."""
        shown = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        pseudo = dict(field for field in shown if field[0][:1] == ":")
        method, path = pseudo[":method"], pseudo[":path"]
        authority = pseudo.get(":authority", "")
        # An absolute path, or `*`; a CONNECT has none.
        is_path = path == "*" or (path[:1] == "/" and method != "CONNECT")
        target = parse_target(method, path) if is_path else None
        is_known = pseudo[":scheme"] in ("http", "https")
        if target is None or not is_known or "@" in authority:  # RFC 9113, section 8.3.1
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "the target of the request is malformed")
        others = [field for field in shown if field[0][:1] != ":"]
        request = Request(method, path, target, others)
        request.host = authority or request.host
        request.peer, request.is_secure = peer, True
        return cls(request)

    def with_timeout(self, text: str) -> WebHead:
        """The same with a `grpc-timeout`, which the gateway takes."""
        request = self.request.with_field("grpc-timeout", text)
        return WebHead(request)


class WebCall:
    """Implements Answer, on a stream."""

    __slots__ = (
        "_calls",
        "_handler",
        "_has_begun",
        "_held",
        "_is_all",
        "_is_told",
        "_is_waiting",
        "_kept_bytes",
        "_started",
        "base",
        "is_done",
        "request",
        "stream",
    )

    def __init__(self, calls: Calls, stream: Stream, head: WebHead) -> None:
        self._calls, self.stream, self.request = calls, stream, head.request
        self.base: Fields = ()
        self._handler: Handler | None = None
        self._held = bytearray()
        self._started: tuple[int, Fields] | None = None
        self._has_begun = self._is_all = self._is_told = self._is_waiting = self.is_done = False
        self._kept_bytes = 0
        stream.call = self
        stream.lingers = not calls.is_draining

    def __repr__(self) -> str:
        return f"<WebCall {self.request!r} done={self.is_done}>"

    # -- from the connection ---------------------------------------------------------------------

    def data(self, data: bytes, *, is_end: bool) -> None:
        if self.is_done:
            return
        if data:
            self._held += data
            self._kept_bytes += len(data)
            is_stuck = self._handler is not None and self._handler.is_backed_up
            self._calls.receive_buffer.keep(
                self.stream, self._kept_bytes, len(data), is_stuck=is_stuck
            )
        self._is_all = self._is_all or is_end
        # Its body counts in the receive buffer.
        if not self._is_waiting and self._calls.backlog.may_run(self, 0):
            self.run()
        else:
            self._is_waiting = True

    def run(self) -> None:
        """Begin, and give the handler what has come."""
        self._is_waiting = False
        if not self._has_begun:
            self._has_begun = True
            self._calls.connection.room_bytes -= REQUEST_COSTS
            self._begin()
        handler = self._handler
        while handler is not None and self._held and not handler.is_backed_up and not self.is_done:
            handler.data(bytes(self._held[:_PIECE_BYTES]))
            del self._held[:_PIECE_BYTES]
        if handler is None or self.is_done:
            return
        if self._held:
            return  # `resume` comes back to it
        if self._is_all and not self._is_told:
            self._is_told = True
            self._calls.receive_buffer.remove(self.stream)
            handler.end()
        elif not handler.keeps_body:
            self._kept_bytes = 0
            self._calls.receive_buffer.keep(self.stream, 0, 0)

    def cancel(self) -> None:
        """The client reset the stream, or the connection is gone."""
        handler = self._handler
        if not self.is_done:
            self._end()
            if handler is not None:
                handler.cancel()

    def stop(self) -> None:
        self._calls.connection.stop_lingering(self.stream)
        if self._handler is not None and not self.is_done:
            self._handler.drain()

    def writable(self) -> None:
        if self._handler is not None and not self.is_done:
            self._handler.writable()

    def _begin(self) -> None:
        request = self.request
        assert self._calls.web is not None
        try:
            self._handler = self._calls.web.site().begin(self)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            self.reply(500, [PLAIN], b"internal error\n")
            return
        if (
            self._handler is not None
            and not self.stream.is_remote_closed
            and request.expects_continue
        ):
            self._calls.connection.send_headers(self.stream, _CONTINUE)
            self._calls.wake()

    # -- the answer ------------------------------------------------------------------------------

    @property
    def is_congested(self) -> bool:
        return bool(self.stream.queue)

    def reply(
        self,
        status: int,
        fields: Fields,
        body: bytes,
        *,
        closes: bool = False,
        trailed: bool = False,
    ) -> None:
        """A connection is not closed for one of its requests; `closes` ends the stream alone."""
        if self.is_done:
            return
        if body and not any(name == "Content-Type" for name, _ in fields):
            fields = [*fields, PLAIN]
        is_head = self.request.method == "HEAD"
        has_length = len(body) <= _SIZED_BYTES and bool(body or not is_head)
        length = len(body) if has_length else None
        block = self._block(status, fields, length)
        if len(block) > DEFAULT_MAX_FRAME_BYTES:
            block, body = self._block(414, [PLAIN], None), b"414 URI Too Long\n"
        connection, stream = self._calls.connection, self.stream
        self._end()
        if is_head or not body:
            connection.send_end(stream, block)
        else:
            connection.send_headers(stream, block)
            connection.send_data(stream, body)
            connection.send_end(stream, _trailers(fields) if trailed else _NO_TRAILERS)
        self._calls.wake()

    def start(self, status: int, fields: Fields) -> None:
        """The head leaves with the first of the body, or is the whole answer if none comes."""
        if not self.is_done:
            self._started = status, fields

    def send(self, data: bytes) -> None:
        if self.is_done or self.request.method == "HEAD":
            return
        connection = self._calls.connection
        if self._started is not None:
            connection.send_headers(self.stream, self._block(*self._started, None))
            self._started = None
        connection.send_data(self.stream, data)
        self._calls.wake()

    def finish(self) -> None:
        if self._started is not None:
            self.reply(*self._started, b"")
        elif not self.is_done:
            self._end()
            self._calls.connection.send_end(self.stream, _NO_TRAILERS)
            self._calls.wake()

    def resume(self) -> None:
        self._calls.service.loop.call_soon(self._resume)

    def _resume(self) -> None:
        if not self.is_done:
            self.run()
            self._calls.wake()

    def _end(self) -> None:
        self.is_done = True
        self._handler = None  # which has the answer: a cycle would wait for the collector
        self._held.clear()
        self._calls.receive_buffer.remove(self.stream)

    def _block(self, status: int, fields: Fields, length: int | None) -> bytes:
        """Go has the fields of the handler in the order of their names, then its own."""
        encoded = [(b":status", b"%d" % status)]
        encoded += [
            (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in sorted([*self.base, *fields])
        ]
        if length is not None:
            encoded.append((b"content-length", b"%d" % length))
        encoded.append((b"date", date().encode()))
        return encode_fields(encoded)


def _trailers(fields: Fields) -> bytes:
    """What the field `Trailer` announces; the only one there is says the protocol."""
    named = [value.lower().encode() for name, value in fields if name == "Trailer"]
    return encode_fields([(name, _GRPC) for name in named]) if named else _NO_TRAILERS
