"""Calls of the gateway: a body that becomes requests, responses that become the answer."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from google.protobuf.message import Message

from kvstore.server.gateway.json_in import first_document
from kvstore.server.gateway.json_out import error_body, message_body
from kvstore.server.method import Call, Deferred, EncodedParts, Method, Response
from kvstore.server.stats import MethodStats
from kvstore.server.status import HTTP_STATUS, Code, Status, StatusError, status_of
from kvstore.server.transports.web.messages import Answer, Fields

__all__ = ["SUCCESS", "GatewayCall", "UnaryCall", "refuse"]

_log = logging.getLogger(__name__)

_JSON: Final = ("Content-Type", "application/json")
SUCCESS: Final[Fields] = (_JSON, ("Grpc-Metadata-Content-Type", "application/grpc"))
_TRAILER: Final = ("Trailer", "Grpc-Trailer-Content-Type")
_EXPIRED: Final = Status(Code.DEADLINE_EXCEEDED, "context deadline exceeded", 504)
JSON_FACTOR: Final = 2
"""How much longer than its message a body may be: base64 takes four bytes for three."""


def refuse(
    answer: Answer, status: Status, *, closes: bool = False, has_trailer: bool = False
) -> None:
    """Answer with a status; `has_trailer` when a method has said so and not the gateway."""
    trailed = has_trailer and takes_trailers(answer)
    fields = [_JSON, _TRAILER] if trailed else [_JSON]
    answer.reply(status.http_status, fields, error_body(status), closes=closes, trailed=trailed)


def takes_trailers(answer: Answer) -> bool:
    return "trailers" in answer.request.field("te").lower()


class GatewayCall:
    """What both kinds share: the time a client gives, the counting, the end."""

    def __init__(
        self,
        answer: Answer,
        method: Method,
        call: Call,
        stats: MethodStats,
        *,
        timeout_s: float | None,
        max_message_bytes: int,
    ) -> None:
        self.answer, self.method, self.call = answer, method, call
        self._stats = stats
        self._max_message_bytes = max_message_bytes
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._is_started = self.is_done = False
        self._task: asyncio.Future[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if timeout_s is not None:
            self._timer = self._loop.call_later(timeout_s, self._expire)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method.path} done={self.is_done}>"

    @property
    def is_backed_up(self) -> bool:
        return False

    def writable(self) -> None:
        """Nothing waits for it: the answer is given whole."""

    def hang_up(self) -> None:
        """The answer can still be sent."""

    def drain(self) -> None:
        """What has begun is finished."""

    def cancel(self) -> None:
        self._close(Code.CANCELED)

    def start_counting(self) -> None:
        """A method is called: the refusals of the gateway itself do not count."""
        if not self._is_started:
            self._is_started = True
            self._stats.started += 1

    def _expire(self) -> None:
        if not self.is_done:
            self._close(_EXPIRED.code)
            self._tell(_EXPIRED)

    def _tell(self, status: Status) -> None:
        raise AssertionError("each kind has its own")

    def _close(self, code: Code) -> None:
        """It has ended with `code`; what is still going on for it is stopped."""
        if self.is_done:
            return
        self.is_done = True
        if self._is_started:
            self._stats.handled[code] += 1
            if self._stats.seconds is not None:
                self._stats.seconds.observe(self._loop.time() - self._began)
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _status_for(self, error: Exception) -> Status:
        """What the client is told; an unforeseen error is logged."""
        status = status_of(error)
        if status.code is Code.INTERNAL and not isinstance(error, StatusError):
            _log.error("%s failed", self.method.path, exc_info=error)
        return status

    def too_large(self, size: int) -> StatusError:
        text = f"grpc: received message larger than max ({size} vs. {self._max_message_bytes})"
        return StatusError(Code.RESOURCE_EXHAUSTED, text)

    def check_size(self, request: Message) -> None:
        """Raises StatusError as the gRPC server would that the gateway of etcd calls."""
        size = request.ByteSize()
        if size > self._max_message_bytes:
            raise self.too_large(size)


class UnaryCall(GatewayCall):
    """Implements Handler."""

    keeps_body = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._body = bytearray()  # many small pieces would take many times their size

    def data(self, data: bytes) -> None:
        if self.is_done:
            return
        size = len(self._body) + len(data)
        if size > JSON_FACTOR * self._max_message_bytes:
            self._body.clear()
            self._fail(self.too_large(size), closes=True)
        else:
            self._body += data

    def end(self, fault: str = "") -> None:
        """As etcd's gateway it reads no further than to the end of the first document."""
        if self.is_done:
            return
        body, self._body = bytes(self._body), bytearray()
        try:
            request = first_document(self.method.request, body, fault=fault)
        except Exception as error:
            self._fail(error)
            return
        self.start_counting()
        try:
            self.check_size(request)
            self._stats.received += 1
            response = self.method.handler(request, self.call)
        except Exception as error:
            self._fail(error)
            return
        if isinstance(response, (Message, bytes, EncodedParts)):
            self._succeed(response)
        elif isinstance(response, Deferred):
            response.then(self._on_response)
        else:
            # The response itself and not what awaits it: of two, the inner one would be left
            # without an end when the call is cancelled before it has begun.
            self._task = asyncio.ensure_future(response)
            self._task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Future[Any]) -> None:
        if not task.cancelled():
            error = task.exception()
            assert error is None or isinstance(error, Exception)
            self._on_response(None if error else task.result(), error)

    def _on_response(self, response: Response | None, error: Exception | None) -> None:
        """Not raising, as a Deferred wants it."""
        if self.is_done:
            return
        if error is not None:
            self._fail(error)
        else:
            assert response is not None
            self._succeed(response)

    def _succeed(self, response: Response) -> None:
        try:
            body = message_body(self.method.response, response)
        except Exception as error:
            self._fail(error)
            return
        self._stats.sent += 1
        self._close(Code.OK)
        self.answer.reply(HTTP_STATUS[Code.OK], SUCCESS, body, trailed=takes_trailers(self.answer))

    def _fail(self, error: Exception, *, closes: bool = False) -> None:
        status = self._status_for(error)
        self._close(status.code)
        refuse(self.answer, status, closes=closes, has_trailer=self._is_started)

    def _tell(self, status: Status) -> None:
        refuse(self.answer, status)
