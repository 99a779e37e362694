"""The store for threads: the engine behind one lock, commits led by whoever waits.

The first thread that finds its decision not durable and nobody committing leads: it takes the
batch, commits it with the lock released, publishes and wakes the others, whose decisions came along
or make up the next batch. So concurrent threads share commits.
A housekeeping thread exists only once there is something to keep: leases, a compaction, progress.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from kvstore.backend.interface import Backend
from kvstore.core.engine import Applied, Batch, Engine
from kvstore.core.mvcc.record import decode
from kvstore.core.watch.stream import WatchStream
from kvstore.errors import KeyNotFound, NoSpace, StateError, StoreClosed, StoreError, StoreFailed
from kvstore.limits import EXPIRE_LEASES_PER_TICK, HOUSEKEEPING_RETRY_S, WATCH_TURN_WATCHERS
from kvstore.store.committer import Outcome, commit_once, grow_map
from kvstore.store.cursor import RangeChunks
from kvstore.store.options import StoreOptions
from kvstore.store.reader import SnapshotReader
from kvstore.store.start import start_engine, status_of, verify
from kvstore.types import (
    CompactResult,
    KeyValue,
    Lease,
    LeaseStatus,
    RangeOp,
    RangeResult,
    StoreStatus,
    Txn,
    TxnResult,
    WatchCreate,
    WatchMessage,
)

__all__ = ["ThreadStore", "ThreadWatchStream"]

T = TypeVar("T")
P = ParamSpec("P")
log = logging.getLogger(__name__)
_PAUSE_S = 1e-6
"""A thread that only releases the lock takes it again before those who wait wake up."""


class _Waiter:
    """A thread whose decision is in no commit yet, or in one that has not ended."""

    __slots__ = ("error", "is_done", "sequence")

    def __init__(self, sequence: int) -> None:
        self.sequence, self.is_done = sequence, False
        self.error: StoreError | None = None


class ThreadStore:
    """Implements StoreProtocol. Safe for many threads; not across fork."""

    def __init__(
        self, backend: Backend, engine: Engine, reader: SnapshotReader, options: StoreOptions
    ) -> None:
        """Use `open`."""
        self._backend, self._engine, self._reader = backend, engine, reader
        self._options = options
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # a commit ended
        self._chores = threading.Condition(self._lock)  # the housekeeper should look again
        self._is_leading = False
        self._waiters: deque[_Waiter] = deque()
        self._error: StoreError | None = None
        self._pid = os.getpid()
        self._streams: set[ThreadWatchStream] = set()
        self._progress_at: float | None = None
        self._housekeeper: threading.Thread | None = None
        with self._lock:
            self._keep_house()

    @classmethod
    def open(cls, backend: Backend, *, options: StoreOptions | None = None) -> ThreadStore:
        """Read the backend and take it over; `close` closes it. Raises CorruptStore."""
        options = options or StoreOptions()
        engine, reader = start_engine(backend, options)
        return cls(backend, engine, reader, options)

    def __repr__(self) -> str:
        return f"ThreadStore({self._engine!r}, error={self._error!r})"

    # -- reads -----------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """The durable revision."""
        return self._engine.durable

    @property
    def compact_revision(self) -> int:
        """-1 before the first compaction."""
        return self._engine.compacted

    def get(self, key: bytes, revision: int = 0) -> KeyValue | None:
        """One key. Raises Compacted, FutureRevision, StoreClosed."""
        with self._lock:
            self._check_open()
            record = self._engine.get(key, revision)
        return None if record is None else decode(record)

    def range(self, op: RangeOp) -> RangeResult:
        with self._lock:
            self._check_open()
            return self._engine.range(op)

    def range_stream(self, op: RangeOp) -> Iterator[RangeResult]:
        with self._lock:
            self._check_open()
            chunks = RangeChunks(self._engine, op, self._options.max_request_bytes)
        while True:
            with self._lock:
                self._check_open()
                chunk = chunks.next()
            if chunk is None:
                return
            yield chunk

    def status(self) -> StoreStatus:
        with self._lock:
            self._check_open()
            return status_of(self._engine, self._backend)

    # -- writes ----------------------------------------------------------------------------------

    def txn(self, txn: Txn) -> TxnResult:
        with self._lock:
            return self._when_durable(self._decide(self._engine.txn, txn))

    def compact(self, revision: int, *, physical: bool = False) -> CompactResult:
        with self._lock:
            header = self._when_durable(self._decide(self._engine.compact, revision))
            self._keep_house()
            while physical and self._engine.is_compacting:
                self._compaction_step()
            if physical:
                self._settle()  # the last step may be the housekeeper's, still being committed
            return CompactResult(header)

    # -- leases ----------------------------------------------------------------------------------

    def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        with self._lock:
            self._check_writable()
            lease_id = lease_id or self._options.free_lease_id(self._engine.lessor)
            now = self._options.clock()
            applied = self._decide(self._engine.lease_grant, ttl_s, lease_id, now)
            self._keep_house()
            return self._when_durable(applied)

    def lease_revoke(self, lease_id: int) -> int:
        with self._lock:
            return self._when_durable(self._decide(self._engine.lease_revoke, lease_id))

    def lease_keep_alive(self, lease_id: int) -> Lease:
        with self._lock:
            self._check_open()
            engine, lease = self._engine, self._engine.lessor.get(lease_id)
            applied = engine.lease_keep_alive(lease_id, self._options.clock())
            revision = engine.durable
            if applied.result:
                return Lease(lease_id, self._when_durable(applied), revision)
            while lease is not None and engine.lessor.get(lease_id) is lease:
                self._check_writable()  # its time is up: revoke it before saying so
                self._expire()
                self._settle()
            self._settle()
            return Lease(lease_id, 0, engine.durable)

    def lease_time_to_live(self, lease_id: int, *, keys: bool = False) -> LeaseStatus:
        with self._lock:
            self._check_open()
            status = self._engine.lease_status(lease_id, self._options.clock(), keys=keys)
            self._settle()
            return status._replace(revision=self._engine.durable)

    def lease_leases(self) -> list[int]:
        with self._lock:
            self._check_open()
            leases = self._engine.lessor.by_remaining()
            self._settle()
            return leases

    # -- watching --------------------------------------------------------------------------------

    def watch_stream(self) -> ThreadWatchStream:
        with self._lock:
            self._check_open()
            stream = ThreadWatchStream(self)
            self._streams.add(stream)
            return stream

    # -- time ------------------------------------------------------------------------------------

    def expire_due(self) -> int:
        """Revoke leases whose time is up, a bounded number; returns how many.

        The housekeeper does it; with an injected clock, call it after moving the clock.
        """
        with self._lock:
            self._check_writable()
            return self._expire()

    def notify_progress(self) -> None:
        """The progress interval passed: each watcher that asked for it is told the revision."""
        with self._lock:
            self._notify_progress()

    # -- commits; all with the lock held ---------------------------------------------------------

    def _decide(self, decide: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Decide; a refusal that may rest on what is not durable yet waits as an answer does."""
        self._check_writable()
        try:
            return decide(*args, **kwargs)
        except StoreError as error:
            if isinstance(error, (StateError, KeyNotFound)):
                self._settle()
            raise
        except BaseException as error:  # Ctrl-C in the middle of a change
            self._fail(error)
            raise

    def _when_durable(self, applied: Applied[T]) -> T:
        if applied.sequence > self._engine.durable_sequence:
            waiter = _Waiter(applied.sequence)
            self._waiters.append(waiter)
            while not waiter.is_done:
                if self._is_leading:
                    self._changed.wait()
                elif self._error is None:
                    self._lead()
                else:
                    raise self._error
            if waiter.error is not None:
                raise waiter.error
        return applied.result

    def _settle(self) -> None:
        """Wait until everything decided by now is durable."""
        if self._engine.sequence > self._engine.durable_sequence:
            self._check_writable()
            self._when_durable(Applied(self._engine.sequence, None))

    def _lead(self) -> None:
        """Commit one batch, with the lock released unless the backend is fast."""
        batch = self._engine.take_batch()
        try:
            if self._backend.is_fast:
                outcome = commit_once(self._backend, batch)
            else:
                outcome = self._commit_unlocked(batch)
            self._conclude(batch, outcome)
        except BaseException as error:  # Ctrl-C: who knows how far it came
            self._fail(error)
            raise
        finally:
            self._changed.notify_all()
        self._finish_work()

    def _finish_work(self) -> None:
        """Do what the hub has left to do, and let others have the lock after each piece.

        Whoever does not come that far leaves it to the next one, or to a stream that is read.
        """
        hub = self._engine.hub
        while hub.has_work:
            hub.work()
            if hub.has_work:
                self._changed.wait(_PAUSE_S)

    def _commit_unlocked(self, batch: Batch) -> Outcome:
        self._is_leading = True
        self._lock.release()
        try:
            return commit_once(self._backend, batch)
        finally:
            self._lock.acquire()
            self._is_leading = False

    def _fail(self, error: BaseException) -> None:
        log.critical("the store has failed, writes are refused until it is reopened: %r", error)
        self._error = self._error or StoreFailed(f"{StoreFailed.message} ({error!r})")

    def _conclude(self, batch: Batch, outcome: Outcome) -> None:
        while outcome.is_map_full:
            outcome = grow_map(self._backend, self._reader)
            if outcome.error is None:
                outcome = commit_once(self._backend, batch)
        if outcome.error is None:
            self._reader.refresh()
            self._engine.publish(batch.last_sequence)
            waiters, durable = self._waiters, self._engine.durable_sequence
            while waiters and waiters[0].sequence <= durable:
                waiters.popleft().is_done = True
        elif outcome.is_clean:
            log.error(
                "a commit was refused and everything not durable is taken back: %s", outcome.error
            )
            self._engine.rollback(self._options.clock())
            for waiter in self._waiters:
                waiter.error, waiter.is_done = NoSpace(), True
            self._waiters.clear()
        else:
            self._fail(outcome.error)

    def _check_open(self) -> None:
        if self._pid != os.getpid():
            raise StoreClosed("the store was opened in another process: open it anew after a fork")
        if self._error is not None and isinstance(self._error, StoreClosed):
            raise self._error

    def _check_writable(self) -> None:
        self._check_open()
        if self._error is not None:
            raise self._error

    # -- housekeeping; all with the lock held ----------------------------------------------------

    def _keep_house(self) -> None:
        """See that the housekeeper runs if there is anything to keep, and looks again."""
        if self._housekeeper is None and self._next_chore() is not None:
            self._housekeeper = threading.Thread(
                target=self._run_chores, name="kvstore-housekeeper", daemon=True
            )
            self._housekeeper.start()
        self._chores.notify_all()

    def _next_chore(self) -> float | None:
        """Seconds until something is to do; None: nothing."""
        engine = self._engine
        waits = []
        if engine.is_compacting:
            waits.append(self._options.compaction_sleep_s)
        at = engine.lessor.next_expiry()
        now = self._options.clock()
        due = (at, self._progress_at)
        waits += [max(due_at - now, 0.0) for due_at in due if due_at is not None]
        return min(waits, default=None)

    def _run_chores(self) -> None:
        with self._lock:
            while self._error is None:
                wait_s = self._next_chore()
                if wait_s is None or wait_s > 0:
                    self._chores.wait(wait_s)
                self._notify_progress_if_due()
                try:
                    if self._error is None:
                        self._expire()
                    if self._error is None and self._engine.is_compacting:
                        self._compaction_step()
                except StoreError as error:
                    log.warning("housekeeping could not write, it tries again: %s", error)
                    self._chores.wait(HOUSEKEEPING_RETRY_S)

    def _notify_progress(self) -> None:
        for count, stream in enumerate(tuple(self._streams), 1):
            stream.core.tick_progress()
            if not count % WATCH_TURN_WATCHERS:
                self._changed.wait(_PAUSE_S)

    def _notify_progress_if_due(self) -> None:
        now = self._options.clock()
        if self._progress_at is not None and self._progress_at <= now:
            self._notify_progress()
            interval_s = self._options.progress_notify_interval_s
            self._progress_at = now + interval_s if self._streams else None

    def _expect_progress(self) -> None:
        """A watcher asked for progress messages."""
        if self._progress_at is None:
            self._progress_at = self._options.clock() + self._options.progress_notify_interval_s
            self._keep_house()

    def _expire(self) -> int:
        now = self._options.clock()
        revoked = self._decide(self._engine.expire, now, EXPIRE_LEASES_PER_TICK)
        if revoked:
            self._settle()
        return revoked

    def _compaction_step(self) -> None:
        self._decide(self._engine.compaction_step, self._options.compaction_batch_limit)
        self._settle()

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Finish what is being committed, refuse the rest, end all watches, close the backend."""
        if self._pid != os.getpid():
            return
        with self._lock:
            if isinstance(self._error, StoreClosed):
                return
            while self._is_leading:
                self._changed.wait()
            self._error = StoreClosed()
            self._changed.notify_all()
            self._chores.notify_all()
            for stream in tuple(self._streams):
                stream.core.close()
            self._streams.clear()
        if self._housekeeper is not None and self._housekeeper is not threading.current_thread():
            self._housekeeper.join()
        with self._lock:
            verify(self._engine)
            self._reader.close()
            self._backend.close()


class ThreadWatchStream:
    """Implements WatchStreamProtocol."""

    def __init__(self, store: ThreadStore) -> None:
        self._store = store
        self._ready = threading.Condition(store._lock)
        self.core: WatchStream = store._engine.watch_stream(self._ready.notify_all)

    def __repr__(self) -> str:
        return f"ThreadWatchStream({self.core!r})"

    def create(self, request: WatchCreate) -> None:
        with self._store._lock:
            self._check_open()
            self.core.create(request)
            if request.progress_notify:
                self._store._expect_progress()

    def cancel(self, watch_id: int) -> None:
        with self._store._lock:
            self._check_open()
            self.core.cancel(watch_id)

    def request_progress(self) -> None:
        with self._store._lock:
            self._check_open()
            self.core.request_progress()

    def next(self, timeout_s: float | None = None) -> WatchMessage | None:
        """The next message; None after `timeout_s` without one. Raises StoreClosed."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        hub = self._store._engine.hub
        with self._store._lock:
            while True:
                self._check_open()
                message = self.core.poll()
                if message is not None:
                    return message
                if self.core.has_work:
                    continue
                if hub.has_work:
                    hub.work()
                    continue
                if deadline is not None and (timeout_s := deadline - time.monotonic()) <= 0:
                    return None
                if not self._ready.wait(timeout_s):
                    return self.core.poll()

    def close(self) -> None:
        with self._store._lock:
            self._store._streams.discard(self)
            self.core.close()
            self._store._finish_work()

    def _check_open(self) -> None:
        self._store._check_open()
        if self.core.closed:
            raise StoreClosed
