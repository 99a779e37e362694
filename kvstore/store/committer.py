"""One commit, and the thread that does them one after the other for an event loop.

LMDB ties a write transaction to the thread that began it, so one thread owns all of them. A commit
that fails says how: the map is full (grow it and commit again), clean (nothing was written), or
neither: then what is on disk is unknown and the store must not write any more.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from kvstore.backend.interface import Backend, BackendFull, BackendRefused, MapFull
from kvstore.core.engine import Commit, Engine
from kvstore.errors import NestedCall, NoSpace, StateError, StoreError, WriteRefused
from kvstore.store.reader import SnapshotReader
from kvstore.store.rows import rows_of

if TYPE_CHECKING:
    import asyncio  # a store for threads commits with this module, and does not pay for a loop

__all__ = [
    "Committer",
    "Outcome",
    "commit_again",
    "commit_once",
    "grow_map",
    "is_from_outside",
    "show",
    "take_back",
]


log = logging.getLogger(__name__)


class Outcome:
    __slots__ = ("duration_s", "error")

    def __init__(self, error: BaseException | None = None, duration_s: float = 0.0) -> None:
        """`duration_s` is the commit's, when it went well."""
        self.error, self.duration_s = error, duration_s

    @property
    def is_map_full(self) -> bool:
        return isinstance(self.error, MapFull)

    @property
    def is_clean(self) -> bool:
        """Certainly nothing was written."""
        return isinstance(self.error, BackendRefused)

    @property
    def refusal(self) -> StateError:
        """What the writers of a clean failure are told."""
        return NoSpace() if isinstance(self.error, BackendFull) else WriteRefused()


def commit_once(backend: Backend, commit: Commit) -> Outcome:
    """Blocking. Never raises: whatever went wrong is in the outcome."""
    started_s = time.perf_counter()
    try:
        rows = rows_of(commit)
    except MemoryError as error:
        return Outcome(BackendRefused(f"there is no memory for a commit: {error!r}"))
    try:
        backend.commit(rows)
    except Exception as error:
        return Outcome(error)
    return Outcome(None, time.perf_counter() - started_s)


def is_from_outside(error: BaseException) -> bool:
    """Did no backend raise it, but what a signal handler ran in the middle of it?"""
    return not isinstance(error, StoreError) or isinstance(error, NestedCall)


def commit_again(backend: Backend, reader: SnapshotReader, commit: Commit) -> Outcome:
    """Finish what an exception from outside broke off; it may have been committed. As commit_once.

    Only for a backend that is fast.
    """
    backend.mend()
    reader.pause()
    reader.resume()
    written = [write.packed for decision in commit.decisions for write in decision.writes]
    if written and reader.scan(written[-1], 1):
        return Outcome()
    return commit_once(backend, commit)


def show(reader: SnapshotReader, outcome: Outcome) -> Outcome:
    """Have the reader see a commit that went well. One that cannot be shown is not acknowledged."""
    if outcome.error is None:
        try:
            reader.refresh()
        except Exception as error:
            return Outcome(error)
    return outcome


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


def take_back(engine: Engine, outcome: Outcome, now: float) -> Outcome:
    """Roll back after a clean failure. It is clean no more if what to go back to cannot be read."""
    if outcome.is_clean:
        log.error(
            "a commit was refused and everything not durable is taken back: %s", outcome.error
        )
        try:
            engine.rollback(now)
        except Exception as error:
            return Outcome(error)
    return outcome


class Committer:
    """Thread and loop wake each other through pipes.

    The write that wakes a thread gives up the interpreter, so that the thread begins at once. One
    that waits for a queue is woken twice, for the queue and then for the interpreter: 30 µs more
    for each commit.
    """

    def __init__(
        self,
        backend: Backend,
        loop: asyncio.AbstractEventLoop,
        on_commit: Callable[[Commit, Outcome], None],
    ) -> None:
        """`on_commit` is called on the loop after each commit, again when it raises."""
        self._backend, self._loop, self._on_commit = backend, loop, on_commit
        self._next: Commit | None = None  # submitted
        self._current: Commit | None = None  # being committed
        self._outcomes: deque[tuple[Commit, Outcome]] = deque()
        self._is_closing = False
        self.together: Callable[[Callable[[], None]], None] | None = None
        """Calls what tells of a commit, and then writes for all who heard of it."""
        self._submitted, self._submit = os.pipe()
        self._done, self._tell = os.pipe()
        os.set_blocking(self._done, False)
        loop.add_reader(self._done, self._on_byte)
        self._thread = threading.Thread(target=self._run, name="kvstore-committer", daemon=True)
        self._thread.start()

    def submit(self, commit: Commit, *, again: bool = False) -> None:
        """One at a time: not before the outcome of the last one was told, or is being told.

        It may be called once more for the same commit, if an exception came out of it.
        """
        if again or not (
            commit is self._next
            or commit is self._current
            or (self._outcomes and any(commit is known for known, _ in self._outcomes))
        ):
            self._next = commit
        os.write(self._submit, b"\0")

    async def close(self) -> None:
        """After the commit that is under way, whose outcome is told."""
        self._is_closing = True
        os.write(self._submit, b"\0")
        await self._loop.run_in_executor(None, self._thread.join)
        self._loop.remove_reader(self._done)
        while self._outcomes:
            self._on_commit(*self._outcomes.popleft())
        for file in (self._submitted, self._submit, self._done, self._tell):
            os.close(file)

    def _run(self) -> None:
        while True:
            os.read(self._submitted, 1)
            self._current = commit = self._next
            if commit is not None:
                self._next = None
                self._outcomes.append((commit, commit_once(self._backend, commit)))
                self._current = None
                os.write(self._tell, b"\0")
            elif self._is_closing:
                return

    def _on_byte(self) -> None:
        if self.together is None:
            self._on_done()
        else:
            self.together(self._on_done)

    def _on_done(self) -> None:
        # The byte goes last: until then this is called again, whatever comes out of it. It may have
        # gone already: a loop that was broken off calls what it had left, and what it finds anew.
        if self._outcomes:
            self._on_commit(*self._outcomes[0])
            self._outcomes.popleft()
        try:  # noqa: SIM105  # a context would be one more object for each commit
            os.read(self._done, 1)
        except BlockingIOError:
            pass
