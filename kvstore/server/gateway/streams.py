"""Calls with a stream of responses: each is one chunk, one JSON document and a line feed.

Clients depend on that: some parse each chunk by itself. The head goes out with the first response,
so a watch that has nothing to say yet has not answered. A body that cannot be understood ends what
the client says, no more: what it asked before is answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

from google.protobuf.message import Message

from kvstore.errors import StoreClosed
from kvstore.server.gateway.calls import JSON_FACTOR, SUCCESS, GatewayCall
from kvstore.server.gateway.json_in import first_document
from kvstore.server.gateway.json_out import error_chunk, result_chunk
from kvstore.server.gateway.splitter import Splitter
from kvstore.server.method import Kind
from kvstore.server.status import Code, Status, status_of

__all__ = ["StreamCall"]

_UNREAD_REQUESTS: Final = 256
"""Requests that wait for the handler before no more of the body is read."""


class StreamCall(GatewayCall):
    """Implements Handler. A task pulls the generator of the method."""

    keeps_body = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._splitter = Splitter(JSON_FACTOR * self._max_message_bytes)
        self._requests: deque[Message] = deque()
        self._has_begun = self._is_all = False
        self._wakeup: asyncio.Future[None] | None = None
        self.start_counting()
        self._task = self._loop.create_task(self._run())

    # -- what the client says --------------------------------------------------------------------

    @property
    def is_backed_up(self) -> bool:
        return len(self._requests) > _UNREAD_REQUESTS

    def data(self, data: bytes) -> None:
        if self.is_done or self._is_all:
            return
        try:
            for document in self._splitter.feed(data):
                request = first_document(self.method.request, document)
                self.check_size(request)
                self._requests.append(request)
        except Exception as error:
            status = self._status_for(error)
            if status.code is not Code.INVALID_ARGUMENT:
                self._end(status)
            self._is_all = True
        if self._splitter.is_too_large:
            self._end(status_of(self.too_large(JSON_FACTOR * self._max_message_bytes)))
        self._is_all = self._is_all or self._splitter.is_broken
        self._wake()

    def end(self, fault: str = "") -> None:
        self._is_all = True
        self._wake()

    def hang_up(self) -> None:
        """As when it disconnects: nobody could end a watch otherwise."""
        if not self.is_done:
            self._close(Code.CANCELED)
            self._finish()

    def drain(self) -> None:
        self._end(status_of(StoreClosed()))

    def writable(self) -> None:
        self._wake()

    # -- the task --------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def _wait(self) -> None:
        self._wakeup = self._loop.create_future()
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
        was_backed_up = self.is_backed_up
        request = self._requests.popleft()
        self._stats.received += 1
        if was_backed_up and not self.is_backed_up:
            self.answer.resume()
        return request

    async def _all(self) -> AsyncIterator[Message]:
        while (request := await self._next()) is not None:
            yield request

    async def _run(self) -> None:
        try:
            await self._pull()
        except Exception as error:
            self._end(self._status_for(error))
        else:
            self._close(Code.OK)
            self._finish()

    async def _pull(self) -> None:
        request: Any = self._all()
        if self.method.kind is Kind.SERVER_STREAM:
            request = await self._next() or self.method.request()
        responses = self.method.handler(request, self.call)
        try:
            async for response in responses:
                if not self._has_begun:
                    self._has_begun = True
                    self.answer.start(200, SUCCESS)
                self._stats.sent += 1
                self.answer.send(result_chunk(self.method.response, response))
                while self.answer.is_congested:
                    await self._wait()
        finally:
            await responses.aclose()

    # -- the end ---------------------------------------------------------------------------------

    def _end(self, status: Status) -> None:
        if not self.is_done:
            self._close(status.code)
            self._tell(status)

    def _tell(self, status: Status) -> None:
        if self._has_begun:
            self.answer.send(error_chunk(status))
            self.answer.finish()
        else:
            fields = [("Content-Type", "application/json")]
            self.answer.reply(status.http_status, fields, error_chunk(status))

    def _finish(self) -> None:
        if not self._has_begun:
            self.answer.start(200, ())
        self.answer.finish()
