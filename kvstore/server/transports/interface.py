"""What the composition root asks of a transport."""

from __future__ import annotations

from typing import Protocol

from kvstore.server.config.urls import Url
from kvstore.server.method import MethodTable
from kvstore.server.stats import CallStats

__all__ = ["Transport"]


class Transport(Protocol):
    def bind(self, url: Url) -> int:
        """Take the address (port 0: any); clients that come wait. Returns the port.

        Raises OSError when it cannot be had.
        """
        ...

    async def start(self, methods: MethodTable, stats: CallStats) -> None: ...

    async def drain(self, grace_s: float) -> None:
        """Take no new call, end the streams, let unary calls finish for `grace_s`, then close."""
        ...
