"""Compaction on a schedule, by time or by amount (etcd server/etcdserver/api/v3compactor).

Periodic: the revision is sampled ten times a period (of an hour at most); once a whole period has
been seen, every period (again an hour at most) what is older than one is compacted. Revision:
every five minutes all but the newest N revisions are. The plans only say what to compact when told
the time, `AutoCompactor` waits and does it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from kvstore.errors import Compacted, StoreError
from kvstore.types import CompactResult

__all__ = ["AutoCompactor", "PeriodicPlan", "Plan", "RevisionPlan"]

_log = logging.getLogger(__name__)

_HOUR_S: Final = 3600.0
_SAMPLES: Final = 10
_REVISION_INTERVAL_S: Final = 300.0


class Plan(Protocol):
    interval_s: float

    def due(self, now_s: float, revision: int) -> int:
        """The revision to compact to, 0 for none; asked at the start and every `interval_s`."""
        ...

    def done(self, now_s: float, revision: int) -> None:
        """That revision was compacted; without this call it stays due."""
        ...


class PeriodicPlan:
    """Keep `period_s` of history."""

    def __init__(self, period_s: float, now_s: float) -> None:
        self._every_s = min(period_s, _HOUR_S)
        self.interval_s = self._every_s / _SAMPLES
        self._samples: deque[int] = deque(maxlen=round(period_s / self.interval_s) + 1)
        self._next_s = now_s + period_s
        self._last = 0

    def due(self, now_s: float, revision: int) -> int:
        self._samples.append(revision)
        oldest = self._samples[0]
        return oldest if now_s >= self._next_s and oldest != self._last else 0

    def done(self, now_s: float, revision: int) -> None:
        self._last, self._next_s = revision, now_s + self._every_s


class RevisionPlan:
    """Keep the newest `retention` revisions."""

    interval_s = _REVISION_INTERVAL_S

    def __init__(self, retention: int, now_s: float) -> None:
        self._retention, self._last = retention, 0
        self._first_s = now_s + self.interval_s

    def due(self, now_s: float, revision: int) -> int:
        target = revision - self._retention
        return target if now_s >= self._first_s and target > 0 and target != self._last else 0

    def done(self, now_s: float, revision: int) -> None:
        self._last = revision


class Compactable(Protocol):
    @property
    def revision(self) -> int: ...

    async def compact(self, revision: int, *, physical: bool = False) -> CompactResult: ...


class AutoCompactor:
    """Runs a plan against a store until cancelled."""

    def __init__(
        self,
        store: Compactable,
        plan: Plan,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store, self._plan = store, plan
        self._clock, self._sleep = clock, sleep

    async def run(self) -> None:
        while True:
            revision = self._plan.due(self._clock(), self._store.revision)
            if revision:
                await self._compact(revision)
            await self._sleep(self._plan.interval_s)

    async def _compact(self, revision: int) -> None:
        """Somebody else having compacted further is as good; another failure is tried again."""
        try:
            await self._store.compact(revision)
        except Compacted:
            pass
        except StoreError as error:
            _log.warning("auto compaction to revision %d failed: %s", revision, error)
            return
        _log.info("auto compaction to revision %d", revision)
        self._plan.done(self._clock(), revision)
