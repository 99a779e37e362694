"""One commit, and the thread that does them one after the other for an event loop.

LMDB ties a write transaction to the thread that began it, so one thread owns all of them. A commit
that fails says how: the map is full (grow it and commit again), clean (nothing was written), or
neither: then what is on disk is unknown and the store must not write any more.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from kvstore.backend.interface import Backend, BackendFull, MapFull
from kvstore.core.engine import Batch
from kvstore.store.reader import SnapshotReader
from kvstore.store.rows import to_write_batch

__all__ = ["Committer", "Outcome", "commit_once", "grow_map"]


class Outcome(NamedTuple):
    error: BaseException | None = None
    duration_s: float = 0.0
    """Of the commit, when it went well."""

    @property
    def is_map_full(self) -> bool:
        return isinstance(self.error, MapFull)

    @property
    def is_clean(self) -> bool:
        """Certainly nothing was written."""
        return isinstance(self.error, BackendFull)


def commit_once(backend: Backend, batch: Batch) -> Outcome:
    """Blocking. Never raises: whatever went wrong is in the outcome."""
    started_s = time.perf_counter()
    try:
        backend.commit(to_write_batch(batch))
    except Exception as error:
        return Outcome(error)
    return Outcome(None, time.perf_counter() - started_s)


def grow_map(backend: Backend, reader: SnapshotReader) -> Outcome:
    """Make room after a full map. A failure leaves the reader as good as it can be."""
    try:
        reader.pause()
        try:
            backend.grow()
        finally:
            reader.resume()
    except Exception as error:
        return Outcome(error)
    return Outcome()


class Committer:
    def __init__(
        self,
        backend: Backend,
        loop: asyncio.AbstractEventLoop,
        on_commit: Callable[[Batch, Outcome], None],
    ) -> None:
        """`on_commit` is called on the loop after each commit."""
        self._backend, self._loop, self._on_commit = backend, loop, on_commit
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="kvstore-committer", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """One at a time: not before the outcome of the last one came."""
        self._queue.put(batch)

    async def close(self) -> None:
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            outcome = commit_once(self._backend, batch)
            self._loop.call_soon_threadsafe(self._on_commit, batch, outcome)
