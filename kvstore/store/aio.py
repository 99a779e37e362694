"""The store on an event loop: the engine, a committer thread, timers.

The engine runs only on the loop, so it needs no lock. Decisions of one turn of the loop, and all
that come in while a commit is under way, share the next commit (group commit). Answers wait in
`_waiters` for their sequence; nothing is answered or told to watchers before it is durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

from kvstore.backend.interface import Backend
from kvstore.core.engine import Commit, Decided, Engine
from kvstore.core.mvcc.ranges import as_values
from kvstore.core.mvcc.record import decode
from kvstore.core.totals import Totals
from kvstore.core.watch.stream import WatchStream
from kvstore.errors import (
    Compacted,
    KeyNotFound,
    NoSpace,
    StateError,
    StoreClosed,
    StoreError,
    StoreFailed,
    WriteRefused,
)
from kvstore.limits import (
    EXPIRE_LEASES_PER_TICK,
    HOUSEKEEPING_RETRY_S,
    RANGE_SLICE_KEYS,
    WATCH_TURN_WATCHERS,
)
from kvstore.store.committer import (
    Committer,
    Outcome,
    commit_again,
    commit_once,
    grow_map,
    show,
    take_back,
)
from kvstore.store.cursor import RangeChunks, RangeCursor, is_plain, is_small
from kvstore.store.gathering import Gathering
from kvstore.store.interface import Waiter
from kvstore.store.options import StoreOptions
from kvstore.store.reader import SnapshotReader
from kvstore.store.start import start_engine, status_of, verify
from kvstore.store.stats import Queues, StoreStats
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
    WatchMessage,
)

__all__ = ["LoopStore", "LoopWatchStream"]

T = TypeVar("T")
P = ParamSpec("P")
W = TypeVar("W", bound=Waiter)
_GUARD_S: Final = 0.05
"""How long what was lost to a signal handler waits before it is done."""
log = logging.getLogger(__name__)


async def _let_others_run() -> None:
    await asyncio.sleep(0)


class _Refusal(NamedTuple):
    """What a waiter gets instead of a result."""

    error: StoreError


class LoopStore:
    """Implements AsyncStoreProtocol. All calls from the loop it was opened on."""

    def __init__(
        self, backend: Backend, engine: Engine, reader: SnapshotReader, options: StoreOptions
    ) -> None:
        """Use `open`."""
        self._backend, self._engine, self._reader = backend, engine, reader
        self._options = options
        self.stats = StoreStats()
        self._loop = asyncio.get_running_loop()
        self._committer = (
            None if backend.is_fast else Committer(backend, self._loop, self._on_commit)
        )
        self._is_committing = self._flush_is_due = self._work_is_due = False
        self._working: asyncio.Handle | None = None
        self._guard: asyncio.TimerHandle | None = None
        self._guards_until = 0.0
        self._refusing: Outcome | None = None  # why all that waits was, until it is told
        self._gathering = Gathering(self._loop.time)
        self._waiters: deque[tuple[int, Waiter, Any]] = deque()
        self._error: StoreError | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._progress: asyncio.TimerHandle | None = None
        self._compaction: asyncio.Task[None] | None = None
        engine.hub.on_work = self._work_soon
        self._after_commit()

    @classmethod
    async def open(cls, backend: Backend, *, options: StoreOptions | None = None) -> LoopStore:
        """Read the backend and take it over; `close` closes it. Raises CorruptStore."""
        options = options or StoreOptions()
        loop = asyncio.get_running_loop()
        engine, reader = await loop.run_in_executor(None, start_engine, backend, options)
        return cls(backend, engine, reader, options)

    def tell_by(self, together: Callable[[Callable[[], None]], None]) -> None:
        """Have each commit told inside of a call of this, which sees who was woken by it."""
        if self._committer is not None:
            self._committer.together = together

    def __repr__(self) -> str:
        return f"LoopStore({self._engine!r}, {len(self._waiters)} waiting, error={self._error!r})"

    # -- reads -----------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """The durable revision: what a response header shows."""
        return self._engine.durable

    @property
    def write_error(self) -> StoreError | None:
        """Why writes are refused; None while they are taken."""
        return self._error

    @property
    def compact_revision(self) -> int:
        """-1 before the first compaction."""
        return self._engine.compacted

    def get(self, key: bytes, revision: int = 0) -> KeyValue | None:
        """One key, at once. Raises Compacted, FutureRevision, StoreClosed."""
        self._check_open()
        record = self._engine.get(key, revision)
        return None if record is None else decode(record)

    def record(self, key: bytes) -> bytes | None:
        """The stored record of a key, now (kvstore.core.mvcc.record). Raises StoreClosed."""
        self._check_open()
        return self._engine.get(key)

    def is_small(self, op: RangeOp) -> bool:
        """May `range_now` answer it without keeping others waiting for long?"""
        return is_small(self._engine, op)

    def range_now(self, op: RangeOp) -> RangeResult:
        """As `range`, at once."""
        self._check_open()
        return self._engine.range(op)

    async def range(self, op: RangeOp) -> RangeResult:
        """A large plain range is read in slices, with the loop free in between."""
        result, parts = await self.range_in_parts(op, list)
        return result._replace(kvs=[kv for part in parts for kv in part])

    async def range_in_parts(
        self,
        op: RangeOp,
        use: Callable[[Sequence[KeyValue]], T],
        turn: Callable[[], Awaitable[None]] = _let_others_run,
    ) -> tuple[RangeResult, list[T]]:
        """As `range`, with `turn` awaited between slices: what `use` makes of each, in order.

        The result has no kvs of its own. So no more is kept of a large range than `use` keeps.
        """
        self._check_open()
        if not is_small(self._engine, op) and is_plain(op) and not op.count_only:
            for _ in range(3):
                try:
                    return await self._range_in_slices(op, use, turn)
                except Compacted:
                    if op.revision > 0:
                        raise
        result = self._engine.range(op)  # or compactions keep overtaking it: in one go, then
        kvs, parts = result.kvs, []
        for start in range(0, len(kvs), RANGE_SLICE_KEYS):
            parts.append(use(kvs[start : start + RANGE_SLICE_KEYS]))
            await turn()
        return result._replace(kvs=()), parts

    async def _range_in_slices(
        self,
        op: RangeOp,
        use: Callable[[Sequence[KeyValue]], T],
        turn: Callable[[], Awaitable[None]],
    ) -> tuple[RangeResult, list[T]]:
        cursor = RangeCursor(self._engine, op)
        parts: list[T] = []
        while not cursor.is_done:
            parts.append(use(as_values(op, cursor.read_slice())))
            await turn()
            self._check_open()
        return cursor.result([]), parts

    async def range_stream(self, op: RangeOp) -> AsyncIterator[RangeResult]:
        self._check_open()
        chunks = RangeChunks(self._engine, op, self._options.max_request_bytes)
        while (chunk := chunks.next()) is not None:
            yield chunk
            await asyncio.sleep(0)
            self._check_open()

    def status(self) -> StoreStatus:
        self._check_open()
        return status_of(self._engine, self._backend)

    @property
    def totals(self) -> Totals:
        """What was done since the store was opened; the numbers go on growing."""
        return self._engine.totals

    def queues(self) -> Queues:
        """What waits now."""
        hub = self._engine.hub
        return Queues(
            *self._engine.pending,
            len(self._waiters),
            len(hub.streams),
            *hub.queued,
            hub.behind,
        )

    # -- writes ----------------------------------------------------------------------------------

    def decide(self, txn: Txn, waiter: W, at_once: Callable[[TxnResult], None] | None = None) -> W:
        """Decide at once; the waiter is done when the result is durable. Raises as `txn`.

        `at_once` sees the result at once, which must not leave the process before that.

        It is called from inside the conclusion of a commit and must not call the store.
        """
        self._check_writable()
        try:
            decided = self._engine.txn(txn)
            if at_once is not None:
                at_once(decided.result)
        except (StateError, KeyNotFound) as error:
            decided = self._refused(error)
        self._notify(waiter, decided)
        return waiter

    def put(self, key: bytes, value: bytes, lease_id: int, waiter: W) -> W:
        """As `decide` of a Txn with this put alone; the result is its revision."""
        self._check_writable()
        engine = self._engine
        try:
            revision = engine.put(key, value, lease_id)
        except StateError as error:
            self._notify(waiter, self._refused(error))
        else:
            self._waiters.append((engine.sequence, waiter, revision))
            self._flush_soon()
        return waiter

    async def put_durably(self, key: bytes, value: bytes, lease_id: int = 0) -> int:
        """As `txn` with this put alone; its revision, once that is durable."""
        future: asyncio.Future[int] = self._loop.create_future()
        return await self.put(key, value, lease_id, future)

    async def txn(self, txn: Txn) -> TxnResult:
        future: asyncio.Future[TxnResult] = self._loop.create_future()
        return await self.decide(txn, future)

    async def compact(self, revision: int, *, physical: bool = False) -> CompactResult:
        header = await self._decide_durably(self._engine.compact, revision)
        if physical and self._compaction is not None:
            await asyncio.wait([self._compaction])
            self._check_writable()
        return CompactResult(header)

    # -- leases ----------------------------------------------------------------------------------

    async def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        self._check_writable()
        lease_id = lease_id or self._options.free_lease_id(self._engine.lessor)
        granted = self._decide_durably(
            self._engine.lease_grant, ttl_s, lease_id, self._options.clock()
        )
        self._arm_expiry()
        return await granted

    async def lease_revoke(self, lease_id: int) -> int:
        return await self._decide_durably(self._engine.lease_revoke, lease_id)

    def lease_keep_alive_now(self, lease_id: int) -> int:
        """As `lease_keep_alive`, at once: the TTL in seconds; 0 when that has to wait.

        Raises StoreClosed.
        """
        self._check_open()
        return self._engine.lease_renew(lease_id, self._options.clock())

    async def lease_keep_alive(self, lease_id: int) -> Lease:
        self._check_open()
        engine, lease = self._engine, self._engine.lessor.get(lease_id)
        decided = engine.lease_keep_alive(lease_id, self._options.clock())
        revision = engine.durable
        if decided.result:
            await self._when_durable(decided)
            return Lease(lease_id, decided.result, revision)
        while lease is not None and engine.lessor.get(lease_id) is lease:
            self._check_writable()  # its time is up: revoke it before saying so
            self.expire_due()
            await self._settled()
        await self._settled()
        return Lease(lease_id, 0, engine.durable)

    async def lease_time_to_live(self, lease_id: int, *, keys: bool = False) -> LeaseStatus:
        self._check_open()
        status = self._engine.lease_status(lease_id, self._options.clock(), keys=keys)
        await self._settled()
        return status._replace(revision=self._engine.durable)

    async def lease_leases(self) -> list[int]:
        self._check_open()
        leases = self._engine.lessor.by_remaining()
        await self._settled()
        return leases

    # -- watching --------------------------------------------------------------------------------

    def watch_stream(self) -> LoopWatchStream:
        ready = asyncio.Event()
        return LoopWatchStream(self.watch_session(ready.set), ready)

    def watch_session(
        self, on_ready: Callable[[], None], hold: Callable[[int], bool] | None = None
    ) -> WatchStream:
        """As `watch_stream`, to be polled when `on_ready` is called. `hold`: see WatchStream."""
        self._check_open()
        stream = self._engine.watch_stream(on_ready, hold)
        if self._progress is None:
            self._arm_progress()
        return stream

    # -- time ------------------------------------------------------------------------------------

    def expire_due(self) -> int:
        """Revoke leases whose time is up, a bounded number; returns how many.

        A timer calls it; with an injected clock, call it after moving the clock.
        """
        if self._error is not None:
            return 0
        revoked = self._engine.expire(self._options.clock(), EXPIRE_LEASES_PER_TICK)
        if revoked:
            self._flush_soon()
        self._arm_expiry()
        return revoked

    def notify_progress(self) -> None:
        """The progress interval passed: each watcher that asked for it is told the revision."""
        self._notify_progress(tuple(self._engine.hub.streams), 0)

    def _notify_progress(self, streams: Sequence[WatchStream], first: int) -> None:
        """In pieces, with the loop free in between."""
        end = first + WATCH_TURN_WATCHERS
        for stream in streams[first:end]:
            stream.tick_progress()
        if end < len(streams):
            self._loop.call_soon(self._notify_progress, streams, end)

    def _work_soon(self) -> None:
        if not self._work_is_due:
            self._stand_guard()
            self._working = self._loop.call_soon(self._work)
            self._work_is_due = True

    def _work(self) -> None:
        """One piece of what the hub has left to do; then others have their turn."""
        self._work_is_due = False
        try:
            if not isinstance(self._error, StoreClosed):
                self._engine.hub.work()
                self._look_for_work()
                if self._engine.has_outbox:
                    self._flush_soon()  # a commit may have waited for this
        except BaseException:
            self._call_flush()  # which puts it in order
            raise

    def _look_for_work(self) -> None:
        if self._engine.hub.has_work:
            self._work_soon()

    def _arm_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        at = self._engine.lessor.next_expiry()
        if at is not None and self._error is None:
            delay_s = max(at - self._options.clock(), 0.0)
            self._expiry = self._loop.call_later(delay_s, self.expire_due)

    def _arm_progress(self) -> None:
        def tick() -> None:
            self.notify_progress()
            self._arm_progress()

        self._progress = (
            self._loop.call_later(self._options.progress_notify_interval_s, tick)
            if self._engine.hub.streams and self._error is None
            else None
        )

    # -- commits ---------------------------------------------------------------------------------

    def _decide_durably(
        self, decide: Callable[P, Decided[T]], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Decide; a refusal that may rest on what is not durable yet waits as an answer does."""
        self._check_writable()
        try:
            decided = decide(*args, **kwargs)
        except (StateError, KeyNotFound) as error:
            decided = self._refused(error)
        return self._when_durable(decided)

    def _refused(self, error: StateError | KeyNotFound) -> Decided[Any]:
        """The refusal as a result that waits; raises it when there is nothing to wait for."""
        if self._engine.sequence <= self._engine.durable_sequence:
            raise error
        return Decided(self._engine.sequence, _Refusal(error))

    def _when_durable(self, decided: Decided[T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        self._notify(future, decided)
        return future

    def _notify(self, waiter: Waiter, decided: Decided[Any]) -> None:
        if decided.sequence <= self._engine.durable_sequence:
            waiter.set_result(decided.result)
        else:
            self._check_writable()
            self._waiters.append((decided.sequence, waiter, decided.result))
            self._flush_soon()

    async def _settled(self) -> None:
        """Wait until everything decided by now is durable."""
        if self._engine.sequence > self._engine.durable_sequence:
            self._call_flush()  # also when that is due: it may have been lost
            await self._when_durable(Decided(self._engine.sequence, None))

    def _flush_soon(self) -> None:
        if not self._is_committing and not self._flush_is_due:
            self._call_flush()

    def _call_flush(self) -> None:
        """In the next turn."""
        self._stand_guard()
        self._loop.call_soon(self._flush)
        self._flush_is_due = True

    def _stand_guard(self) -> None:
        """What a signal handler raises can take a callback before its first line: see to it that a
        timer looks after what is due, and after that timer."""
        if self._loop.time() >= self._guards_until:
            late, self._guard = self._guard, self._loop.call_later(_GUARD_S, self._look_after)
            self._guards_until = self._loop.time() + 2 * _GUARD_S
            if late is not None:
                late.cancel()  # if it was not lost: each of two would stand the next

    def _look_after(self) -> None:
        self._guards_until = 0.0
        if isinstance(self._error, StoreClosed):
            return
        if self._flush_is_due or self._waiters or self._engine.pending[0]:
            self._stand_guard()
            self._tell_waiters()
            self._flush()
        if self._work_is_due or self._engine.hub.has_work:
            self._stand_guard()
            if self._working is not None:
                self._working.cancel()  # mostly it was not lost: two would do two pieces a turn
            self._working = self._loop.call_soon(self._work)
            self._work_is_due = True

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._is_committing or self._error is not None:
            return
        if self._committer is not None and self._gathering.goes_on(self._engine.pending[0]):
            self._call_flush()
            return
        self._put_in_order()
        self._begin_commit()

    def _begin_commit(self) -> None:
        """If none is under way and there is something to commit."""
        engine = self._engine
        # The end of a commit, or the hub's work, calls for the next.
        while (
            engine.has_outbox
            and not self._is_committing
            and self._error is None
            and not engine.hub.is_backed_up
        ):
            commit = engine.take_commit()
            if self._committer is None:
                self._conclude(commit, commit_once(self._backend, commit))
            else:
                self._gathering.end(len(commit.decisions))
                self._committer.submit(commit)
                self._is_committing = True
                return

    def _put_in_order(self) -> None:
        """What an exception from outside broke off is finished."""
        engine = self._engine
        if engine.is_broken_off:
            engine.mend()
        if self._refusing is not None:
            self._take_all_back(self._refusing)
        if engine.taken is not None:
            if self._committer is None:
                outcome = commit_again(self._backend, self._reader, engine.taken)
                self._conclude(engine.taken, outcome)
            else:
                self._committer.submit(engine.taken)
                self._is_committing = True

    def _on_commit(self, commit: Commit, outcome: Outcome) -> None:
        """May be called again, until it returns."""
        if self._engine.is_broken_off:
            self._engine.mend()
        if self._refusing is not None:
            self._take_all_back(self._refusing)
        if self._engine.taken is commit:
            self._conclude(commit, outcome)
        else:
            self._tell_waiters()
            self._is_committing = False
        if not self._is_committing and self._engine.has_outbox:
            self._flush()

    def _conclude(self, commit: Commit, outcome: Outcome) -> None:
        if outcome.error is not None and self._error is not None:
            return
        outcome = show(self._reader, outcome)
        if outcome.is_map_full:
            outcome = grow_map(self._backend, self._reader)
            if outcome.error is not None:
                self._conclude(commit, outcome)
            elif self._committer is None:
                self._conclude(commit, commit_once(self._backend, commit))
            else:
                self._committer.submit(commit, again=True)
            return
        if outcome.error is None:
            self._engine.publish(commit.last_sequence)
            self.stats.commit(len(commit.decisions), outcome.duration_s)
            self._tell_waiters()
        elif outcome.is_clean:
            self._refusing = outcome
            self._take_all_back(outcome)
        else:
            self._fail_for(outcome.error)
        self._is_committing = False
        if self._error is None:
            self._after_commit()

    def _take_all_back(self, refused: Outcome) -> None:
        outcome = take_back(self._engine, refused, self._options.clock())
        if outcome.is_clean:
            self._reject(outcome.refusal)
        elif outcome.error is not None:
            self._fail_for(outcome.error)
        self._refusing = None

    def _fail_for(self, error: BaseException) -> None:
        log.critical("the store has failed, writes are refused until it is reopened: %s", error)
        self._fail(StoreFailed(f"{StoreFailed.message} ({error})"))

    def _tell_waiters(self) -> None:
        waiters, durable = self._waiters, self._engine.durable_sequence
        while waiters:
            sequence, future, result = waiters[0]
            if sequence > durable:
                break
            if not future.done():
                if type(result) is _Refusal:
                    future.set_exception(result.error)
                else:
                    future.set_result(result)
            waiters.popleft()

    def _after_commit(self) -> None:
        if self._expiry is None:
            self._arm_expiry()
        if self._engine.is_compacting and (self._compaction is None or self._compaction.done()):
            self._compaction = self._loop.create_task(self._compact_in_steps())

    async def _compact_in_steps(self) -> None:
        started_s = self._loop.time()
        while self._engine.is_compacting and self._error is None:
            step_s = self._loop.time()
            self._engine.compaction_step(self._options.compaction_batch_limit)
            self.stats.compaction_step_ms.observe((self._loop.time() - step_s) * 1000)
            self._flush_soon()
            try:
                await self._settled()
            except (NoSpace, WriteRefused):
                await asyncio.sleep(HOUSEKEEPING_RETRY_S)
                continue
            except StoreError:
                return
            if self._engine.is_compacting:
                await asyncio.sleep(self._options.compaction_sleep_s)
        if self._error is None:
            self.stats.compaction_ms.observe((self._loop.time() - started_s) * 1000)
            self.stats.compacted_at_s = time.time()

    def _fail(self, error: StoreError) -> None:
        self._error = error
        self._reject(error)

    def _reject(self, error: StoreError) -> None:
        waiters = self._waiters
        while waiters:
            future = waiters[0][1]
            if not future.done():
                future.set_exception(error)
            self.stats.failed += 1
            waiters.popleft()

    def _check_open(self) -> None:
        if isinstance(self._error, StoreClosed):
            raise self._error

    def _check_writable(self) -> None:
        if self._error is not None:
            raise self._error

    # -- the end ---------------------------------------------------------------------------------

    async def close(self) -> None:
        """Finish what is being committed, refuse the rest, end all watches, close the backend."""
        if isinstance(self._error, StoreClosed):
            return
        with contextlib.suppress(StoreError):
            await self._settled()
        self._fail(StoreClosed())
        for timer in (self._expiry, self._progress, self._guard):
            if timer is not None:
                timer.cancel()
        if self._compaction is not None:
            self._compaction.cancel()
            await asyncio.wait([self._compaction])
        for stream in tuple(self._engine.hub.streams):
            stream.close()
        if self._committer is not None:
            await self._committer.close()
        verify(self._engine)
        self._reader.close()
        await self._loop.run_in_executor(None, self._backend.close)


class LoopWatchStream:
    """Implements AsyncWatchStream."""

    def __init__(self, core: WatchStream, ready: asyncio.Event) -> None:
        """`ready` is set when there may be something to poll."""
        self.core, self._ready = core, ready
        self.create, self.cancel = core.create, core.cancel
        self.request_progress, self.close = core.request_progress, core.close

    def __repr__(self) -> str:
        return f"LoopWatchStream({self.core!r})"

    async def next(self) -> WatchMessage:
        """The next message. Raises StoreClosed when the store or the stream was closed."""
        while True:
            if self.core.is_spent:  # by the last poll: a message that was taken must not be lost
                await asyncio.sleep(0)
            message = self.core.poll()
            if message is not None:
                return message
            if self.core.has_work:
                await asyncio.sleep(0)
                continue
            self._ready.clear()
            await self._ready.wait()
