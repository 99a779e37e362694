"""The client of the load benchmark: gRPC over HTTP/2, many calls at once on a connection.

It is made so that it is not what limits a measurement. All frames of one read are parsed in one
loop; the calls that end there may begin new ones, and those leave in one write when the read is
done. A call is an object of its user that is told about its end, so there is no future, task or
queue for each. Header blocks are made once: after the first request they are a few indexes into the
table of the connection (RFC 7541), and what the server's blocks mean is remembered by their bytes.

A connection outlives its transport: calls that begin while there is none, or more than the server
takes at once, wait for `connect`, respectively for another call to end.

                connect()          SETTINGS               GOAWAY or end of the transport
    (nothing) ───────────▶ opening ─────────▶ ready ─────────────────────────────▶ lost ─▶ connect()
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final

from kvstore.bench.blocks import OK, ReceivedBlocks, SentBlocks, Status, unavailable
from kvstore.bench.endpoint import Endpoint

__all__ = ["Call", "Connection", "Method"]

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING = 0, 1, 3, 4, 5, 6
GOAWAY, WINDOW_UPDATE, CONTINUATION = 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 4, 5
LARGEST_WINDOW: Final = 2**31 - 1
FIRST_WINDOW: Final = 65_535
LAST_STREAM: Final = 2**31 - 3
CANCEL: Final = 8

_RESET_NAMES: Final = {
    0: "NO_ERROR",
    1: "PROTOCOL_ERROR",
    2: "INTERNAL_ERROR",
    3: "FLOW_CONTROL_ERROR",
    5: "STREAM_CLOSED",
    7: "REFUSED_STREAM",
    8: "CANCEL",
    11: "ENHANCE_YOUR_CALM",
}

_READ_BYTES: Final = 256 * 1024
_unpack_head: Final = Struct(">IBI").unpack_from
_uint32: Final = Struct(">I")
_setting: Final = Struct(">HI")
_prefix: Final = Struct(">BI").pack


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = (len(payload) << 8 | kind).to_bytes(4, "big") + bytes((flags,))
    return head + stream.to_bytes(4, "big") + payload


class Method:
    """A method of a service, by its path: `Method("/etcdserverpb.KV/Put")`."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Method({self.path!r})"


class Call:
    """One call at a time; its user derives from it and may use it again when it ended.

    `body` is what came of the answer of a unary call: five bytes of gRPC before each message.
    """

    __slots__ = ("body", "has_ended", "is_stream", "room", "stream", "taken", "trouble")

    def __init__(self, *, is_stream: bool = False) -> None:
        self.is_stream = is_stream
        self.body: bytes | bytearray | None = None
        self.has_ended = True
        self.stream = 0
        self.trouble: Status | None = None
        self.room = 0
        self.taken = 0

    def ended(self, status: Status) -> None:
        """The call is over; begin the next one here. `status` is OK or says what went wrong."""
        raise NotImplementedError

    def message(self, message: bytes) -> None:
        """A message of a stream came in (`is_stream` only)."""
        raise NotImplementedError


class Connection(asyncio.BufferedProtocol):
    """One connection to an endpoint.

    `now` is the time of the last read, on the clock of `time.monotonic`: the time at which the
    calls that end in it were answered. `lost` is called with the reason when the transport ended
    or is of no more use; calls that had begun have been told by then. Who then finds that it cannot
    be connected again says so with `abandon`: it is dead from there on.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        metadata: Sequence[tuple[str, str]] = (),
        *,
        window_bytes: int = LARGEST_WINDOW,
        lost: Callable[[str], None] | None = None,
    ) -> None:
        """`window_bytes` is how much a stream may send before we say that we have read it."""
        self.endpoint = endpoint
        self.now = 0.0
        self.is_dead = False
        self.lost = lost
        self._metadata = tuple(metadata)
        self._window_bytes = max(window_bytes, FIRST_WINDOW)
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._waiting: deque[tuple[Call, Method, bytes]] = deque()
        self._transport: asyncio.Transport | None = None
        self._ready: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin_anew()

    def __repr__(self) -> str:
        state = "ready" if self.is_ready else "not ready"
        return f"<Connection {self.endpoint} {state}, {len(self._streams)} streams>"

    def _begin_anew(self) -> None:
        self.is_ready = False
        self._rest = b""
        self._out: list[bytes] = []
        self._is_reading = False
        self._will_flush = False
        self._streams: dict[int, Call] = {}
        self._next_stream = 1
        self._most_streams = LARGEST_WINDOW
        self._received = ReceivedBlocks()
        self._sent = SentBlocks()
        self._heads: dict[tuple[Method, int], tuple[bytes, bytes]] = {}
        self._room = FIRST_WINDOW
        self._stream_room = FIRST_WINDOW
        self._frame_bytes = 16_384
        self._unsent: deque[tuple[Call, bytes, bool]] = deque()
        self._taken = 0
        self._parts: tuple[int, int, bytearray] | None = None

    # --- opening and closing

    async def connect(self) -> None:
        """Connect and wait for the server's SETTINGS; then what waited is sent.

        Raises OSError (ssl.SSLError among them), ConnectionError when it is no HTTP/2 server.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._begin_anew()
        self._ready = ready = loop.create_future()
        endpoint = self.endpoint
        if endpoint.unix_path:
            await loop.create_unix_connection(
                lambda: self, endpoint.unix_path, ssl=endpoint.ssl, server_hostname=endpoint.sni
            )
        else:
            await loop.create_connection(
                lambda: self,
                endpoint.host,
                endpoint.port,
                ssl=endpoint.ssl,
                server_hostname=endpoint.sni,
            )
        await ready

    def close(self) -> None:
        """End the transport; calls that had begun are told, `lost` is not."""
        self.lost = None
        self._lose("the connection was closed")

    def abandon(self, status: Status) -> None:
        """Tell the calls that wait that they will not be made."""
        self.is_dead = True
        while self._waiting:
            call = self._waiting.popleft()[0]
            call.has_ended = True
            call.ended(status)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self._lose("the server does not speak HTTP/2 over TLS (no h2 in ALPN)")
            return
        settings = _setting.pack(INITIAL_WINDOW_SIZE, self._window_bytes)
        settings += _setting.pack(ENABLE_PUSH, 0)
        transport.write(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _frame(SETTINGS, 0, 0, settings)
            + self._window_update(0, LARGEST_WINDOW - FIRST_WINDOW)
        )

    def connection_lost(self, error: Exception | None) -> None:
        why = f"was lost: {error}" if error else "was closed by the server"
        self._lose(f"the connection {why}")

    def eof_received(self) -> bool:
        return False

    def _lose(self, why: str) -> None:
        """The transport is of no use: end it and tell everyone."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        self.is_ready = False
        transport.abort()
        ready, self._ready = self._ready, None
        is_opening = ready is not None and not ready.done()
        if ready is not None and is_opening:
            ready.set_exception(ConnectionError(why))
        streams, self._streams = self._streams, {}
        self._unsent.clear()
        status = unavailable(why)
        for call in streams.values():
            call.has_ended = True
            call.ended(status)
        if self.lost is not None and not is_opening:
            self.lost(why)

    # --- calls

    @property
    def open_calls(self) -> int:
        return len(self._streams) + len(self._waiting)

    def call(self, call: Call, method: Method, message: bytes) -> None:
        """Begin a call with one message, the only one unless it is a stream."""
        call.body = None
        call.trouble = None
        call.has_ended = False
        if not self.is_ready or len(self._streams) >= self._most_streams or self._waiting:
            call.stream = 0
            self._waiting.append((call, method, message))
            self._admit()
            return
        self._begin(call, method, message)

    def _begin(self, call: Call, method: Method, message: bytes) -> None:
        stream = self._next_stream
        self._next_stream = stream + 2
        self._streams[stream] = call
        call.stream = stream
        size = len(message) + 5
        head = self._heads.get((method, size))
        if head is None:
            head = self._head(method, size, is_last=not call.is_stream)
        number = stream.to_bytes(4, "big")
        out = self._out
        if call.is_stream:
            call.room = self._stream_room
            call.taken = 0
            out += (head[0], number, head[1][:-5])
            self._send_data(call, _prefix(0, len(message)) + message, is_last=False)
        elif not self._unsent and size <= min(self._room, self._stream_room, self._frame_bytes):
            self._room -= size
            out += (head[0], number, head[1], number, _prefix(0, len(message)), message)
        else:
            call.room = self._stream_room
            out += (head[0], number, head[1][:-5])
            self._send_data(call, _prefix(0, len(message)) + message, is_last=True)
        if not self._is_reading and not self._will_flush:
            self._schedule_flush()

    def _head(self, method: Method, size: int, *, is_last: bool) -> tuple[bytes, bytes]:
        """What stands before the two stream ids of a request: of its HEADERS, of its DATA.

        A block can be used again when making it left the table as it was.
        """
        fields = self.endpoint.fields(method.path, self._metadata)
        block, is_stable = self._sent.block(fields)
        first = (len(block) << 8 | HEADERS).to_bytes(4, "big") + bytes((END_HEADERS,))
        data = (size << 8 | DATA).to_bytes(4, "big") + bytes((END_STREAM if is_last else 0,))
        if not is_stable:
            self._heads.clear()
        elif size <= self._frame_bytes and is_last:
            if len(self._heads) > 10_000:
                self._heads.clear()
            self._heads[(method, size)] = (first, block + data)
        return first, block + data

    def send(self, call: Call, message: bytes) -> None:
        """Send another message of a stream."""
        self._send_data(call, _prefix(0, len(message)) + message, is_last=False)
        if not self._is_reading and not self._will_flush:
            self._schedule_flush()

    def cancel(self, call: Call) -> None:
        """End a call without an answer; it is not told."""
        if self._streams.get(call.stream) is call:
            del self._streams[call.stream]
            self._out.append(_frame(RST_STREAM, 0, call.stream, _uint32.pack(CANCEL)))
            if not self._is_reading and not self._will_flush:
                self._schedule_flush()
        else:
            self._waiting = deque(each for each in self._waiting if each[0] is not call)
        call.has_ended = True

    def _send_data(self, call: Call, data: bytes, *, is_last: bool) -> None:
        self._unsent.append((call, data, is_last))
        self._send_unsent()

    def _send_unsent(self) -> None:
        """Send what the windows of the server allow, in order."""
        unsent = self._unsent
        while unsent:
            call, data, is_last = unsent[0]
            if call.has_ended:
                unsent.popleft()
                continue
            size = min(len(data), self._room, call.room, self._frame_bytes)
            if size <= 0:
                return
            self._room -= size
            call.room -= size
            whole = size == len(data)
            flags = END_STREAM if whole and is_last else 0
            self._out.append(_frame(DATA, flags, call.stream, data[:size]))
            if whole:
                unsent.popleft()
            else:
                unsent[0] = (call, data[size:], is_last)

    def _admit(self) -> None:
        """Begin the calls that wait, as far as the server takes them."""
        while self._waiting and self.is_ready and len(self._streams) < self._most_streams:
            self._begin(*self._waiting.popleft())

    def _schedule_flush(self) -> None:
        if self._loop is not None and self._transport is not None:
            self._will_flush = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._will_flush = False
        if self._out:
            out, self._out = self._out, []
            if self._transport is not None:
                self._transport.write(b"".join(out))

    # --- reading

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, count: int) -> None:
        self.now = time.monotonic()
        data = bytes(self._view[:count])
        if self._rest:
            data = self._rest + data
        self._is_reading = True
        try:
            if not self.is_ready and self._next_stream == 1:
                _check_first(data)
            taken = self._take_frames(data)
        except _Fault as fault:
            self._is_reading = False
            self._lose(str(fault))
            return
        self._is_reading = False
        self._rest = data[taken:]
        if self._waiting:
            self._admit()
        if self._next_stream >= LAST_STREAM:
            self.is_ready = False  # what begins from now on waits for the next transport
            if not self._streams:
                self._lose("the stream numbers of the connection are used up")
        if self._out:
            self._flush()

    def _take_frames(self, data: bytes) -> int:
        """Take all whole frames; returns how many bytes they are."""
        at, size = 0, len(data)
        streams = self._streams
        known = self._received.known
        unpack = _unpack_head
        while size - at >= 9:
            word, flags, stream = unpack(data, at)
            end = at + 9 + (word >> 8)
            if end > size:
                break
            kind = word & 0xFF
            if kind == DATA:
                self._taken += end - at - 9
                call = streams.get(stream)
                if call is not None:
                    if call.is_stream or flags or call.body is not None:
                        self._take_data(call, flags, stream, data[at + 9 : end])
                    else:
                        call.body = data[at + 9 : end]
            elif kind == HEADERS:
                if flags & (PADDED | PRIORITY) or not flags & END_HEADERS:
                    self._take_rare(kind, flags, stream, data[at + 9 : end])
                else:
                    block = data[at + 9 : end]
                    status = known.get(block)
                    if status is None:
                        status = self._meaning(block)
                    if flags & END_STREAM:
                        call = streams.pop(stream, None)
                        if call is not None:
                            call.has_ended = True
                            call.ended(call.trouble or status)
                    elif status is not OK and stream in streams:
                        streams[stream].trouble = status
            else:
                self._take_rare(kind, flags, stream, data[at + 9 : end])
                if streams is not self._streams:
                    return size
            at = end
        if self._taken > LARGEST_WINDOW // 4:
            self._out.append(self._window_update(0, self._taken))
            self._taken = 0
        return at

    def _meaning(self, block: bytes) -> Status:
        try:
            return self._received.status(block)
        except ValueError as error:
            raise _Fault(f"the server sent a header block that cannot be read: {error}") from None

    def _take_data(self, call: Call, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        if flags & PADDED:
            payload = payload[1 : size - payload[0]]
        if call.body is None:
            call.body = bytearray(payload)
        else:
            if not isinstance(call.body, bytearray):
                call.body = bytearray(call.body)
            call.body += payload
        call.taken += size
        if call.taken > self._window_bytes // 2 and not flags & END_STREAM:
            self._out.append(self._window_update(stream, call.taken))
            call.taken = 0
        if call.is_stream:
            self._take_messages(call)
        if flags & END_STREAM:
            self._streams.pop(stream, None)
            call.has_ended = True
            call.ended(call.trouble or unavailable("the answer ended without a status"))

    def _take_messages(self, call: Call) -> None:
        body = call.body
        assert isinstance(body, bytearray)
        at, size = 0, len(body)
        while size - at >= 5:
            end = at + 5 + int.from_bytes(body[at + 1 : at + 5], "big")
            if end > size:
                break
            call.message(bytes(body[at + 5 : end]))
            at = end
        if at:
            del body[:at]

    def _take_rare(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS:
            if not flags & ACK:
                self._take_settings(payload)
        elif kind == PING:
            if not flags & ACK:
                self._out.append(_frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            self._take_window(stream, _uint32.unpack(payload)[0] & LARGEST_WINDOW)
        elif kind == RST_STREAM:
            code = _uint32.unpack(payload)[0]
            call = self._streams.pop(stream, None)
            if call is not None:
                call.has_ended = True
                name = _RESET_NAMES.get(code, code)
                call.ended(unavailable(f"the server reset the stream ({name})"))
        elif kind == GOAWAY:
            self._take_goaway(payload)
        elif kind == HEADERS:
            self._take_split_block(flags, stream, payload)
        elif kind == CONTINUATION:
            self._take_continuation(flags, stream, payload)
        elif kind == PUSH_PROMISE:
            raise _Fault("the server pushed, which it had been told not to")

    def _take_settings(self, payload: bytes) -> None:
        for name, value in _setting.iter_unpack(payload):
            if name == HEADER_TABLE_SIZE:
                self._sent.set_table_size(value)
                self._heads.clear()
            elif name == MAX_CONCURRENT_STREAMS:
                self._most_streams = value
            elif name == INITIAL_WINDOW_SIZE:
                for call in self._streams.values():
                    call.room += value - self._stream_room
                self._stream_room = value
            elif name == MAX_FRAME_SIZE:
                self._frame_bytes = value
        self._out.append(_frame(SETTINGS, ACK, 0))
        if not self.is_ready and self._ready is not None:
            self.is_ready = True
            if not self._ready.done():
                self._ready.set_result(None)
        self._send_unsent()

    def _take_window(self, stream: int, increment: int) -> None:
        if stream == 0:
            self._room += increment
        elif stream in self._streams:
            self._streams[stream].room += increment
        if self._unsent:
            self._send_unsent()

    def _take_goaway(self, payload: bytes) -> None:
        """Calls up to the last stream that it names still end; then the connection is lost."""
        last, code = _uint32.unpack_from(payload)[0] & LARGEST_WINDOW, payload[4:8]
        number = int.from_bytes(code, "big")
        name = _RESET_NAMES.get(number, number)
        text = payload[8:].decode(errors="replace")
        why = f"the server is going away ({name}{': ' + text if text else ''})"
        self.is_ready = False
        for stream in [each for each in self._streams if each > last]:
            call = self._streams.pop(stream)
            call.has_ended = True
            call.ended(unavailable(why))
        streams = any(not call.is_stream for call in self._streams.values())
        if number or not streams or (self._ready is not None and not self._ready.done()):
            raise _Fault(why)

    def _take_split_block(self, flags: int, stream: int, payload: bytes) -> None:
        padding = payload[0] if flags & PADDED else 0
        begin = (1 if flags & PADDED else 0) + (5 if flags & PRIORITY else 0)
        block = bytearray(payload[begin : len(payload) - padding])
        if not flags & END_HEADERS:
            self._parts = (stream, flags, block)
        else:
            self._take_block(flags, stream, bytes(block))

    def _take_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._parts is None or self._parts[0] != stream:
            raise _Fault("a CONTINUATION frame continues nothing")
        _, begun, block = self._parts
        block += payload
        if flags & END_HEADERS:
            self._parts = None
            self._take_block(begun, stream, bytes(block))

    def _take_block(self, flags: int, stream: int, block: bytes) -> None:
        status = self._meaning(block)
        if flags & END_STREAM:
            call = self._streams.pop(stream, None)
            if call is not None:
                call.has_ended = True
                call.ended(call.trouble or status)
        elif status is not OK and stream in self._streams:
            self._streams[stream].trouble = status

    def _window_update(self, stream: int, increment: int) -> bytes:
        return _frame(WINDOW_UPDATE, 0, stream, _uint32.pack(increment))


class _Fault(Exception):
    """The connection cannot go on; the text says why."""


def _check_first(data: bytes) -> None:
    """A server of HTTP/2 begins with SETTINGS. Raises _Fault for any other."""
    if len(data) >= 4 and data[3] != SETTINGS:
        raise _Fault("the server does not speak HTTP/2")
