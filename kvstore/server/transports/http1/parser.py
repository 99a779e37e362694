"""Bytes to events, without I/O.

    Head  Body*  End      for each request
    Fault                 the last event: nothing after it can be understood

A parser is fed small pieces, so that the events that wait for their turn are few.

    line ──▶ fields ──Head──▶ body ──End──▶ line
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

from kvstore.server.transports.http1.chunks import ChunkError, ChunkReader
from kvstore.server.transports.http1.head import (
    BAD,
    MAX_FIELDS,
    Fault,
    RequestLine,
    may_be_line,
    parse_fields,
    parse_line,
    parse_request,
)
from kvstore.server.transports.web.messages import Request

__all__ = ["Body", "End", "Event", "Fault", "Head", "Parser"]

MAX_HEAD_BYTES: Final = 1024 * 1024 + 4096
"""Of a request line and its fields; Go's DefaultMaxHeaderBytes and its slop."""
_FORGIVEN: Final = 4
"""Line ends that some clients send behind the body of a POST, in bytes."""
_EMPTY_LINE: Final = re.compile(rb"\n\r?\n")


class Head(NamedTuple):
    request: Request


class Body(NamedTuple):
    data: bytes


class End(NamedTuple):
    """The body is complete."""


Event: TypeAlias = Head | Body | End | Fault

_TOO_LARGE: Final = Fault(431, "431 Request Header Fields Too Large")


class Parser:
    """One connection's; after a Fault it is not to be fed again."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = self._head_bytes = self._forgiven = 0
        self._line: RequestLine | None = None
        self._in_body = False
        self._left = 0
        self._chunks: ChunkReader | None = None

    def __repr__(self) -> str:
        return f"<Parser in_head={self.is_in_head} in_body={self._in_body}>"

    @property
    def is_in_head(self) -> bool:
        """A request has begun and its head is not complete."""
        return not self._in_body and (self._line is not None or bool(self._buffer))

    def feed(self, data: bytes) -> list[Event]:
        """What `data` completes. Nothing is raised."""
        self._buffer += data
        events: list[Event] = []
        while not (events and isinstance(events[-1], Fault)):
            before = len(events)
            if self._in_body:
                self._read_body(events)
            elif self._line is None:
                if not self._read_line(events):
                    break
                continue
            else:
                self._read_fields(events)
            if len(events) == before:
                break
        return events

    # -- the head --------------------------------------------------------------------------------

    def _read_line(self, events: list[Event]) -> bool:
        """False: it has not come whole."""
        buffer = self._buffer
        while self._forgiven and buffer.startswith((b"\r", b"\n")):
            del buffer[:1]
            self._forgiven -= 1
        end = buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(buffer)
            if len(buffer) > MAX_HEAD_BYTES:
                events.append(_TOO_LARGE)
            elif not may_be_line(buffer):
                events.append(BAD)
            return False
        line = parse_line(bytes(buffer[:end]))
        if line is None:
            events.append(BAD)
            return False
        # The line end stays: a head without fields ends in two as any other does.
        del buffer[:end]
        self._head_bytes, self._scanned, self._line = end, 0, line
        return True

    def _read_fields(self, events: list[Event]) -> None:
        buffer = self._buffer
        found = _EMPTY_LINE.search(buffer, self._scanned)
        size = found.end() if found else len(buffer)
        if self._head_bytes + size > MAX_HEAD_BYTES:
            events.append(_TOO_LARGE)
            return
        if found is None:
            self._scanned = max(size - 2, 0)
            return
        lines = bytes(buffer[1 : found.start() + 1])
        del buffer[:size]
        line, self._line, self._scanned = self._line, None, 0
        assert line is not None
        if lines.count(b"\n") > MAX_FIELDS:
            events.append(_TOO_LARGE)
            return
        fields = parse_fields(lines)
        parsed = BAD if fields is None else parse_request(line, fields)
        if isinstance(parsed, Fault):
            events.append(parsed)
            return
        request, framing = parsed
        self._forgiven = _FORGIVEN if request.method == "POST" else 0
        self._in_body, self._left = True, framing.length
        self._chunks = ChunkReader() if framing.is_chunked else None
        events.append(Head(request))

    # -- the body --------------------------------------------------------------------------------

    def _read_body(self, events: list[Event]) -> None:
        if self._chunks is not None:
            self._read_chunks(self._chunks, events)
            return
        data = bytes(self._buffer[: self._left])
        if data:
            del self._buffer[: len(data)]
            self._left -= len(data)
            events.append(Body(data))
        if not self._left:
            self._in_body = False
            events.append(End())

    def _read_chunks(self, chunks: ChunkReader, events: list[Event]) -> None:
        try:
            data = chunks.read(self._buffer)
        except ChunkError as error:
            events.append(Fault(400, str(error)))
            return
        if data is not None:
            events.append(Body(data))
        elif chunks.is_done:
            self._in_body, self._chunks = False, None
            events.append(End())
