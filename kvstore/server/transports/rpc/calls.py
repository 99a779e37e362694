"""The calls of one connection: HTTP/2's sink, the method table's caller.

A unary call that came whole is answered in `whole` without anything kept. All others live on their
stream (`unary.py`, `streaming.py`).

Memory is bounded: while the client does not take his answers no more are made (`backlog.py`), and
streams are not pulled while what they gave before has not left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from kvstore.limits import WATCHERS_BYTES
from kvstore.server.method import Allowance, Deferred, Kind
from kvstore.server.status import Status
from kvstore.server.transports.http2.connection import Connection
from kvstore.server.transports.http2.errors import ConnectionFault
from kvstore.server.transports.http2.frames import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    ErrorCode,
    frame,
)
from kvstore.server.transports.http2.header_block import Fields
from kvstore.server.transports.http2.stream import Stream
from kvstore.server.transports.rpc.backlog import QUEUE_BYTES, ZIPPING_COSTS, Backlog
from kvstore.server.transports.rpc.framing import (
    LARGEST_ZIPPED_BYTES,
    PREFIX_BYTES,
    frame_message,
    pack_prefix,
    prefix_of,
)
from kvstore.server.transports.rpc.head import CallHead, understand
from kvstore.server.transports.rpc.outcome import parse, status_for
from kvstore.server.transports.rpc.plain import PlainCall
from kvstore.server.transports.rpc.receive_buffer import ReceiveBuffer
from kvstore.server.transports.rpc.replies import OK_TRAILERS, head_block, refusal_block, whole
from kvstore.server.transports.rpc.service import Service
from kvstore.server.transports.rpc.streaming import SessionCall, TaskCall
from kvstore.server.transports.rpc.unary import UnaryCall
from kvstore.server.transports.web.http2 import Web, WebCall, WebHead

__all__ = ["TURN_WORK", "Calls"]

TURN_WORK: Final = 256
"""Responses of streams, or what costs as much, before others have their turn."""
_STRIKES: Final = 2
_IDLE_PING_INTERVAL_S: Final = 7200.0


class Calls:
    """Implements Sink. The owner sets `connection` and writes what is in its `out`."""

    connection: Connection[CallHead | WebHead]

    def __init__(
        self, service: Service, peer: str, wake: Callable[[], None], web: Web | None = None
    ) -> None:
        """`wake` is called when something was put into `out` from outside `receive`.

        `web` answers what is no gRPC; without it all is.
        """
        self.service, self.peer, self.wake, self.web = service, peer, wake, web
        self._ready: deque[SessionCall] = deque()
        self._is_backlog_first = False
        self.backlog = Backlog(self)
        self.receive_buffer = ReceiveBuffer(self)
        self.watchers = Allowance(WATCHERS_BYTES)
        self._strikes = 0
        self._last_ping_at = float("-inf")
        self._last_id_at_ping = 0
        self.is_draining = False

    def __repr__(self) -> str:
        return f"Calls({self.peer}, {self.backlog!r}, {self.connection!r})"

    # -- the sink --------------------------------------------------------------------------------

    def understand(self, fields: Fields) -> CallHead | WebHead:
        if self.web is not None and self.web.wants(fields):
            return WebHead.of(fields, self.peer)
        return understand(fields, self.service.methods, self.service.stats, self.peer)

    varying = b"grpc-timeout"

    def vary(self, meaning: CallHead | WebHead, value: bytes) -> CallHead | WebHead:
        return meaning.with_timeout(value.decode("latin-1"))

    def whole(self, stream_id: int, head: CallHead | WebHead, body: bytes) -> None:
        connection = self.connection
        if TYPE_CHECKING:
            assert isinstance(head, CallHead)  # others are never `is_whole`
            assert head.stats is not None
            assert head.handler is not None
        if len(body) < PREFIX_BYTES:
            self._on_stream(stream_id, head, body)
            return
        flag, size = prefix_of(body)
        if (
            flag
            or size != len(body) - PREFIX_BYTES
            or size > self.service.max_message_bytes
            or self.backlog.is_waiting
            or connection.room_bytes <= 0
        ):
            self._on_stream(stream_id, head, body)
            return
        message = body[PREFIX_BYTES:]
        if head.once is not None:
            self._once(stream_id, head, body, message)
            return
        stats = head.stats
        stats.started += 1
        stats.received += 1
        began = 0.0 if stats.seconds is None else self.service.loop.time()
        try:
            response: Any = None if head.shortcut is None else head.shortcut(message)
            if response is None:
                response = head.handler(parse(head, message), head.call)
            if type(response) is bytes:
                answer = response
            elif type(response) is not Deferred and isinstance(response, Message):
                answer = response.SerializeToString()
            else:
                UnaryCall(self, connection.open(stream_id, head), head, began).wait_for(response)
                return
        except Exception as error:
            status = status_for(head, error)
            stats.handled[status.code] += 1
            connection.out.append(
                frame(
                    HEADERS,
                    END_HEADERS | END_STREAM,
                    stream_id,
                    refusal_block(status.code, status.message, content_type=head.content_type),
                )
            )
            return
        stats.handled[0] += 1
        if stats.seconds is not None:
            stats.seconds.observe(self.service.loop.time() - began)
        self._answer(stream_id, head, answer)

    def begin(self, stream: Stream, head: CallHead | WebHead) -> None:
        if isinstance(head, WebHead):
            # At once: the client may be waiting for a word before it sends its body.
            WebCall(self, stream, head).data(b"", is_end=False)
        elif head.refusal is not None and head.is_grpc:
            self.refuse(stream, head)
        elif head.refusal is not None:
            PlainCall(self, stream, head.refusal)
        elif head.method is not None:
            if head.stats is not None:
                head.stats.started += 1
            if head.method.kind is Kind.UNARY:
                UnaryCall(self, stream, head, self.service.loop.time())
            elif head.method.session is not None:
                SessionCall(self, stream, head)
            else:
                TaskCall(self, stream, head)

    def data(self, stream: Stream, data: bytes, *, is_end: bool) -> None:
        if stream.call is not None:
            stream.call.data(data, is_end=is_end)

    def reset(self, stream: Stream) -> None:
        if stream.call is not None:
            stream.call.cancel()

    def writable(self, stream: Stream) -> None:
        if stream.call is not None:
            stream.call.writable()

    def ping(self, now: float) -> None:
        """Punish pings that are too many, as grpc-go's server does (handlePing)."""
        connection = self.connection
        last, self._last_ping_at = self._last_ping_at, now
        if connection.has_sent or connection.last_id != self._last_id_at_ping:
            connection.has_sent, self._last_id_at_ping = False, connection.last_id
            self._strikes = 0
            return
        least = self.service.min_ping_interval_s if connection.streams else _IDLE_PING_INTERVAL_S
        if last + least > now:
            self._strikes += 1
        if self._strikes > _STRIKES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")

    # -- what calls ask for ----------------------------------------------------------------------

    def respond(self, stream: Stream, head: CallHead, answer: bytes) -> None:
        """The whole successful answer of a call on a stream."""
        connection = self.connection
        if stream.is_closed:
            return
        if head.stats is not None:
            head.stats.sent += 1
        size = len(answer) + PREFIX_BYTES
        if (
            size <= connection.max_frame_bytes
            and size <= connection.window
            and size <= stream.window
            and stream.is_remote_closed
            and size <= connection.room_bytes
            and head.is_plain
        ):
            connection.window -= size
            connection.room_bytes -= size
            connection.has_sent = True
            before, after = whole(stream.id, answer)
            connection.out += (before, answer, after)
            connection.forget(stream)
            return
        connection.send_headers(stream, head_block(head.content_type, is_gzip=head.is_gzip))
        if head.is_gzip and len(answer) <= LARGEST_ZIPPED_BYTES:
            connection.room_bytes -= ZIPPING_COSTS * len(answer)
        connection.send_data(stream, frame_message(answer, is_gzip=head.is_gzip))
        connection.send_end(stream, OK_TRAILERS)

    def respond_in_parts(self, stream: Stream, head: CallHead, parts: Sequence[bytes]) -> None:
        """The same of one message in pieces; none is copied."""
        connection = self.connection
        if stream.is_closed:
            return
        if head.stats is not None:
            head.stats.sent += 1
        connection.send_headers(stream, head_block(head.content_type, is_gzip=head.is_gzip))
        connection.send_data(stream, pack_prefix(0, sum(map(len, parts))))
        for part in parts:
            if part:
                connection.send_data(stream, part)
        connection.send_end(stream, OK_TRAILERS)

    def refuse(self, stream: Stream, head: CallHead) -> None:
        """Answer a call that no handler sees."""
        assert head.refusal is not None
        code, message, http_status, unknown = head.refusal
        if unknown:
            self.service.stats.unknown(unknown)
        self.connection.send_end(
            stream,
            refusal_block(code, message, http_status=http_status, content_type=head.content_type),
        )

    def fail(self, stream: Stream, head: CallHead, status: Status) -> None:
        """End a call that has not begun to answer with a status."""
        self.connection.send_end(
            stream, refusal_block(status.code, status.message, content_type=head.content_type)
        )

    def ready(self, call: SessionCall) -> None:
        """Pull it in the next turn."""
        self._ready.append(call)
        self.wake()

    # -- turns -----------------------------------------------------------------------------------

    def turn(self) -> int:
        """Get on the calls that waited, and pull the streams that have something to say.

        Until it is `TURN_WORK`; returns the work. Either can use up a turn, so the other is first
        in the next.
        """
        self._is_backlog_first = not self._is_backlog_first
        if self._is_backlog_first:
            work = self.backlog.run() if self.backlog.is_waiting else 0
            return self._pump(work)
        work = self._pump(0)
        if self.backlog.is_waiting and work < TURN_WORK:
            work += self.backlog.run()
        return work

    def _pump(self, work: int) -> int:
        """Pull streams while there is room, and less work than a turn's; returns the work."""
        ready, connection = self._ready, self.connection
        try:
            for _ in range(len(ready)):
                if connection.room_bytes <= 0 or work >= TURN_WORK:
                    break
                work += ready.popleft().pump()
        except ConnectionFault as fault:
            connection.close(fault.code, fault.text)
        return work

    @property
    def is_idle(self) -> bool:
        """Nothing can have work: a turn may be left out."""
        return not self._ready and not self.backlog.is_waiting

    @property
    def has_work(self) -> bool:
        if self._ready:
            return self.connection.room_bytes > 0
        return self.backlog.is_waiting and self.backlog.is_runnable

    def drain(self) -> None:
        """End the streams, which never end by themselves; unary calls go on."""
        self.is_draining = True
        for stream in list(self.connection.streams.values()):
            if stream.call is not None:
                stream.call.stop()

    # -- inside ----------------------------------------------------------------------------------

    def _on_stream(self, stream_id: int, head: CallHead, body: bytes) -> None:
        """A whole request that cannot be answered as one."""
        stream = self.connection.open(stream_id, head)
        self.begin(stream, head)
        self.data(stream, body, is_end=True)

    def _once(self, stream_id: int, head: CallHead, body: bytes, message: bytes) -> None:
        stats = head.stats
        assert stats is not None
        assert head.once is not None
        began = 0.0 if stats.seconds is None else self.service.loop.time()
        try:
            answer = head.once(parse(head, message, is_stream=True))
        except Exception:  # it is raised again on the stream, which can tell it
            answer = None
        if answer is None:
            self._on_stream(stream_id, head, body)
            return
        stats.started += 1
        stats.received += 1
        stats.handled[0] += 1
        if stats.seconds is not None:
            stats.seconds.observe(self.service.loop.time() - began)
        self._answer(stream_id, head, answer)

    def _answer(self, stream_id: int, head: CallHead, answer: bytes) -> None:
        connection = self.connection
        size = len(answer) + PREFIX_BYTES
        if (
            size <= connection.max_frame_bytes
            and size <= connection.window
            and size <= connection.initial_window
            and size <= connection.room_bytes
            and head.is_plain
        ):
            connection.window -= size
            connection.room_bytes -= size
            before, after = whole(stream_id, answer)
            connection.out += (before, answer, after)
            if head.stats is not None:
                head.stats.sent += 1
        else:
            self.respond(connection.open(stream_id, head), head, answer)
            if connection.queued_bytes >= QUEUE_BYTES:
                self.backlog.is_waiting = True
