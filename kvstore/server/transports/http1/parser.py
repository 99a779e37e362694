"""The one door to httptools: bytes to events.

    Head  Body*  End      for each request
    Fault                 the last event: nothing after it can be understood

A parser is fed small pieces, so that the events that wait for their turn are few.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

import httptools

from kvstore.server.transports.http1.messages import Request

__all__ = ["Body", "End", "Event", "Fault", "Head", "Parser"]

MAX_HEAD_BYTES: Final = 1024 * 1024 + 4096
"""Of a request line and its fields; Go's DefaultMaxHeaderBytes and its slop."""
MAX_FIELDS: Final = 10_000


class Head(NamedTuple):
    request: Request


class Body(NamedTuple):
    data: bytes


class End(NamedTuple):
    """The body is complete."""


class Fault(NamedTuple):
    status: int
    text: str


Event: TypeAlias = Head | Body | End | Fault

_BAD: Final = Fault(400, "400 Bad Request")
_TOO_LARGE: Final = Fault(431, "431 Request Header Fields Too Large")
_NO_HOST: Final = Fault(400, "400 Bad Request: missing required Host header")
_BAD_VERSION: Final = Fault(505, "505 HTTP Version Not Supported: unsupported protocol version")
_BAD_ENCODING: Final = Fault(501, "Unsupported transfer encoding")


class Parser:
    """One connection's; after a Fault it is not to be fed again."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._is_in_head = False
        self._fault: Fault | None = None
        self._quiet_bytes = 0
        self._parser = httptools.HttpRequestParser(self)
        self._begin()

    def __repr__(self) -> str:
        return f"<Parser in_head={self._is_in_head}>"

    @property
    def is_in_head(self) -> bool:
        """A request has begun and its head is not complete."""
        return self._is_in_head

    def feed(self, data: bytes) -> list[Event]:
        """What `data` completes. Nothing is raised."""
        rest = data
        while rest and self._fault is None:
            rest = self._feed_some(rest)
        events, self._events = self._events, []
        if self._fault is not None:
            events.append(self._fault)
        return events

    def _feed_some(self, data: bytes) -> bytes:
        """Returns what is left: httptools stops behind a request that asks for an upgrade."""
        before = len(self._events)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # No other protocol is spoken here: the request was answered as if it had not asked.
            self._parser = httptools.HttpRequestParser(self)
            return data[upgrade.args[0] :]
        except httptools.HttpParserError:
            self._fault = self._fault or _BAD
            return b""
        # Heads, trailers and the extensions of chunks that go on without completing anything.
        self._quiet_bytes = 0 if len(self._events) > before else self._quiet_bytes + len(data)
        if self._quiet_bytes > MAX_HEAD_BYTES or len(self._fields) > MAX_FIELDS:
            self._fault = _TOO_LARGE
        return b""

    def _refusal(self, *, is_1_0: bool) -> Fault | None:
        """What is wrong with a head that httptools has taken."""
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            return _BAD if version == "0.9" else _BAD_VERSION
        size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._fields)
        if size > MAX_HEAD_BYTES:
            return _TOO_LARGE
        hosts = 0
        for name, value in self._fields:
            hosts += name == "host"
            if name == "transfer-encoding" and value.lower() != "chunked":
                return _BAD_ENCODING
        if hosts > 1:
            return _BAD
        return None if hosts or is_1_0 else _NO_HOST

    def _begin(self) -> None:
        self._target = b""
        self._fields: list[tuple[str, str]] = []
        self._head_is_over = False

    # -- called by httptools ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._is_in_head = True
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_is_over and len(self._fields) <= MAX_FIELDS:
            self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1").strip()))

    def on_headers_complete(self) -> None:
        self._head_is_over, self._is_in_head = True, False
        is_1_0 = self._parser.get_http_version() == "1.0"
        self._fault = self._refusal(is_1_0=is_1_0)
        if self._fault is not None:
            raise ValueError("not to be answered")  # stops httptools
        request = Request(
            self._parser.get_method().decode("latin-1"),
            self._target.decode("latin-1"),
            self._fields,
            is_http_1_0=is_1_0,
            keeps_alive=self._parser.should_keep_alive(),
        )
        self._events.append(Head(request))

    def on_body(self, body: bytes) -> None:
        self._events.append(Body(body))

    def on_message_complete(self) -> None:
        self._events.append(End())
