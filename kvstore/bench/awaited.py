"""Calls of a connection for coroutines: for what surrounds a measurement, not for its hot path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kvstore.bench.blocks import OK, Status
from kvstore.bench.endpoint import Tls, parse_endpoint
from kvstore.bench.http2 import Call, Connection, Method
from kvstore.bench.loop import message_of

__all__ = ["CallFailed", "MessageStream", "answer", "connect", "unary"]


class CallFailed(Exception):
    """A call did not end well; `status` says how."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


class _Awaited(Call):
    __slots__ = ("future",)

    def __init__(self) -> None:
        super().__init__()
        self.future: asyncio.Future[bytes | bytearray | None] = (
            asyncio.get_running_loop().create_future()
        )

    def ended(self, status: Status) -> None:
        if self.future.done():
            return
        if status is OK:
            self.future.set_result(self.body)
        else:
            self.future.set_exception(CallFailed(status))


async def unary(
    connection: Connection, method: Method, message: bytes, timeout_s: float = 30.0
) -> bytes:
    """Make one call; returns the message of its answer. Raises CallFailed."""
    return message_of(await answer(connection, method, message, timeout_s))


async def answer(
    connection: Connection, method: Method, message: bytes, timeout_s: float = 30.0
) -> bytes | bytearray | None:
    """The same of any call with one request; returns all messages, five bytes before each.

    None when there was none.
    """
    call = _Awaited()
    connection.call(call, method, message)
    try:
        async with asyncio.timeout(timeout_s):
            return await call.future
    except TimeoutError:
        raise CallFailed(Status("DeadlineExceeded", f"no answer in {timeout_s:g} s")) from None
    finally:
        if not call.has_ended:
            connection.cancel(call)


class MessageStream(Call):
    """A stream that tells each message to `on_message`; begin it with `connection.call`."""

    __slots__ = ("_on_message", "status")

    def __init__(self, on_message: Callable[[bytes], None]) -> None:
        super().__init__(is_stream=True)
        self._on_message = on_message
        self.status: Status | None = None
        """How it ended; None while it goes on."""

    def ended(self, status: Status) -> None:
        self.status = status

    def message(self, message: bytes) -> None:
        self._on_message(message)


async def connect(endpoint: str) -> Connection:
    """A connection to an endpoint without TLS. Raises OSError."""
    connection = Connection(parse_endpoint(endpoint, Tls()))
    await connection.connect()
    return connection
