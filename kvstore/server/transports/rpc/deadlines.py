"""When calls have to be done: one timer for all of them."""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Protocol

__all__ = ["Deadlines", "Expiring"]

_SWEEP_FROM: Final = 4096


class Expiring(Protocol):
    @property
    def is_done(self) -> bool: ...
    def expire(self) -> None: ...


class Deadlines:
    """Calls that are done stay in the heap until their time, or until they are most of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Expiring]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._sweep_at = _SWEEP_FROM

    def __repr__(self) -> str:
        return f"Deadlines({len(self._heap)} waiting)"

    def add(self, timeout_s: float, call: Expiring) -> None:
        """Tell the call to `expire` after `timeout_s` seconds, unless it is done by then."""
        at = self._loop.time() + timeout_s
        heappush(self._heap, (at, next(self._numbers), call))
        if len(self._heap) > self._sweep_at:
            self._sweep()
        if self._timer is None or at < self._timer_at:
            self._arm()

    def close(self) -> None:
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if not entry[2].is_done]
        heapify(self._heap)
        self._sweep_at = max(_SWEEP_FROM, 2 * len(self._heap))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer_at = self._heap[0][0]
            self._timer = self._loop.call_at(self._timer_at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2].is_done):
            call = heappop(heap)[2]
            if not call.is_done:
                call.expire()
        self._arm()
