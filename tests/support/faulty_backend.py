"""A backend that fails when told to, in each of the ways a disk fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from enum import Enum

from kvstore.backend.interface import (
    Backend,
    BackendFull,
    CommitUncertain,
    Snapshot,
    WriteBatch,
)

__all__ = ["Fault", "FaultyBackend"]


class Fault(Enum):
    FULL = "no space left; nothing was written"
    LOST = "the sync failed and the commit is not on disk"
    WRITTEN = "the sync failed and the commit is on disk"


class FaultyBackend:
    """Passes everything to `inner`, but commits fail as `plan` has it.

    The plan maps the number of a commit, from 1 on, to its fault; `fail` sets a fault for every
    commit until it is taken back with None. `gate` is called at the start of each commit.
    """

    def __init__(
        self,
        inner: Backend,
        plan: Iterable[tuple[int, Fault]] = (),
        *,
        gate: Callable[[], None] = lambda: None,
    ) -> None:
        self.inner, self.plan, self.gate = inner, dict(plan), gate
        self.commits = 0
        self.failed = 0
        self._always: Fault | None = None
        self._thread = threading.Lock()

    def __repr__(self) -> str:
        return f"FaultyBackend({self.inner!r}, commits={self.commits}, failed={self.failed})"

    @property
    def is_fast(self) -> bool:
        """Never: the store is to behave as on a disk."""
        return False

    def fail(self, fault: Fault | None) -> None:
        """From the next commit on; None: no more."""
        self._always = fault

    def commit(self, batch: WriteBatch) -> None:
        assert self._thread.acquire(blocking=False), "two commits at the same time"
        try:
            self.gate()
            self.commits += 1
            fault = self._always or self.plan.get(self.commits)
            if fault is None or fault is Fault.WRITTEN:
                self.inner.commit(batch)
            if fault is not None:
                self.failed += 1
                raise BackendFull if fault is Fault.FULL else CommitUncertain(fault.value)
        finally:
            self._thread.release()

    def snapshot(self) -> Snapshot:
        return self.inner.snapshot()

    def rewrite(self, batch: WriteBatch) -> None:
        self.inner.rewrite(batch)

    def mend(self) -> None:
        self.inner.mend()

    def grow(self) -> None:
        self.inner.grow()

    def trim(self) -> None:
        self.inner.trim()

    def size_bytes(self) -> tuple[int, int]:
        return self.inner.size_bytes()

    def close(self) -> None:
        self.inner.close()
