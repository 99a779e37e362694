"""Clients that each make one unary call after the other: the hot path of most workloads."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from kvstore.bench.blocks import OK, Status
from kvstore.bench.http2 import Call, Connection, Method
from kvstore.bench.pace import Pace
from kvstore.bench.recorder import Operation

__all__ = ["CallLoop", "Check", "Next", "message_of"]

Next = Callable[[], tuple[Operation, Method, bytes]]
"""Makes the next request: as which operation it counts, its method and its message."""

Check = Callable[[bytes], Status]
"""Looks at the message of an answer; OK or what is wrong with it."""


def message_of(body: bytes | bytearray | None) -> bytes:
    """The message in the answer of a unary call; empty when there is none or it is not whole."""
    if body is None or len(body) < 5:
        return b""
    return bytes(body[5 : 5 + int.from_bytes(body[1:5], "big")])


class _Client(Call):
    __slots__ = ("connection", "loop", "operation", "start_s")

    def __init__(self, loop: CallLoop, connection: Connection) -> None:
        super().__init__()
        self.loop, self.connection = loop, connection
        self.operation: Operation | None = None
        self.start_s = 0.0

    def begin(self, start_s: float) -> None:
        self.start_s = self.loop.started_s = start_s
        self.operation, method, message = self.loop.next_request()
        self.connection.call(self, method, message)

    def ended(self, status: Status) -> None:
        loop, operation = self.loop, self.operation
        assert operation is not None
        now_s = self.connection.now
        if status is OK and loop.check is not None:
            status = loop.check(message_of(self.body))
        if status is OK:
            operation.latencies.append(now_s - self.start_s)
        else:
            operation.fail(status)
            now_s = time.monotonic()
            if self.connection.is_dead:
                loop.rest(self)
                return
        start_s = loop.pace.take(now_s)
        if start_s is None:
            loop.rest(self)
        else:
            self.begin(start_s)


class CallLoop:
    """`clients` of them on `connections`, until `pace` is over and everything is answered."""

    def __init__(
        self,
        connections: Sequence[Connection],
        clients: int,
        pace: Pace,
        next_request: Next,
        check: Check | None = None,
    ) -> None:
        self.pace, self.next_request, self.check = pace, next_request, check
        self.started_s = 0.0
        """When the request that `next_request` is asked for was meant to begin."""
        self._clients = [_Client(self, connections[i % len(connections)]) for i in range(clients)]
        self._idle: deque[_Client] = deque(self._clients)
        self._done: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<CallLoop {len(self._clients) - len(self._idle)} busy, {self.pace!r}>"

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._done = loop.create_future()
        self._wake()
        try:
            await self._done
        finally:
            self._stop_timer()

    def stop(self) -> None:
        """Make no more requests; `run` returns when those on their way are answered."""
        self.pace.stop(time.monotonic())
        self._end_if_over()

    def expire(self, now_s: float, timeout_s: float) -> None:
        """Give up calls that take longer than that."""
        for client in self._clients:
            if not client.has_ended and now_s - client.start_s > timeout_s:
                client.connection.cancel(client)
                client.ended(Status("DeadlineExceeded", f"no answer in {timeout_s:g} s"))

    def rest(self, client: _Client) -> None:
        """There is nothing to do for the client now."""
        self._idle.append(client)
        if self._end_if_over() or self._timer is not None:
            return
        if not self.pace.is_over(time.monotonic()):
            self._wake()

    def _wake(self) -> None:
        """Give the requests that are due to clients that are free."""
        self._timer = None
        now_s = time.monotonic()
        idle = self._idle
        for _ in range(len(idle)):
            client = idle.popleft()
            start_s = None if client.connection.is_dead else self.pace.take(now_s)
            if start_s is None:
                idle.append(client)
            else:
                client.begin(start_s)
        if self._end_if_over() or not idle:
            return
        if any(not client.connection.is_dead for client in idle):
            when_s = min(self.pace.due_s, self.pace.until_s) if self.pace.has_rate else now_s + 0.1
            self._timer = asyncio.get_running_loop().call_at(when_s, self._wake)

    def _end_if_over(self) -> bool:
        if len(self._idle) < len(self._clients) or self._done is None:
            return False
        is_over = self.pace.is_over(time.monotonic())
        if is_over or all(client.connection.is_dead for client in self._clients):
            self._stop_timer()
            if not self._done.done():
                self._done.set_result(None)
            return True
        return False

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
