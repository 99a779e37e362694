"""A unary call that lives on a stream: it did not come whole, or its answer comes later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from kvstore.server.method import Deferred, EncodedParts, Response, Sliced, serialized
from kvstore.server.status import Code, Status, StatusError
from kvstore.server.transports.http2.stream import Stream
from kvstore.server.transports.rpc.backlog import Making
from kvstore.server.transports.rpc.framing import MessageReader
from kvstore.server.transports.rpc.head import CallHead
from kvstore.server.transports.rpc.outcome import parse, status_for

if TYPE_CHECKING:
    import asyncio

    from kvstore.server.transports.rpc.calls import Calls

__all__ = ["DEADLINE_EXCEEDED", "UnaryCall"]

_OK: Final = int(Code.OK)
"""The enum itself would have to be made an index of each time."""
DEADLINE_EXCEEDED = Status(Code.DEADLINE_EXCEEDED, "context deadline exceeded", 504)


class UnaryCall:
    __slots__ = (
        "_began",
        "_calls",
        "_head",
        "_is_running",
        "_reader",
        "_release",
        "_request",
        "_task",
        "is_done",
        "stream",
    )

    def __init__(self, calls: Calls, stream: Stream, head: CallHead, began: float) -> None:
        """`began` on the clock of the loop; counted as started by whoever makes it."""
        self._calls, self.stream, self._head, self._began = calls, stream, head, began
        self._reader: MessageReader | None = None
        self._request: tuple[int, bytes] | None = None
        self._task: asyncio.Future[Any] | None = None
        self.is_done = self._is_running = False
        self._release: Callable[[], None] | None = None
        """No longer counts what is held of the answer."""
        stream.call = self
        if head.timeout_s is not None:
            calls.service.deadlines.add(head.timeout_s, self)

    def __repr__(self) -> str:
        return f"UnaryCall({self.stream!r}, done={self.is_done})"

    # -- the request -----------------------------------------------------------------------------

    def data(self, data: bytes, *, is_end: bool) -> None:
        """The handler runs with the first message; what comes after it is not looked at."""
        if self.is_done:
            return
        calls = self._calls
        if self._request is not None or self._is_running:
            calls.connection.credit(self.stream, len(data))
            return
        if self._reader is None:
            self._reader = MessageReader(
                calls.service.max_message_bytes, is_gzip=self._head.is_gzip
            )
        reader = self._reader
        try:
            reader.feed(data)
            request = reader.take()
            if request is not None:
                calls.receive_buffer.remove(self.stream)
                calls.connection.credit(self.stream, len(data))
                self.begin(request)
            elif is_end:
                raise StatusError(Code.UNKNOWN, reader.cut_text)
            else:
                calls.receive_buffer.keep(self.stream, reader.left, len(data))
        except StatusError as error:
            self._fail(error)

    def begin(self, request: tuple[int, bytes]) -> None:
        """The request is there, as MessageReader takes it."""
        self._request = request
        assert self._head.stats is not None
        self._head.stats.received += 1
        if self._calls.backlog.may_run(self, self.request_bytes):
            self.run()

    @property
    def request_bytes(self) -> int:
        return 0 if self._request is None else len(self._request[1])

    def run(self) -> None:
        """Answer it now; or later, when the answer is large and there is no room for it."""
        head = self._head
        assert self._request is not None
        assert head.handler is not None
        try:
            message = self._plain(*self._request)
            response = None if head.shortcut is None else head.shortcut(message)
            if response is None:
                response = head.handler(parse(head, message), head.call)
            if isinstance(response, (bytes, Message)):
                self._succeed_now(serialized(response))
            else:
                self.wait_for(response)
        except Exception as error:
            self._fail(error)

    def _plain(self, flag: int, message: bytes) -> bytes:
        if not flag:
            return message
        assert self._reader is not None
        plain = self._reader.plain(flag, message)
        self._calls.connection.room_bytes -= len(plain)  # it takes as long as making an answer
        return plain

    def _succeed_now(self, answer: bytes) -> None:
        backlog = self._calls.backlog
        if self._head.is_read and backlog.is_too_much(len(answer)):
            backlog.put_off(self, self.request_bytes, len(answer))
        else:
            self._succeed(answer)

    # -- the answer ------------------------------------------------------------------------------

    def wait_for(self, response: Deferred | Sliced | Awaitable[Any]) -> None:
        self._is_running, self._request = True, None
        if type(response) is Deferred:
            if response.held_bytes:
                self._release = self._calls.backlog.hold(response.held_bytes)
            response.then(self._on_answer)
        elif type(response) is Sliced:
            self._calls.backlog.start(self, partial(self._make, response))
        else:
            self._await(response)

    def _make(self, response: Sliced) -> None:
        if not self.is_done:
            making = Making(self._calls.backlog)
            self._release = making.close
            self._await(response.make(making))

    def _await(self, response: Awaitable[Any]) -> None:
        # The response itself and not what awaits it: of two, the inner one would be left without
        # an end when the call is cancelled before it has begun.
        self._task = self._calls.service.spawn(response)
        self._task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Future[Any]) -> None:
        if not task.cancelled():
            error = task.exception()
            assert error is None or isinstance(error, Exception)
            self._on_answer(None if error else task.result(), error)

    def _on_answer(self, response: Response | None, error: Exception | None) -> None:
        if self.is_done:
            return
        if type(response) is bytes:  # as `_succeed`, which is a call for each put
            self._count(_OK)
            self._calls.respond(self.stream, self._head, response)
        elif response is not None:
            self._succeed(response)
        else:
            assert error is not None
            self._fail(error)
        self._calls.wake()

    def _succeed(self, response: Response) -> None:
        self._count(_OK)
        if type(response) is bytes:
            self._calls.respond(self.stream, self._head, response)
        elif type(response) is EncodedParts:
            self._calls.respond_in_parts(self.stream, self._head, response.parts)
        else:
            self._calls.respond(self.stream, self._head, serialized(response))

    def _fail(self, error: Exception) -> None:
        status = status_for(self._head, error)
        self._count(status.code)
        self._calls.fail(self.stream, self._head, status)

    # -- from outside ----------------------------------------------------------------------------

    def expire(self) -> None:
        if self.is_done:
            return
        self._count(Code.DEADLINE_EXCEEDED)
        self._drop()
        self._calls.fail(self.stream, self._head, DEADLINE_EXCEEDED)
        self._calls.wake()

    def cancel(self) -> None:
        if not self.is_done:
            self._count(Code.CANCELED)
            self._drop()

    def stop(self) -> None:
        """The server stops; what has begun is finished."""

    def writable(self) -> None:
        """Nothing waits for it: the answer was given whole."""

    def _drop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _count(self, code: int) -> None:
        self.is_done, self._request = True, None
        if self._reader is not None:
            self._calls.receive_buffer.remove(self.stream)
        if self._release is not None:
            self._release()
            self._release = None
        stats = self._head.stats
        if stats is not None:
            stats.handled[code] += 1
            if stats.seconds is not None:
                stats.seconds.observe(self._calls.service.loop.time() - self._began)
