"""Calls with a stream of responses: pulled from a session, or from a task's async generator.

Either is pulled only when what it gave before has left, so that the client's windows are the
back-pressure. Requests of a client that does not take his responses are not credited back, so that
he has to stop, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from kvstore.errors import StoreClosed
from kvstore.server.method import Kind, Response, serialized
from kvstore.server.status import Code, Status, StatusError, status_of
from kvstore.server.transports.http2.stream import Stream
from kvstore.server.transports.rpc.backlog import ZIPPING_COSTS
from kvstore.server.transports.rpc.framing import MessageReader, frame_message, pack_prefix
from kvstore.server.transports.rpc.head import CallHead
from kvstore.server.transports.rpc.outcome import parse, status_for
from kvstore.server.transports.rpc.replies import OK_TRAILERS, head_block, status_block
from kvstore.server.transports.rpc.unary import DEADLINE_EXCEEDED

if TYPE_CHECKING:
    from kvstore.server.transports.rpc.calls import Calls

__all__ = ["SessionCall", "TaskCall"]

_BURST: Final = 64
"""How often one stream is pulled before others have their turn."""
_BURST_BYTES: Final = 64 * 1024
"""The same in bytes of responses."""
_FED: Final = 32
"""How many requests of one stream are taken in a turn: a watch costs five times a response."""
_REQUEST_WORK: Final = 4
"""What a request costs, in responses."""
_SPENT_WORK: Final = 256
"""What a pull costs that looked at much of the past: a turn."""
_OK: Final = Status(Code.OK, "", 200)
_STOPPED: Final = StoreClosed()
_CUT: Final = StatusError(Code.INTERNAL, "unexpected EOF")
_NO_REQUEST: Final = StatusError(
    Code.INTERNAL,
    "cardinality violation: received no request message from non-client-streaming RPC",
)


class _StreamingCall:
    """What both kinds share: reading requests, sending responses, the end."""

    __slots__ = (
        "_began",
        "_calls",
        "_has_begun",
        "_has_kept",
        "_head",
        "_is_all",
        "_owed",
        "_reader",
        "is_done",
        "stream",
    )

    def __init__(self, calls: Calls, stream: Stream, head: CallHead) -> None:
        self._calls, self.stream, self._head = calls, stream, head
        self._reader = MessageReader(calls.service.max_message_bytes, is_gzip=head.is_gzip)
        assert head.stats is not None
        self._began = 0.0 if head.stats.seconds is None else calls.service.loop.time()
        self._has_begun = self.is_done = False
        self._owed = 0
        self._has_kept = self._is_all = False
        stream.call = self
        if head.timeout_s is not None:
            calls.service.deadlines.add(head.timeout_s, self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.stream!r}, done={self.is_done})"

    def _send(self, responses: Sequence[Response]) -> None:
        """Messages may share a DATA frame, so that many small ones cost one."""
        head, connection = self._head, self._calls.connection
        assert head.stats is not None
        head.stats.sent += len(responses)
        if not self._has_begun:
            self._has_begun = True
            connection.send_headers(
                self.stream, head_block(head.content_type, is_gzip=head.is_gzip)
            )
        if head.is_gzip:
            framed = [frame_message(serialized(one), is_gzip=True) for one in responses]
            connection.room_bytes -= ZIPPING_COSTS * sum(map(len, framed))
        else:
            framed = []
            for response in responses:
                data = serialized(response)
                framed += (pack_prefix(0, len(data)), data)
        connection.send_data(self.stream, b"".join(framed))

    def _take(self) -> Message | None:
        """The next request; None when none is there. Raises StatusError."""
        request = self._reader.take()
        if request is None:
            return None
        flag, message = request
        head = self._head
        if flag:
            message = self._reader.plain(flag, message)
            self._calls.connection.room_bytes -= len(message)
        assert head.stats is not None
        head.stats.received += 1
        return parse(head, message, is_stream=True)

    def _give_back(self) -> None:
        """Have the client send more, unless what he sent before has to wait for him."""
        kept = self._reader.left
        if self.stream.queue or (kept and self._reader.has_whole):
            self._calls.receive_buffer.keep(self.stream, kept, 0, is_stuck=True)
        else:
            owed, self._owed = self._owed, 0
            if kept or self._has_kept:
                self._calls.receive_buffer.keep(self.stream, kept, owed)
            else:
                self._calls.connection.credit(self.stream, owed)
        self._has_kept = kept > 0

    def _end(self, status: Status) -> None:
        """Say how it ended, after all that was sent."""
        if self.is_done:
            return
        self._close(status.code)
        connection = self._calls.connection
        if not self._has_begun and status.code is not Code.OK:
            self._calls.fail(self.stream, self._head, status)
        else:
            if not self._has_begun:
                connection.send_headers(
                    self.stream, head_block(self._head.content_type, is_gzip=self._head.is_gzip)
                )
            ok = status.code is Code.OK
            block = OK_TRAILERS if ok else status_block(status.code, status.message)
            connection.send_end(self.stream, block)
        self._calls.wake()

    def _close(self, code: Code) -> None:
        self.is_done = True
        if self._has_kept:
            self._calls.receive_buffer.remove(self.stream)
        stats = self._head.stats
        assert stats is not None
        stats.handled[code] += 1
        if stats.seconds is not None:
            stats.seconds.observe(self._calls.service.loop.time() - self._began)
        self._release()

    def _release(self) -> None:
        raise AssertionError("each kind has its own")

    # -- from outside ----------------------------------------------------------------------------

    def expire(self) -> None:
        self._end(DEADLINE_EXCEEDED)

    def cancel(self) -> None:
        if not self.is_done:
            self._close(Code.CANCELED)

    def stop(self) -> None:
        self._end(status_of(_STOPPED))


class SessionCall(_StreamingCall):
    """No task: the session is fed and pulled in turns of the connection.

    Messages that have not had their turn, or that the session has no room for, stay as they came,
    and are not credited back: a window's worth at most.
    """

    __slots__ = ("_held_bytes", "_is_ready", "_session", "_work")

    def __init__(self, calls: Calls, stream: Stream, head: CallHead) -> None:
        super().__init__(calls, stream, head)
        assert head.method is not None
        assert head.method.session is not None
        self._is_ready = False
        self._work = 0
        """What was done outside of its turns."""
        self._held_bytes = 0
        self._session = head.method.session(head.call, self._on_ready, self._hold)

    def data(self, data: bytes, *, is_end: bool) -> None:
        """The end of what the client says is not the end of the stream."""
        if self.is_done:
            return
        self._is_all = is_end
        if not self._is_ready and not self.stream.queue:  # else others are before it
            message = self._reader.only(data)
            connection, session = self._calls.connection, self._session
            if message is not None and session.room > 0 and connection.room_bytes > 0:
                self._receive(message)
                connection.credit(self.stream, len(data))
                return
        self._reader.feed(data)
        self._owed += len(data)
        if self._is_ready:  # before it had its turn
            self._has_kept = True
            self._calls.receive_buffer.keep(self.stream, self._reader.left, 0)
        self._on_ready()

    def _receive(self, message: bytes) -> None:
        """The one request that there is, without the way through the reader."""
        head = self._head
        assert head.stats is not None
        head.stats.received += 1
        self._work = _REQUEST_WORK
        try:
            self._session.receive(parse(head, message, is_stream=True))
        except Exception as error:
            self._end(status_for(head, error))
        else:
            self._on_ready()

    def pump(self) -> int:
        """Give the session what has come, and send what it has as long as it leaves at once.

        Returns the work that was.
        """
        if self.is_done or self.stream.queue:
            self._is_ready = False
            if self._owed and not self.is_done:
                self._give_back()  # not yet, but it counts
            return 0  # `writable` comes back to it
        # What comes up while it is ready is pulled below.
        work, self._work = self._work, 0
        if self._owed or self._is_all:
            work += self._feed()
        self._is_ready = False
        if self.is_done or not self._calls.backlog.may_pull(self):
            return work
        return work + self._pull()

    def _feed(self) -> int:
        """As far as it is its turn and the session has room."""
        session, connection, reader = self._session, self._calls.connection, self._reader
        room, count = session.room, 0
        try:
            while count < room and reader.left and count < _FED and connection.room_bytes > 0:
                request = self._take()
                if request is None:
                    break
                count += 1
                session.receive(request)
            if self._is_all and not reader.has_whole:
                if reader.left:
                    raise _CUT
                self._is_all = False
                session.end()
        except Exception as error:
            self._end(status_for(self._head, error))
            return _BURST
        self._give_back()
        return _REQUEST_WORK * count

    def _pull(self) -> int:
        session = self._session
        responses: list[Response] = []
        error: Exception | None = None
        is_more, size, work = True, 0, 1
        try:
            for _ in range(_BURST):
                response = session.pull()
                if response is not None:
                    responses.append(response)
                    size += len(response) if type(response) is bytes else 0
                elif not session.has_work:
                    is_more = False
                    break
                if session.is_spent:
                    work += _SPENT_WORK
                    break
                if size >= _BURST_BYTES:
                    work += _BURST
                    break
        except Exception as raised:
            error = raised
        if responses:
            self._send(responses)
        if error is not None:
            self._end(status_for(self._head, error))
        elif is_more or (self._reader.left and self._has_unfed):
            self._on_ready()
        elif session.is_over:
            self._end(_OK)
        return work + len(responses)

    @property
    def _has_unfed(self) -> bool:
        """Could it be fed in the next turn?"""
        return self._reader.has_whole and not self.stream.queue and self._session.room > 0

    def writable(self) -> None:
        self._on_ready()

    def _on_ready(self) -> None:
        if not self._is_ready and not self.is_done:
            self._is_ready = True
            self._calls.ready(self)

    def _hold(self, size: int) -> bool:
        """Implements Hold."""
        may_hold = self._calls.watchers.hold(size)
        self._held_bytes += size if may_hold else 0
        return may_hold

    def _release(self) -> None:
        self._calls.backlog.leave(self)
        self._calls.watchers.bytes -= self._held_bytes
        self._session.close()
        del self._session  # it has `_on_ready` of this call: a cycle, as in Connection.forget


class TaskCall(_StreamingCall):
    """A task that pulls the handler's async generator."""

    __slots__ = ("_is_deaf", "_task", "_wakeup")

    def __init__(self, calls: Calls, stream: Stream, head: CallHead) -> None:
        super().__init__(calls, stream, head)
        self._is_deaf = False
        """It has its one request, and hears no more."""
        self._wakeup: asyncio.Future[None] | None = None
        self._task = calls.service.spawn(self._run())

    def data(self, data: bytes, *, is_end: bool) -> None:
        if self.is_done:
            return
        if self._is_deaf:
            self._calls.connection.credit(self.stream, len(data))
            return
        self._reader.feed(data)
        self._owed += len(data)
        self._is_all = is_end
        self._give_back()
        self._wake_task()

    def writable(self) -> None:
        self._wake_task()

    def _wake_task(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def _wait(self) -> None:
        self._wakeup = self._calls.service.loop.create_future()
        try:
            await self._wakeup
        finally:
            self._wakeup = None

    async def _next(self) -> Message | None:
        """The next request; None after the last. Raises StatusError."""
        while (request := self._take()) is None:
            if self._is_all:
                if self._reader.left:
                    raise _CUT
                return None
            self._give_back()  # what was kept while responses had not left
            self._calls.wake()
            await self._wait()
        self._give_back()
        return request

    async def _all(self) -> AsyncIterator[Message]:
        while (request := await self._next()) is not None:
            yield request

    async def _run(self) -> None:
        try:
            await self._pull()
        except Exception as error:
            self._end(status_for(self._head, error))
        else:
            self._end(_OK)

    async def _pull(self) -> None:
        head = self._head
        assert head.method is not None
        assert head.handler is not None
        request: Any = self._all()
        if head.method.kind is Kind.SERVER_STREAM:
            request = await self._next()
            if request is None:
                raise _NO_REQUEST
            self._is_deaf = True
        responses = head.handler(request, head.call)
        try:
            while await self._send_next(responses):
                while self.stream.queue:
                    await self._wait()
        finally:
            await responses.aclose()

    async def _send_next(self, responses: AsyncIterator[Response]) -> bool:
        """False after the last."""
        with await self._calls.backlog.make():
            response = await anext(responses, None)
            if response is not None:
                self._send((response,))
                self._calls.wake()
        return response is not None

    def _release(self) -> None:
        if self._task is not asyncio.current_task():
            self._task.cancel()
