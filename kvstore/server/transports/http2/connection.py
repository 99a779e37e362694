"""The server's side of one HTTP/2 connection, without I/O (RFC 9113).

`receive` takes what came from the socket and calls the sink; `out` gathers what is to be written.
Both happen in one loop over all frames of a read, because most requests are answered at once: then
a read of a hundred requests costs one write of a hundred answers.

A stream is in `streams` while it is open in either direction. A number tells the rest:

    idle      above the last one opened
    open      in `streams`
    half      in `streams`, the client said END_STREAM; we say it with the trailers of an answer
    lingering in `streams`, we said END_STREAM; the client still sends, and is not listened to
    closed    any other; of those that we reset, late frames are expected and dropped

    frame            idle               open                   half             closed
    HEADERS          opens it, odd ids  trailers: END_STREAM   STREAM_CLOSED    connection error
    DATA             connection error   taken                  STREAM_CLOSED    STREAM_CLOSED
    RST_STREAM       connection error   closes it              closes it        dropped
    WINDOW_UPDATE    connection error   taken                  taken            dropped
    PRIORITY         checked, dropped   the same               the same         the same
    CONTINUATION     only right after the HEADERS it continues, and then nothing else

A lingering stream takes what an open one does, drops it, and is closed by its end. An answer to a
client that is still sending ends with RST_STREAM NO_ERROR, so that he stops (section 8.1): for gRPC
at once; else (`Stream.lingers`) when half the window is used up, since curl loses an answer that is
followed by a reset before it has sent a body, however short that is.

The request of a gRPC client is a HEADERS and a DATA frame, mostly in one read. Between them its
stream is in `_arriving`, not in `streams`; when the read brings both, `sink.whole` gets the request
and no Stream is made. A WINDOW_UPDATE between them, as grpcio sends one, is remembered for it.
The meaning is that of the table: with any other frame of a stream, and at the end of the read, what
is still arriving gets its Stream.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, Generic, Protocol, TypeVar

from kvstore.server.transports.http2.budget import Budget
from kvstore.server.transports.http2.errors import ConnectionFault, StreamFault
from kvstore.server.transports.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_MAX_FRAME_BYTES,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    HEADERS,
    LARGEST_MAX_FRAME_BYTES,
    MAX_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITY_FLAG,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    Setting,
    frame,
    goaway,
    rst_stream,
    settings,
    unpack_head,
    window_update,
)
from kvstore.server.transports.http2.header_block import (
    HeaderBlocks,
    Kept,
    Meaning,
    check_trailers,
)
from kvstore.server.transports.http2.limits import Limits
from kvstore.server.transports.http2.sending import Sending
from kvstore.server.transports.http2.stream import Stream

__all__ = ["Connection", "Head", "Limits", "Sink"]

_WHOLE_BLOCK: Final = HEADERS | END_HEADERS << 8
_LAST_DATA: Final = DATA | END_STREAM << 8
_ID: Final = MAX_WINDOW
_FAR: Final = 1 << 30
"""No stream comes here but from far below: the last ids are not for `_frames`."""
_ABANDONED: Final = 256
"""Streams that end with the connection at once."""
_uint32: Final = Struct(">I").unpack_from
_setting: Final = Struct(">HI").iter_unpack


class Head(Kept, Protocol):
    """What the sink makes of the header fields of a request."""

    @property
    def is_whole(self) -> bool:
        """Goes to `sink.whole` when its one message came with it."""
        ...

    @property
    def content_length(self) -> int | None: ...


H = TypeVar("H", bound=Head)


class Sink(Meaning[H], Protocol[H]):
    """Who answers. Calls come from inside `receive`, or `Connection.resume`."""

    def whole(self, stream_id: int, head: H, body: bytes) -> None:
        """A whole request; there is no Stream for it, unless `Connection.open` makes one."""
        ...

    def begin(self, stream: Stream, head: H) -> None:
        """A request begins; `data` follows, also when it has none."""
        ...

    def data(self, stream: Stream, data: bytes, *, is_end: bool) -> None: ...
    def reset(self, stream: Stream) -> None:
        """The client does not want the answer any more."""
        ...

    def writable(self, stream: Stream) -> None:
        """All that was queued on the stream has left."""
        ...

    def ping(self, now: float) -> None:
        """May raise ConnectionFault for one too many."""
        ...


class Connection(Sending, Generic[H]):
    def __init__(self, sink: Sink[H], limits: Limits, now: float) -> None:
        super().__init__(sink, limits)
        self._sink = sink
        self._headers: HeaderBlocks[H] = HeaderBlocks(sink, limits.max_header_list_bytes)
        self.streams: dict[int, Stream] = {}
        self.open_bytes = 0
        """Of the objects of `streams`, and of what they keep of their heads."""
        self.last_id = 0
        self.is_closed = False
        """Nothing is received any more; what is in `out` is the end."""
        self.is_behind = False
        """`receive_some` left something for the next."""
        self.accepts_below = 1 << 31
        """Streams from this id on are not served any more: we said GOAWAY."""
        self.on_ack: Callable[[bytes], None] | None = None
        """Told the payload of each acknowledged PING."""
        self._arriving: dict[int, H] = {}
        self._widened: dict[int, int] = {}
        """By how much the client made the windows of those larger."""
        self._buffer = self._unread = b""
        self._is_greeted = self._has_settings = False
        self._next_id = 0
        """Of the stream that `_frames` may open; 0: whatever comes next, it goes to `_frame`."""
        self._recv_window = limits.connection_window_bytes
        self._skipped: list[tuple[int, int]] = []
        self._late: dict[int, None] = {}
        self._block: tuple[int, int, list[bytes]] | None = None
        self._block_bytes = 0
        self._resets = Budget(*limits.resets)
        self._settings = Budget(*limits.settings)
        self._empty = Budget(*limits.empty_frames)
        self._faults = Budget(*limits.refused)
        self._idle = Budget(*limits.idle_frames)
        self._now = now
        self._greet()

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open"
        return (
            f"Connection({state}, {len(self.streams)} streams, last {self.last_id}, "
            f"window={self.window}, queued={self.queued_bytes})"
        )

    def _greet(self) -> None:
        limits = self._limits
        values = {
            Setting.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
            Setting.MAX_HEADER_LIST_SIZE: limits.max_header_list_bytes,
        }
        if limits.max_streams < 2**32 - 1:
            values[Setting.MAX_CONCURRENT_STREAMS] = limits.max_streams
        self.out.append(settings(values))
        self.out.append(window_update(0, limits.connection_window_bytes - DEFAULT_WINDOW))

    # -- receiving -------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take what came from the socket at `now` (seconds, monotonic). Never raises."""
        if self.is_closed:
            return
        self._now = now
        if self._buffer:
            data = self._buffer + data
        try:
            self._buffer = data[self._frames(data) :]
        except ConnectionFault as fault:
            self.close(fault.code, fault.text)

    def receive_some(self, data: bytes, now: float, most: int) -> None:
        """The same of `most` frames. While it `is_behind`, call this for the rest."""
        data = self._buffer + self._unread + data
        end = _end_of(data, most, 0 if self._is_greeted else len(PREFACE))
        self._buffer, self._unread = b"", data[end:]
        self.receive(data[:end], now)
        if self.is_closed:
            self._unread = b""
        self.is_behind = bool(self._unread)

    def _frames(self, data: bytes) -> int:
        """Take all whole frames; returns where the rest begins. Raises ConnectionFault."""
        at, end = 0, len(data)
        if not self._is_greeted:
            if data[: len(PREFACE)] != PREFACE[:end]:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "bogus greeting")
            if end < len(PREFACE):
                return 0
            at, self._is_greeted = len(PREFACE), True
        known, sink, arriving = self._headers.known, self._sink, self._arriving
        per_request = self._limits.idle_frames_per_request
        while end - at >= HEAD_BYTES:
            size_kind, flags, stream_id = unpack_head(data, at)
            size = size_kind >> 8
            body = at + HEAD_BYTES
            if size > DEFAULT_MAX_FRAME_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            next_at = body + size
            if next_at > end:
                break
            kind = size_kind & 0xFF
            what = kind | flags << 8
            if what == _WHOLE_BLOCK:
                if (
                    stream_id == self._next_id
                    and len(self.streams) + len(arriving) < self._limits.max_streams
                    and self.open_bytes < self._limits.open_bytes
                ):
                    self.last_id = stream_id
                    self._next_id = stream_id + 2
                    self._used += per_request
                    at = next_at
                    block = data[body:next_at]
                    head = known.get(block) or self._head(stream_id, block)
                    if head is None:
                        continue
                    arriving[stream_id] = head
                    if not head.is_whole:
                        self._begin_arriving()
                    continue
            elif what == _LAST_DATA:
                head = arriving.get(stream_id)
                if head is not None and head.content_length in (None, size):
                    del arriving[stream_id]
                    self._recv_window -= size
                    if self._recv_window < self._limits.connection_window_bytes >> 1:
                        self._credit_connection()
                    at = next_at
                    sink.whole(stream_id, head, data[body:next_at])
                    continue
            elif (
                what == WINDOW_UPDATE
                and stream_id in arriving
                and self._widen(stream_id, data[body:next_at])
            ):
                at = next_at
                continue
            if arriving and stream_id:
                self._begin_arriving()
            at = next_at
            try:
                self._frame(kind, flags, stream_id & _ID, data[body:next_at])
            except StreamFault as fault:
                self._on_fault(stream_id & _ID, fault)
            if self.is_closed:
                return end
        if arriving:
            self._begin_arriving()
        if self._widened:
            self._widened.clear()
        return at

    def _widen(self, stream_id: int, payload: bytes) -> bool:
        """Remember a WINDOW_UPDATE of a stream that is arriving; False: it is a faulty one.

        grpcio sends one between HEADERS and DATA of each call.
        """
        increment = _uint32(payload)[0] & _ID if len(payload) == 4 else 0
        widened = self._widened.get(stream_id, 0) + increment
        if not increment or self.initial_window + widened > MAX_WINDOW:
            return False
        self._on_idle_frame()
        self._widened[stream_id] = widened
        return True

    def _head(self, stream_id: int, block: bytes) -> H | None:
        """What a new block means; None: it is malformed, and its stream was reset."""
        try:
            return self._headers.request(block)
        except StreamFault as fault:
            self._on_fault(stream_id, fault)
            return None

    def _on_fault(self, stream_id: int, fault: StreamFault) -> None:
        if not self._faults.spend(self._now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many stream errors")
        self._refuse(stream_id, fault.code)

    def _begin_arriving(self) -> None:
        """Requests that are not whole by now get a Stream."""
        arriving = list(self._arriving.items())
        self._arriving.clear()
        for stream_id, head in arriving:
            stream = self.open(stream_id, head, is_remote_closed=False)
            stream.content_length = head.content_length
            self._sink.begin(stream, head)

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and kind != CONTINUATION:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block is not continued")
        if not self._has_settings and kind != SETTINGS:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        match kind:
            case 0:  # DATA
                self._on_data(flags, stream_id, payload)
            case 1:  # HEADERS
                self._on_headers(flags, stream_id, payload)
            case 2:  # PRIORITY
                self._on_priority(stream_id, payload)
            case 3:  # RST_STREAM
                self._on_rst_stream(stream_id, payload)
            case 4:  # SETTINGS
                self._on_settings(flags, stream_id, payload)
            case 5:  # PUSH_PROMISE
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client does not push")
            case 6:  # PING
                self._on_ping(flags, stream_id, payload)
            case 7:  # GOAWAY
                if stream_id:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
                if len(payload) < 8:
                    raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of 8 bytes at least")
                self._on_idle_frame()
            case 8:  # WINDOW_UPDATE
                self._on_window_update(stream_id, payload)
            case 9:  # CONTINUATION
                self._on_continuation(flags, stream_id, payload)
            case _:
                self._on_idle_frame()

    def _on_idle_frame(self) -> None:
        """A frame that asks for nothing, and of which there is no need for many."""
        self._idle.give(self._used)
        self._used = 0.0
        if not self._idle.spend(self._now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames for nothing")

    # -- frames of streams -----------------------------------------------------------------------

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that is not ours")
        if flags & PADDED:
            payload = _unpad(payload)
        if flags & PRIORITY_FLAG:
            if len(payload) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without its priority")
            depends_on = _uint32(payload)[0] & _ID
            payload = payload[5:]
            if depends_on == stream_id:
                self._block_ended(flags, stream_id, payload, is_faulty=True)
                return
        self._block_ended(flags, stream_id, payload)

    def _block_ended(
        self, flags: int, stream_id: int, payload: bytes, *, is_faulty: bool = False
    ) -> None:
        if flags & END_HEADERS:
            self._headers_done(flags, stream_id, payload, is_faulty=is_faulty)
        else:
            self._block = (stream_id, flags | (is_faulty << 8), [payload])
            self._block_bytes = len(payload)
            self._expect()

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        _, first_flags, parts = self._block
        parts.append(payload)
        self._block_bytes += len(payload)
        limits = self._limits
        if (
            self._block_bytes > limits.max_header_list_bytes
            or len(parts) > limits.max_header_frames
        ):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if flags & END_HEADERS:
            self._block = None
            self._expect()
            self._headers_done(
                first_flags, stream_id, b"".join(parts), is_faulty=first_flags > 0xFF
            )

    def _headers_done(self, flags: int, stream_id: int, block: bytes, *, is_faulty: bool) -> None:
        """A block is whole. It is decoded in any case, or the tables would fall apart."""
        is_end = bool(flags & END_STREAM)
        stream = self.streams.get(stream_id)
        if stream is not None or stream_id <= self.last_id:
            fields = self._headers.fields(block)
            if stream is None:
                if stream_id not in self._late:
                    skipped = any(first <= stream_id <= last for first, last in self._skipped)
                    code = ErrorCode.PROTOCOL_ERROR if skipped else ErrorCode.STREAM_CLOSED
                    raise ConnectionFault(code, "HEADERS on a closed stream")
                self._on_idle_frame()
                return
            if stream.is_remote_closed:
                raise StreamFault(ErrorCode.STREAM_CLOSED, "HEADERS after the end")
            check_trailers(fields)
            if not is_end:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "trailers that do not end the stream")
            self._ended(stream)
            self._take(stream, b"", is_end=True)
            return
        if stream_id >= self.accepts_below:
            self._headers.fields(block)
            self._on_idle_frame()
            return  # the client learns from our GOAWAY that it was not served
        if stream_id != self.last_id + 2:
            self._note_skipped(stream_id)
        self.last_id = stream_id
        self._expect()
        self._used += self._limits.idle_frames_per_request
        head = self._headers.known.get(block)
        if head is None:
            head = self._headers.request(block)
        if is_faulty:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")
        limits = self._limits
        if len(self.streams) >= limits.max_streams or self.open_bytes >= limits.open_bytes:
            raise StreamFault(ErrorCode.REFUSED_STREAM, "too many streams")
        stream = self.open(stream_id, head, is_remote_closed=False)
        stream.content_length = head.content_length
        if is_end:
            self._ended(stream)
        self._sink.begin(stream, head)
        if is_end and not stream.is_closed:
            self._sink.data(stream, b"", is_end=True)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._recv_window -= size
        if self._recv_window < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the window")
        if self._recv_window < self._limits.connection_window_bytes >> 1:
            self._credit_connection()
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
            if stream_id not in self._late and stream_id <= self.last_id:
                raise StreamFault(ErrorCode.STREAM_CLOSED, "DATA on a closed stream")
            self._on_idle_frame()
            return
        if stream.is_remote_closed:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "DATA after the end")
        stream.recv_window -= size
        if stream.recv_window < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the window")
        if flags & PADDED:
            payload = _unpad(payload)
            self.credit(stream, size - len(payload))
        is_end = bool(flags & END_STREAM)
        if not payload and not is_end and not self._empty.spend(self._now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many empty frames")
        stream.received_bytes += len(payload)
        if is_end:
            self._ended(stream)
        self._take(stream, payload, is_end=is_end)

    def _take(self, stream: Stream, data: bytes, *, is_end: bool) -> None:
        if not stream.is_local_closed:
            self._sink.data(stream, data, is_end=is_end)
        elif is_end:
            self.forget(stream)
        elif not self._may_linger(stream):
            self._refuse(stream.id, ErrorCode.NO_ERROR)

    def _may_linger(self, stream: Stream) -> bool:
        return stream.lingers and stream.recv_window > self._limits.stream_window_bytes >> 1

    def _is_idle(self, stream_id: int) -> bool:
        """Was it never opened? Those that we refuse by GOAWAY may have been (section 6.8)."""
        return not stream_id or self.last_id < stream_id < self.accepts_below

    def _ended(self, stream: Stream) -> None:
        stream.is_remote_closed = True
        if stream.content_length not in (None, stream.received_bytes):
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "content-length is not what came")

    def _on_rst_stream(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM has 4 bytes")
        if self._is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        if not self._resets.spend(self._now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many resets")
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.forget(stream, is_reset=True)

    def _on_priority(self, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on the connection")
        if not self._empty.spend(self._now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many PRIORITY frames")
        if len(payload) != 5:
            raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY has 5 bytes")
        if _uint32(payload)[0] & _ID == stream_id:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")

    def _on_window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes")
        self._on_idle_frame()
        increment = _uint32(payload)[0] & _ID
        if not stream_id:
            if not increment:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window update of 0")
            self.window += increment
            if self.window > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the window overflows")
            self.resume()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE, idle stream")
            return
        if not increment:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a window update of 0")
        stream.window += increment
        if stream.window > MAX_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "the window overflows")
        self._opened(stream)

    # -- frames of the connection ----------------------------------------------------------------

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an ACK with settings")
            self._on_idle_frame()
            return
        if len(payload) % 6:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of no whole settings")
        if not self._settings.spend(self._now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many SETTINGS")
        self._has_settings = True
        self._expect()
        initial = self.initial_window
        for name, value in _setting(payload):
            if name == Setting.ENABLE_PUSH and value > 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
            if name == Setting.MAX_FRAME_SIZE:
                if not DEFAULT_MAX_FRAME_BYTES <= value <= LARGEST_MAX_FRAME_BYTES:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE")
                self.max_frame_bytes = value
            if name == Setting.INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE")
                initial = value
        self.out.append(frame(SETTINGS, ACK, 0))
        self._change_windows(initial)

    def _change_windows(self, initial: int) -> None:
        by, self.initial_window = initial - self.initial_window, initial
        if not by:
            return
        for stream in self.streams.values():
            stream.window += by
            if stream.window > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window overflows")
            if stream.queue and stream.window > 0:
                self._line.join(stream)
        self.resume()

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING has 8 bytes")
        if flags & ACK:
            self._on_idle_frame()
            if self.on_ack is not None:
                self.on_ack(payload)
            return
        self.out.append(frame(PING, ACK, 0, payload))
        self._sink.ping(self._now)

    # -- sending ---------------------------------------------------------------------------------

    def open(self, stream_id: int, head: H, *, is_remote_closed: bool = True) -> Stream:
        """The Stream of a request that `sink.whole` was given, for an answer that comes later."""
        limits = self._limits
        open_bytes = limits.stream_bytes + head.kept_bytes
        self.open_bytes += open_bytes
        window = self.initial_window
        if self._widened:
            window += self._widened.get(stream_id, 0)
        self.streams[stream_id] = stream = Stream(
            stream_id, window, limits.stream_window_bytes, is_remote_closed, open_bytes
        )
        return stream

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End the stream now; what is queued on it is dropped."""
        if not stream.is_closed:
            self._refuse(stream.id, code)

    def stop_lingering(self, stream: Stream) -> None:
        """Do not wait for the rest of a request that is answered, or will be."""
        stream.lingers = False
        if stream.is_local_closed and not stream.is_closed:
            self._refuse(stream.id, ErrorCode.NO_ERROR)

    def credit(self, stream: Stream, size: int) -> None:
        """`size` bytes of the stream's DATA have been used: the client may send as many more."""
        if stream.is_remote_closed or stream.is_local_closed or stream.is_closed:
            return
        stream.credit += size
        if stream.credit >= self._limits.stream_window_bytes >> 1:
            self.out.append(window_update(stream.id, stream.credit))
            stream.recv_window += stream.credit
            stream.credit = 0

    def _finish(self, stream: Stream) -> None:
        assert stream.end is not None
        self.has_sent = True
        if stream.end:
            self.out.append(frame(HEADERS, END_HEADERS | END_STREAM, stream.id, stream.end))
        else:
            self.out.append(frame(DATA, END_STREAM, stream.id, b""))
        if stream.is_remote_closed:
            self.forget(stream)
        elif self._may_linger(stream):
            stream.is_local_closed = True
        else:
            self._refuse(stream.id, ErrorCode.NO_ERROR)

    def forget(self, stream: Stream, *, is_reset: bool = False) -> None:
        """The stream is closed; what was queued on it is dropped. The sink hears of a reset."""
        stream.is_closed = True
        if self.streams.pop(stream.id, None) is not None:
            self.open_bytes -= stream.open_bytes
        if stream.queue:
            self.queued_bytes -= stream.queued_bytes
            stream.queued_bytes = 0
            stream.queue.clear()
            self._line.leave(stream)
        if is_reset:
            self._sink.reset(stream)
        stream.call = None  # which has the stream: a cycle would wait for the collector

    def _refuse(self, stream_id: int, code: ErrorCode) -> None:
        """Reset a stream, open or not; its late frames will be dropped."""
        self.out.append(rst_stream(stream_id, code))
        self._late[stream_id] = None
        if len(self._late) > self._limits.late_streams:
            del self._late[next(iter(self._late))]
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.forget(stream, is_reset=code is not ErrorCode.NO_ERROR)

    # -- the end ---------------------------------------------------------------------------------

    @property
    def accepts_streams(self) -> bool:
        return self.accepts_below == 1 << 31

    def go_away(self, *, last: bool) -> None:
        """Ask the client to go elsewhere: first without a last stream, then with the real one.

        Streams that were opened go on (RFC 9113, section 6.8).
        """
        self.accepts_below = self.last_id + 1 if last else self.accepts_below
        self._expect()
        self.out.append(goaway(self.last_id if last else _ID, ErrorCode.NO_ERROR))

    def ping(self, payload: bytes) -> None:
        """Send a PING of 8 bytes; `on_ack` hears of the answer."""
        self.out.append(frame(PING, 0, 0, payload))

    def close(self, code: ErrorCode, text: str = "") -> None:
        """End the connection with a GOAWAY, and its streams; what is left of many, `abandon`."""
        if self.is_closed:
            return
        self.is_closed = True
        self._buffer = b""
        self.out.append(goaway(self.last_id, code, text.encode()))
        self.abandon(_ABANDONED)

    def abandon(self, most: int | None = None) -> None:
        """The peer is gone: forget the streams and tell the sink.

        With `most` it forgets so many at a time: call it again while there are `streams`.
        """
        self.is_closed = True
        self._arriving.clear()
        count = len(self.streams)
        for _ in range(count if most is None else min(most, count)):
            self.forget(next(reversed(self.streams.values())), is_reset=True)

    # -- inside ----------------------------------------------------------------------------------

    def _expect(self) -> None:
        """Which stream may be opened without further questions."""
        next_id = self.last_id + 2 if self.last_id else 1
        is_plain = self._has_settings and self._block is None
        self._next_id = next_id if is_plain and next_id < min(self.accepts_below, _FAR) else 0

    def _note_skipped(self, stream_id: int) -> None:
        """Remember ids that were never opened, to tell a late frame from a wrong one."""
        if stream_id <= self.last_id:
            return
        if len(self._skipped) < 16 and stream_id > self.last_id + 2:
            self._skipped.append((self.last_id + 1, stream_id - 1))

    def _credit_connection(self) -> None:
        """All DATA is given back as it comes: what is kept of it is bounded by the sink."""
        size = self._limits.connection_window_bytes - self._recv_window
        self.out.append(window_update(0, size))
        self._recv_window += size


def _end_of(data: bytes, most: int, at: int) -> int:
    """Where the frame ends that is the last of so many, or all that is there."""
    for _ in range(most):
        if len(data) - at < HEAD_BYTES:
            return len(data)
        at += HEAD_BYTES + (unpack_head(data, at)[0] >> 8)
    return min(at, len(data))


def _unpad(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]
