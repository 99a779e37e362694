"""What /metrics reads of a store."""

from __future__ import annotations

from typing import Protocol

from kvstore.core.totals import Totals
from kvstore.store.stats import Queues, StoreStats
from kvstore.types import StoreStatus

__all__ = ["MeasuredStore"]


class MeasuredStore(Protocol):
    """Implemented by kvstore.store.aio.LoopStore, which says more of each."""

    @property
    def stats(self) -> StoreStats: ...
    @property
    def totals(self) -> Totals: ...
    def status(self) -> StoreStatus: ...
    def queues(self) -> Queues: ...
