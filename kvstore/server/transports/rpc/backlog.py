"""Whoever of one connection waits because its client has not taken what he was given.

All that waits for a client counts as `connection.queued_bytes`: DATA in the queues of his streams,
and answers from the moment that work on them begins. What is small goes on for longer than what is
large, so that a client who leaves large answers lying still has his events and small answers:

    queued below        0 .. QUEUE_BYTES     QUEUE_BYTES .. FULL_BYTES        above
    unary calls         run                  run; a read that turns out       wait
                                             large is put off, and run again
    streams of events   are pulled           are pulled                       wait
    answers in slices,  made, SLICED_AT_ONCE wait; the oldest only while much wait
    chunks of a stream  at a time            of this is finished

A turn of the connection makes `Limits.room_bytes` of answers, then it is the turn of others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from kvstore.server.transports.http2.frames import ErrorCode

if TYPE_CHECKING:
    from kvstore.server.transports.rpc.calls import Calls
    from kvstore.server.transports.rpc.streaming import SessionCall
    from kvstore.server.transports.rpc.unary import UnaryCall
    from kvstore.server.transports.web.http2 import WebCall

__all__ = ["FULL_BYTES", "QUEUE_BYTES", "ZIPPING_COSTS", "Backlog", "Making"]

QUEUE_BYTES: Final = 32 * 1024 * 1024
"""Of answers that wait for one client to take them; above it no large one is made."""
FULL_BYTES: Final = 2 * QUEUE_BYTES
"""Above it none is made at all."""
LARGE_ANSWER_BYTES: Final = 64 * 1024
WAITING_CALLS: Final = 10_000
"""More are refused, and so are those with more than this in their requests:"""
WAITING_BYTES: Final = 32 * 1024 * 1024
CROWD_CALLS: Final = 1_000
"""While so many wait for nothing but their turn, no more is read from the client."""
CALLS_IN_TURN: Final = 256
SLICED_AT_ONCE: Final = 8
ZIPPING_COSTS: Final = 8
"""Packing a byte takes as long as making so many."""


class Backlog:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._waiting: deque[tuple[UnaryCall | WebCall, int]] = deque()
        self._waiting_bytes = 0
        self._put_off: deque[tuple[UnaryCall, int]] = deque()
        self._sessions: dict[SessionCall, None] = {}  # that may not be pulled now
        self._starts: deque[Callable[[], None]] = deque()
        self._makings: dict[Making, None] = {}  # the oldest first
        self.making_bytes = 0
        self.is_waiting = False
        """Somebody may be waiting, or will have to; see `is_runnable`."""

    def __repr__(self) -> str:
        return (
            f"Backlog({len(self._waiting)} waiting, {len(self._put_off)} put off, "
            f"{len(self._makings)} being made with {self.making_bytes} bytes)"
        )

    # -- unary calls -----------------------------------------------------------------------------

    def may_run(self, call: UnaryCall | WebCall, size: int) -> bool:
        """May a call with a request of `size` bytes run now? Else it does later, or was refused."""
        connection = self._calls.connection
        if not self._waiting and connection.room_bytes > 0 and connection.queued_bytes < FULL_BYTES:
            return True
        if self._admit(call, size):
            self._waiting.append((call, size))
            self._waiting_bytes += size
        return False

    def is_too_much(self, size: int) -> bool:
        """Is there no room for an answer of `size` bytes that can be made again?"""
        return size > LARGE_ANSWER_BYTES and self._calls.connection.queued_bytes >= QUEUE_BYTES

    def put_off(self, call: UnaryCall, request_bytes: int, answer_bytes: int) -> None:
        """Run it again when there is room for its answer, which was in vain."""
        self._calls.connection.room_bytes -= answer_bytes
        if self._admit(call, request_bytes):
            self._put_off.append((call, request_bytes))
            self._waiting_bytes += request_bytes

    def _admit(self, call: UnaryCall | WebCall, size: int) -> bool:
        self.is_waiting = True
        count = len(self._waiting) + len(self._put_off) + len(self._starts)
        if count >= WAITING_CALLS or self._waiting_bytes + size > WAITING_BYTES:
            self._calls.connection.reset(call.stream, ErrorCode.REFUSED_STREAM)
            return False
        return True

    def hold(self, size: int) -> Callable[[], None]:
        """Count `size` bytes of an answer that has to wait; the result is called at its end."""
        connection = self._calls.connection
        connection.queued_bytes += size
        connection.room_bytes -= size
        self.is_waiting = self.is_waiting or connection.queued_bytes >= QUEUE_BYTES

        def release() -> None:
            connection.queued_bytes -= size

        return release

    # -- streams and large answers ---------------------------------------------------------------

    def may_pull(self, call: SessionCall) -> bool:
        """May a stream be pulled now? Else it is told when."""
        if self._calls.connection.queued_bytes < FULL_BYTES:
            return True
        self._sessions[call] = None
        self.is_waiting = True
        return False

    def leave(self, call: SessionCall) -> None:
        """It is over."""
        self._sessions.pop(call, None)

    def start(self, call: UnaryCall, begin: Callable[[], None]) -> None:
        """Begin to make a large answer when it is its turn, or refuse the call."""
        if self._may_start and not self._starts:
            begin()
        elif self._admit(call, 0):
            self._starts.append(begin)

    async def make(self) -> Making:
        """Wait for the turn to make something large. Leave it as a context."""
        if self._starts or not self._may_start:
            begun: asyncio.Future[Making] = self._calls.service.loop.create_future()

            def start() -> None:
                if not begun.done():
                    begun.set_result(Making(self))

            self._starts.append(start)
            self.is_waiting = True
            try:
                return await begun
            except asyncio.CancelledError:
                if begun.done() and not begun.cancelled():
                    begun.result().close()
                elif start in self._starts:
                    self._starts.remove(start)
                raise
        return Making(self)

    @property
    def _may_start(self) -> bool:
        queued_bytes = self._calls.connection.queued_bytes
        return len(self._makings) < SLICED_AT_ONCE and queued_bytes < QUEUE_BYTES

    def may_go_on(self, making: Making) -> bool:
        queued_bytes = self._calls.connection.queued_bytes
        return queued_bytes < QUEUE_BYTES or (
            next(iter(self._makings)) is making
            and queued_bytes - self.making_bytes < QUEUE_BYTES // 4
        )

    # -- turns -----------------------------------------------------------------------------------

    @property
    def is_runnable(self) -> bool:
        """Would `run` get somebody on?"""
        connection = self._calls.connection
        queued_bytes = connection.queued_bytes
        if queued_bytes >= FULL_BYTES or connection.room_bytes <= 0:
            return False
        if self._waiting or self._sessions:
            return True
        if queued_bytes < QUEUE_BYTES and (self._put_off or (self._starts and self._may_start)):
            return True
        if any(making.is_paused and self.may_go_on(making) for making in self._makings):
            return True
        self.is_waiting = (
            bool(self._put_off or self._starts or self._makings) or queued_bytes >= QUEUE_BYTES
        )
        return False

    @property
    def is_crowded(self) -> bool:
        """Do many calls wait for nothing that the client could say?"""
        is_crowd = len(self._waiting) > CROWD_CALLS or self._waiting_bytes > WAITING_BYTES >> 2
        return is_crowd and self._calls.connection.queued_bytes < FULL_BYTES

    def run(self) -> int:
        """Get on whoever can, for one turn; returns how many calls were run."""
        connection, count = self._calls.connection, 0
        if self._sessions and connection.queued_bytes < FULL_BYTES:
            sessions, self._sessions = self._sessions, {}
            for session in sessions:
                session.writable()
        while count < CALLS_IN_TURN and connection.room_bytes > 0:
            if self._put_off and connection.queued_bytes < QUEUE_BYTES:
                self._run(*self._put_off.popleft())
            elif self._waiting and connection.queued_bytes < FULL_BYTES:
                self._run(*self._waiting.popleft())
            else:
                break
            count += 1
        while self._starts and self._may_start:
            self._starts.popleft()()
        for making in list(self._makings):
            if making.is_paused and self.may_go_on(making):
                making.go_on()
        return count

    def _run(self, call: UnaryCall | WebCall, size: int) -> None:
        self._waiting_bytes -= size
        if not call.is_done:
            call.run()

    def close(self) -> None:
        """The connection is gone."""
        self._waiting.clear()
        self._put_off.clear()
        self._sessions.clear()
        self._starts.clear()


class Making:
    """Implements Progress: what has been made of one large answer."""

    __slots__ = ("_backlog", "_bytes", "_future")

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._bytes = 0
        self._future: asyncio.Future[None] | None = None
        backlog._makings[self] = None
        backlog.is_waiting = True

    def __repr__(self) -> str:
        return f"Making({self._bytes} bytes, paused={self.is_paused})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_paused(self) -> bool:
        return self._future is not None

    def add(self, size: int) -> None:
        self._bytes += size
        self._backlog.making_bytes += size
        self._backlog._calls.connection.queued_bytes += size

    async def turn(self) -> None:
        await asyncio.sleep(0)
        while not self._backlog.may_go_on(self):
            self._future = self._backlog._calls.service.loop.create_future()
            try:
                await self._future
            finally:
                self._future = None

    def go_on(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def close(self) -> None:
        """What was made is in the queue of its stream now, or dropped."""
        if self in self._backlog._makings:
            del self._backlog._makings[self]
            self.add(-self._bytes)
            self._backlog._calls.wake()
