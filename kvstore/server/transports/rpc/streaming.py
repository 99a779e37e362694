"""Calls with a stream of responses: pulled from a session, or from a task's async generator.

Either is pulled only when what it gave before has left, so that the client's windows are the
back-pressure. Requests of a client that does not take his responses are not credited back, so that
he has to stop, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from kvstore.errors import StoreClosed
from kvstore.server.method import Kind, Response, serialized
from kvstore.server.status import Code, Status, StatusError, status_of
from kvstore.server.transports.http2.stream import Stream
from kvstore.server.transports.rpc.framing import MessageReader, frame_message, pack_prefix
from kvstore.server.transports.rpc.head import CallHead
from kvstore.server.transports.rpc.outcome import parse, status_for
from kvstore.server.transports.rpc.replies import OK_TRAILERS, head_block, status_block
from kvstore.server.transports.rpc.unary import DEADLINE_EXCEEDED

if TYPE_CHECKING:
    from kvstore.server.transports.rpc.calls import Calls

__all__ = ["SessionCall", "TaskCall"]

_BURST: Final = 64
"""Responses of one stream before others have their turn."""
_BURST_BYTES: Final = 64 * 1024
"""The same in bytes."""
_REQUEST_WORK: Final = 4
"""What a request costs, in responses."""
_SPENT_WORK: Final = 256
"""What a pull costs that looked at much of the past: a turn."""
_UNREAD_MESSAGES: Final = 256
"""Requests of a generator that wait before the client is slowed down."""
_OK: Final = Status(Code.OK, "", 200)
_STOPPED: Final = StoreClosed()
_CUT: Final = StatusError(Code.INTERNAL, "unexpected EOF")
_NO_REQUEST: Final = StatusError(
    Code.INTERNAL,
    "cardinality violation: received no request message from non-client-streaming RPC",
)


class _StreamingCall:
    """What both kinds share: reading requests, sending responses, the end."""

    __slots__ = ("_began", "_calls", "_has_begun", "_head", "_owed", "_reader", "is_done", "stream")

    def __init__(self, calls: Calls, stream: Stream, head: CallHead) -> None:
        self._calls, self.stream, self._head = calls, stream, head
        self._reader = MessageReader(calls.service.max_message_bytes, is_gzip=head.is_gzip)
        self._began = calls.service.loop.time()
        self._has_begun = self.is_done = False
        self._owed = 0
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
        else:
            framed = []
            for response in responses:
                data = serialized(response)
                framed += (pack_prefix(0, len(data)), data)
        connection.send_data(self.stream, b"".join(framed))

    def _credit(self, size: int) -> None:
        """Give `size` bytes back to the client, unless he is to be slowed down."""
        self._owed += size
        if not self._is_backed_up:
            owed, self._owed = self._owed, 0
            self._calls.connection.credit(self.stream, owed)

    @property
    def _is_backed_up(self) -> bool:
        return bool(self.stream.queue)

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

    __slots__ = ("_arrived", "_has_ended", "_has_more", "_is_ready", "_session")

    def __init__(self, calls: Calls, stream: Stream, head: CallHead) -> None:
        super().__init__(calls, stream, head)
        assert head.method is not None
        assert head.method.session is not None
        self._arrived: list[bytes] = []
        self._has_ended = False  # the client said that he says no more; the session was not told
        self._has_more = False  # messages that were not taken may be with the reader
        self._is_ready = False
        self._session = head.method.session(head.call, self._on_ready)

    def data(self, data: bytes, *, is_end: bool) -> None:
        """The end of what the client says is not the end of the stream."""
        if self.is_done:
            return
        if data:
            self._arrived.append(data)
            self._owed += len(data)
        self._has_ended = is_end
        self._on_ready()

    def pump(self) -> int:
        """Give the session what has come, and send what it has as long as it leaves at once.

        Returns the work that was.
        """
        self._is_ready = False
        if self.is_done:
            return 0
        work = self._take() if self._arrived or self._has_more or self._has_ended else 1
        if self.is_done or self.stream.queue or self._calls.connection.is_congested:
            return work  # `writable` comes back to it
        if not self._calls.may_pull(self):
            return work
        session = self._session
        responses: list[Response] = []
        error: Exception | None = None
        is_more, size = True, 0
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
        elif is_more or (self._has_more and session.room):
            self._on_ready()
        elif session.is_over:
            self._end(_OK)
        return work + len(responses)

    def _take(self) -> int:
        """Feed the session, as far as it is its turn and there is room; returns the work."""
        head, session, arrived = self._head, self._session, self._arrived
        assert head.stats is not None
        most = min(_BURST, session.room)
        if not most:
            return 1
        data = arrived[0] if len(arrived) == 1 else b"".join(arrived)
        arrived.clear()
        try:
            messages = self._reader.feed(data, most)
            for message in messages:
                head.stats.received += 1
                session.receive(parse(head, message, is_stream=True))
            self._has_more = len(messages) == most
            if self._has_ended and not self._has_more:
                self._has_ended = False
                if not self._reader.is_empty:
                    raise _CUT
                session.end()
        except Exception as error:
            self._end(status_for(head, error))
            return _BURST
        self._credit(0)
        return 1 + _REQUEST_WORK * len(messages)

    @property
    def _is_backed_up(self) -> bool:
        return bool(self.stream.queue or self._has_more or self._arrived)

    def writable(self) -> None:
        if self._owed:
            self._credit(0)
        self._on_ready()

    def _on_ready(self) -> None:
        if not self._is_ready and not self.is_done:
            self._is_ready = True
            self._calls.ready(self)

    def _release(self) -> None:
        self._session.close()
        del self._session  # it has `_on_ready` of this call: a cycle, as in Connection.forget


class TaskCall(_StreamingCall):
    """A task that pulls the handler's async generator."""

    __slots__ = ("_is_all", "_requests", "_task", "_wakeup")

    def __init__(self, calls: Calls, stream: Stream, head: CallHead) -> None:
        super().__init__(calls, stream, head)
        self._requests: deque[tuple[bytes, int]] = deque()
        self._is_all = False
        self._wakeup: asyncio.Future[None] | None = None
        self._task = calls.service.spawn(self._run())

    def data(self, data: bytes, *, is_end: bool) -> None:
        if self.is_done:
            return
        try:
            messages = self._reader.feed(data)
            if is_end and not self._reader.is_empty:
                raise _CUT
        except StatusError as error:
            self._end(status_for(self._head, error))
            return
        self._requests += [(message, len(message)) for message in messages]
        self._is_all = is_end
        self._credit(len(data))
        self._wake_task()

    @property
    def _is_backed_up(self) -> bool:
        return bool(self.stream.queue) or len(self._requests) > _UNREAD_MESSAGES

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
        """The next request; None after the last."""
        while not self._requests:
            if self._is_all:
                return None
            await self._wait()
        message, _ = self._requests.popleft()
        assert self._head.stats is not None
        self._head.stats.received += 1
        self._credit(0)
        return parse(self._head, message, is_stream=True)

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
        responses = head.handler(request, head.call)
        try:
            async for response in responses:
                self._send((response,))
                self._calls.wake()
                while self.stream.queue or self._calls.connection.is_congested:
                    await self._wait()
        finally:
            await responses.aclose()

    def _release(self) -> None:
        if self._task is not asyncio.current_task():
            self._task.cancel()
