"""What all connections of a server share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from kvstore.server.method import MethodTable
from kvstore.server.stats import CallStats
from kvstore.server.transports.rpc.deadlines import Deadlines

__all__ = ["Service"]


class Service:
    def __init__(
        self,
        methods: MethodTable,
        stats: CallStats,
        loop: asyncio.AbstractEventLoop,
        *,
        max_message_bytes: int,
        min_ping_interval_s: float,
    ) -> None:
        """`max_message_bytes` bounds what is received; what is sent is not bounded."""
        self.methods, self.stats, self.loop = methods, stats, loop
        self.max_message_bytes = max_message_bytes
        self.min_ping_interval_s = min_ping_interval_s
        self.deadlines = Deadlines(loop)
        self._tasks: set[asyncio.Future[Any]] = set()

    def spawn(self, work: Awaitable[Any]) -> asyncio.Future[Any]:
        """Run it, and hold on to it while it runs."""
        task = asyncio.ensure_future(work, loop=self.loop)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        self.deadlines.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
