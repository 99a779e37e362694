"""The store for threads: the engine behind one lock, commits led by whoever waits.

The first thread that finds its decision not durable and nobody committing leads: it takes all that
was decided, commits it with the lock released, publishes and wakes the others, whose decisions came
along or make up the next commit. So concurrent threads share commits.
A housekeeping thread exists only once there is something to keep: leases, a compaction, progress.

The main thread may be interrupted anywhere by what a signal handler raises (Ctrl-C):

    while it decides                   the decision is taken back (kvstore.core.engine)
    while it waits for a commit        the commit is finished, then the exception is raised
    while it commits or publishes      a deputy finishes that in its place, then it is raised

A commit that waits for a disk is never led by the main thread but by the deputy, for whom signals
do not exist. What a second exception leaves is found by the next call: `_leader` says that a commit
was abandoned, `_is_untidy` that something may be. All this rests on the interpreter looking for
signals only at calls and jumps back: never between plain assignments, nor between a lock and the
body of its `with`. A Condition is written in Python and not so, hence the bells.

A handler, or a finalizer of the garbage collector, that calls the store while its own thread is
inside gets NestedCall: it could only wait for itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any, Final, ParamSpec, TypeVar, cast

from kvstore.backend.interface import Backend
from kvstore.core.engine import Commit, Decided, Engine
from kvstore.core.mvcc.record import decode
from kvstore.core.watch.stream import WatchStream
from kvstore.errors import (
    KeyNotFound,
    NestedCall,
    StateError,
    StoreClosed,
    StoreError,
    StoreFailed,
)
from kvstore.limits import EXPIRE_LEASES_PER_TICK, HOUSEKEEPING_RETRY_S
from kvstore.store.committer import (
    Outcome,
    commit_again,
    commit_once,
    grow_map,
    is_from_outside,
    show,
    take_back,
)
from kvstore.store.cursor import RangeChunks
from kvstore.store.deputy import Deputy, run_aside
from kvstore.store.options import StoreOptions
from kvstore.store.reader import SnapshotReader
from kvstore.store.start import start_engine, status_of, verify
from kvstore.store.worker import Worker
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


_ABANDONED: Final = -1
_PAUSE_S: Final = 1e-6
"""A thread that only releases the lock takes it again before those who wait wake up."""
_LOOK_AGAIN_S: Final = 1.0
"""A thread that waits for another's commit looks after it, should nobody be there to wake it."""


class _Bell:
    """Wakes threads that wait without the store's lock; rung and asked for with it."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[threading.Lock] = []

    def ticket(self) -> threading.Lock:
        """Acquire it, once more, without the store's lock, to wait."""
        ticket = threading.Lock()
        ticket.acquire()
        self._waiting.append(ticket)
        return ticket

    def tear(self, ticket: threading.Lock) -> None:
        if ticket in self._waiting:
            self._waiting.remove(ticket)

    def ring(self) -> None:
        while self._waiting:
            with contextlib.suppress(RuntimeError):  # an exception came behind the last release
                self._waiting[-1].release()
            self._waiting.pop()


class _Waiter:
    """A thread whose decision is in no commit yet, or in one that has not ended."""

    __slots__ = ("bell", "error", "is_done", "sequence")

    def __init__(self, sequence: int) -> None:
        self.sequence, self.is_done = sequence, False
        self.error: StoreError | None = None
        self.bell: _Bell | None = None


class ThreadStore:
    """Implements StoreProtocol. Safe for many threads; not across fork."""

    def __init__(
        self, backend: Backend, engine: Engine, reader: SnapshotReader, options: StoreOptions
    ) -> None:
        """Use `open`."""
        self._backend, self._engine, self._reader = backend, engine, reader
        self._options, self._is_fast = options, backend.is_fast
        self._lock = threading.RLock()
        self._owns_lock: Callable[[], bool] = cast("Any", self._lock)._is_owned  # as Condition does
        self._chores = threading.Condition(self._lock)  # the housekeeper should look again
        self._leader = 0  # the thread that commits
        self._ended = _Bell()  # a commit did
        self._is_untidy = False
        self._refusing: Outcome | None = None  # why all that waits was, until it is told
        self._waiters: deque[_Waiter] = deque()
        self._error: StoreError | None = None
        self._pid = os.getpid()
        self._main = threading.main_thread().ident
        self._deputy = Deputy(self._stand_in, "kvstore-deputy", is_needed=not backend.is_fast)
        self._is_closed = False
        self._progress_at: float | None = None
        self._housekeeper = Worker(self._run_chores, "kvstore-housekeeper", daemon=True)
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
        if self._is_untidy or self._owns_lock():
            self._come_in()
        with self._lock:
            if self._error is not None:  # mostly there is none
                self._check_open()
            record = self._engine.get(key, revision)
        return None if record is None else decode(record)

    def range(self, op: RangeOp) -> RangeResult:
        self._come_in()
        with self._lock:
            self._check_open()
            return self._engine.range(op)

    def range_stream(self, op: RangeOp) -> Iterator[RangeResult]:
        self._come_in()
        with self._lock:
            self._check_open()
            chunks = RangeChunks(self._engine, op, self._options.max_request_bytes)
        while True:
            self._come_in()
            with self._lock:
                self._check_open()
                chunk = chunks.next()
            if chunk is None:
                return
            yield chunk

    def status(self) -> StoreStatus:
        self._come_in()
        with self._lock:
            self._check_open()
            return status_of(self._engine, self._backend)

    # -- writes ----------------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes, lease_id: int = 0) -> int:
        """As `txn` with this put alone; returns its revision."""
        return self._write(self._engine.put, key, value, lease_id)

    def txn(self, txn: Txn) -> TxnResult:
        return self._write(self._engine.txn, txn).result

    def compact(self, revision: int, *, physical: bool = False) -> CompactResult:
        header = self._write(self._engine.compact, revision).result
        self._keep_house()
        while physical and self._engine.is_compacting:
            self._compaction_step()
        if physical:
            self._settle()  # the last step may be the housekeeper's, still being committed
        return CompactResult(header)

    # -- leases ----------------------------------------------------------------------------------

    def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        granted = self._write(self._grant, ttl_s, lease_id).result
        self._keep_house()
        return granted

    def _grant(self, ttl_s: int, lease_id: int) -> Decided[Lease]:
        lease_id = lease_id or self._options.free_lease_id(self._engine.lessor)
        return self._engine.lease_grant(ttl_s, lease_id, self._options.clock())

    def lease_revoke(self, lease_id: int) -> int:
        return self._write(self._engine.lease_revoke, lease_id).result

    def lease_keep_alive(self, lease_id: int) -> Lease:
        self._come_in()
        with self._lock:
            self._check_open()
            engine, lease = self._engine, self._engine.lessor.get(lease_id)
            decided = engine.lease_keep_alive(lease_id, self._options.clock())
            revision = engine.durable
        if decided.result:
            self._settle(decided.sequence)
            return Lease(lease_id, decided.result, revision)
        while lease is not None and engine.lessor.get(lease_id) is lease:
            self.expire_due()  # its time is up: revoke it before saying so
        self._settle()
        return Lease(lease_id, 0, engine.durable)

    def lease_time_to_live(self, lease_id: int, *, keys: bool = False) -> LeaseStatus:
        self._come_in()
        with self._lock:
            self._check_open()
            status = self._engine.lease_status(lease_id, self._options.clock(), keys=keys)
        self._settle()
        return status._replace(revision=self._engine.durable)

    def lease_leases(self) -> list[int]:
        self._come_in()
        with self._lock:
            self._check_open()
            leases = self._engine.lessor.by_remaining()
        self._settle()
        return leases

    # -- watching --------------------------------------------------------------------------------

    def watch_stream(self) -> ThreadWatchStream:
        self._come_in()
        with self._lock:
            self._check_open()
            return ThreadWatchStream(self)

    # -- time ------------------------------------------------------------------------------------

    def expire_due(self) -> int:
        """Revoke leases whose time is up, a bounded number; returns how many.

        The housekeeper does it; with an injected clock, call it after moving the clock.
        """
        return self._write(self._engine.expire, self._options.clock(), EXPIRE_LEASES_PER_TICK)

    def notify_progress(self) -> None:
        """The progress interval passed: each watcher that asked for it is told the revision."""
        self._come_in()
        with self._lock:
            self._notify_progress()

    # -- commits ---------------------------------------------------------------------------------

    def _write(self, decide: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Decide, and wait until all that was decided by then is durable.

        A refusal that may rest on what is not durable yet waits as an answer does.
        """
        refusal: StoreError | None = None
        me, waiter = get_ident(), None
        self._come_in(me)
        try:
            with self._lock:
                self._check_writable()
                try:
                    result = decide(*args, **kwargs)
                except (StateError, KeyNotFound) as error:
                    refusal = error
                waiter = self._wait_for(self._engine.sequence)
                if waiter is not None and self._is_fast:
                    self._lead(me)
            if waiter is not None:
                if not waiter.is_done:
                    self._await(waiter, me)
                elif waiter.error is not None:
                    raise waiter.error
                if self._engine.hub.has_work:
                    self._finish_work()
        except BaseException:
            self._break_off(me, waiter)
            raise
        if refusal is not None:
            raise refusal
        return result

    def _settle(self, sequence: int | None = None) -> None:
        """Wait until everything decided by now, or up to `sequence`, is durable."""
        engine, me, waiter = self._engine, get_ident(), None
        if (engine.sequence if sequence is None else sequence) <= engine.durable_sequence:
            return
        self._come_in(me)
        try:
            with self._lock:
                self._check_writable()
                waiter = self._wait_for(engine.sequence if sequence is None else sequence)
            if waiter is not None:
                self._await(waiter, me)
        except BaseException:
            self._break_off(me, waiter)
            raise

    def _wait_for(self, sequence: int) -> _Waiter | None:
        """With the lock. None: there is nothing to wait for."""
        if sequence <= self._engine.durable_sequence:
            return None
        waiter = _Waiter(sequence)
        self._waiters.append(waiter)
        return waiter

    def _await(self, waiter: _Waiter, me: int) -> None:
        """Without the lock. Lead, have the deputy lead, or wait for who leads, until it is done."""
        while not waiter.is_done:
            with self._lock:
                if waiter.is_done:
                    break
                if self._error is not None:
                    raise self._error
                leads = self._leader == 0 and self._may_lead(me)
                if not leads:
                    waiter.bell = waiter.bell or _Bell()
                    ticket = waiter.bell.ticket()
            if leads:
                self._lead(me)
                self._finish_work()
                continue
            if self._leader <= 0:
                self._deputy.poke()
            ticket.acquire(timeout=_LOOK_AGAIN_S)
        if waiter.error is not None:
            raise waiter.error

    def _may_lead(self, me: int) -> bool:
        return self._is_fast or me != self._main

    def _lead(self, me: int) -> None:
        """Do one commit if nobody else does; with the lock released unless the caller has it."""
        with self._lock:
            if self._leader or not self._engine.has_outbox or self._error is not None:
                return
            self._leader = me
            commit = self._engine.take_commit()
        outcome = commit_once(self._backend, commit)
        with self._lock:
            self._conclude(commit, outcome)
            self._leader = 0
            self._wake()

    def finish_work(self) -> None:
        """As `_finish_work`, as a call of its own."""
        try:
            self._finish_work()
        except BaseException:
            self._break_off(get_ident())
            raise

    def _finish_work(self) -> None:
        """Do what the hub has left to do, and let others have the lock after each piece.

        Whoever does not come that far leaves it to the next one, or to a stream that is read.
        """
        hub = self._engine.hub
        while hub.has_work:
            with self._lock:
                hub.work()
            if hub.has_work:
                time.sleep(_PAUSE_S)

    def _wake(self) -> None:
        """A commit ended; of those who wait and are not told somebody has to lead the next."""
        self._ended.ring()
        for waiter in self._waiters:
            if waiter.bell is not None:
                waiter.bell.ring()
                return

    def _fail(self, error: BaseException) -> None:
        log.critical("the store has failed, writes are refused until it is reopened: %r", error)
        self._refuse(self._error or StoreFailed(f"{StoreFailed.message} ({error!r})"))

    def _refuse(self, error: StoreError) -> None:
        """From now on."""
        self._error = error
        for waiter in self._waiters:
            if waiter.bell is not None:
                waiter.bell.ring()

    def _conclude(self, commit: Commit, outcome: Outcome) -> None:
        while outcome.is_map_full:
            outcome = grow_map(self._backend, self._reader)
            if outcome.error is None:
                outcome = commit_once(self._backend, commit)
        outcome = show(self._reader, outcome)
        if outcome.error is None:
            self._engine.publish(commit.last_sequence)
            self._tell(self._engine.durable_sequence)
        elif is_from_outside(outcome.error):
            raise outcome.error
        elif outcome.is_clean:
            self._refusing = outcome
            self._take_all_back(outcome)
        else:
            self._fail(outcome.error)

    def _take_all_back(self, refused: Outcome) -> None:
        outcome = take_back(self._engine, refused, self._options.clock())
        if outcome.is_clean:
            self._tell(self._engine.sequence, outcome.refusal)
        elif outcome.error is not None and is_from_outside(outcome.error):
            raise outcome.error
        elif outcome.error is not None:
            self._fail(outcome.error)
        self._refusing = None

    def _tell(self, durable: int, error: StoreError | None = None) -> None:
        """Everything up to a sequence is decided for good. May be called again."""
        waiters = self._waiters
        while waiters and waiters[0].sequence <= durable:
            waiter = waiters[0]
            waiter.error, waiter.is_done = error, True
            if waiter.bell is not None:
                waiter.bell.ring()
            waiters.popleft()

    # -- what was broken off -----------------------------------------------------------------------

    def _come_in(self, me: int = 0) -> None:
        """What every call begins with. Raises NestedCall."""
        if self._owns_lock() or (me and self._leader == me):
            self._check_not_nested()
        if self._is_untidy:
            self._deputy.call()

    def _check_not_nested(self) -> None:
        """This thread has the lock or leads. Raises NestedCall if that is in a call below this one.

        Else the call is gone: a second exception came before `_break_off` could say so.
        """
        if self._owns_lock():
            raise NestedCall
        frame = sys._getframe()
        while frame is not None:
            if frame.f_code is _LEADING and frame.f_locals["self"] is self:
                raise NestedCall
            frame = frame.f_back  # type: ignore[assignment]
        self._is_untidy = True
        self._leader = _ABANDONED

    def _break_off(self, me: int, waiter: _Waiter | None = None) -> None:
        """An exception came out of a call: leave nothing unfinished behind. Without the lock."""
        self._is_untidy = True  # first, as long as nothing can come between
        if self._leader == me:
            self._leader = _ABANDONED
        with self._lock:
            is_told = waiter is None or waiter.is_done
            is_led = self._leader > 0 or not self._engine.has_outbox
            is_whole = is_told and is_led and self._leader >= 0 and not self._engine.is_broken_off
            if is_whole or self._error is not None:
                self._is_untidy = False
                return
        self._deputy.call()
        if waiter is not None and not waiter.is_done:
            with contextlib.suppress(StoreError):
                self._await(waiter, me)

    def _stand_in(self) -> None:
        """The deputy's work: put in order what was broken off, and commit what waits."""
        me = get_ident()
        try:
            with self._lock:
                self._put_in_order(me)
            self._finish_work()
            while self._engine.has_outbox and not self._leader and self._error is None:
                self._lead(me)
                self._finish_work()
        except BaseException as error:
            with self._lock:
                self._fail(error)
                self._is_untidy = False
                self._leader = 0 if self._leader in (me, _ABANDONED) else self._leader
                self._wake()

    def _put_in_order(self, me: int) -> None:
        """With the lock."""
        if not self._is_untidy:
            return
        engine = self._engine
        engine.mend()
        if self._refusing is not None:
            self._take_all_back(self._refusing)
        if self._leader == _ABANDONED:
            self._leader = me
            if engine.taken is not None:
                outcome = commit_again(self._backend, self._reader, engine.taken)
                self._conclude(engine.taken, outcome)
            self._tell(engine.durable_sequence)
            self._leader = 0
        self._is_untidy = False
        self._wake()

    def _check_open(self) -> None:
        if self._pid != os.getpid():
            raise StoreClosed("the store was opened in another process: open it anew after a fork")
        if self._error is not None and isinstance(self._error, StoreClosed):
            raise self._error

    def _check_writable(self) -> None:
        self._check_open()
        if self._error is not None:
            raise self._error

    # -- housekeeping ----------------------------------------------------------------------------

    def _keep_house(self) -> None:
        """See that the housekeeper runs if there is anything to keep, and looks again."""
        with self._lock:
            if not self._housekeeper.runs and self._next_chore() is not None:
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
        while True:
            with self._lock:
                if self._error is not None:
                    return
                wait_s = self._next_chore()
                if wait_s is None or wait_s > 0:
                    self._chores.wait(wait_s)
                self._notify_progress_if_due()
                if self._error is not None:
                    return
            try:
                self.expire_due()
                if self._engine.is_compacting:
                    self._compaction_step()
            except StoreError as error:
                log.warning("housekeeping could not write, it tries again: %s", error)
                with self._lock:
                    if self._error is None:
                        self._chores.wait(HOUSEKEEPING_RETRY_S)

    def _notify_progress(self) -> None:
        for stream in self._engine.hub.streams:
            stream.tick_progress()

    def _notify_progress_if_due(self) -> None:
        now = self._options.clock()
        if self._progress_at is not None and self._progress_at <= now:
            self._notify_progress()
            interval_s = self._options.progress_notify_interval_s
            self._progress_at = now + interval_s if self._engine.hub.streams else None

    def _expect_progress(self) -> None:
        """A watcher asked for progress messages."""
        if self._progress_at is None:
            self._progress_at = self._options.clock() + self._options.progress_notify_interval_s
            self._keep_house()

    def _compaction_step(self) -> None:
        self._write(self._engine.compaction_step, self._options.compaction_batch_limit)

    # -- the end ---------------------------------------------------------------------------------

    def close(self, before: Callable[[], None] | None = None) -> None:
        """Finish what is being committed, refuse the rest, end all watches, close the backend.

        `before` is called before that. Interrupted, it closes all the same; again: nothing.
        """
        if self._pid != os.getpid() or self._is_closed:
            return
        self.check_not_nested()

        def close() -> None:
            if before is not None:
                before()
            self._close()

        run_aside(close, "kvstore-close")

    def check_not_nested(self) -> None:
        """Raises NestedCall in a handler that interrupted a call of its own thread."""
        if self._owns_lock() or self._leader == get_ident():
            self._check_not_nested()

    def _close(self) -> None:
        while not self._shut():
            pass
        self._deputy.close()
        self._housekeeper.join()
        with self._lock:
            if self._is_closed:
                return
            verify(self._engine)
            self._reader.close()
            self._backend.close()
            self._is_closed = True

    def _shut(self) -> bool:
        """Refuse what comes; False: a commit had to end first, try again."""
        with self._lock:
            self._put_in_order(get_ident())
            if not self._leader:
                self._refuse(StoreClosed())
                for stream in tuple(self._engine.hub.streams):
                    stream.close()
                self._chores.notify_all()
                return True
            ticket = self._ended.ticket()
        ticket.acquire(timeout=_LOOK_AGAIN_S)
        return False


_LEADING = ThreadStore._lead.__code__


class ThreadWatchStream:
    """Implements WatchStreamProtocol."""

    def __init__(self, store: ThreadStore) -> None:
        self._store = store
        self._bell = _Bell()
        self.core: WatchStream = store._engine.watch_stream(self._bell.ring)

    def __repr__(self) -> str:
        return f"ThreadWatchStream({self.core!r})"

    def create(self, request: WatchCreate) -> None:
        self._change(self.core.create, request)
        if request.progress_notify:
            self._store._expect_progress()

    def cancel(self, watch_id: int) -> None:
        self._change(self.core.cancel, watch_id)

    def request_progress(self) -> None:
        self._change(self.core.request_progress)

    def next(self, timeout_s: float | None = None) -> WatchMessage | None:
        """The next message; None after `timeout_s` without one. Raises StoreClosed."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            message, ticket = self._change(self._poll)
            if message is not None:
                return message
            if ticket is None:
                continue
            wait_s = -1.0 if deadline is None else max(deadline - time.monotonic(), 0.0)
            if not ticket.acquire(timeout=wait_s):
                return self._change(self._poll_again, ticket)

    def _poll(self) -> tuple[WatchMessage | None, threading.Lock | None]:
        """With nothing to do, what to wait for."""
        message, hub = self.core.poll(), self._store._engine.hub
        if message is not None or self.core.has_work:
            return message, None
        if hub.has_work:
            hub.work()
            return None, None
        return None, self._bell.ticket()

    def _poll_again(self, ticket: threading.Lock) -> WatchMessage | None:
        self._bell.tear(ticket)
        return self.core.poll()

    def close(self) -> None:
        store = self._store
        if not self.core.closed:
            with contextlib.suppress(StoreClosed):
                self._change(self.core.close)
                store.finish_work()

    def _change(self, change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What watchers have in common is put together anew when an exception comes out of it."""
        store = self._store
        store._come_in()
        try:
            with store._lock:
                store._check_open()
                if self.core.closed:
                    raise StoreClosed
                try:
                    return change(*args, **kwargs)
                except BaseException:
                    store._engine.hub.is_torn = True
                    raise
        except BaseException:
            store._break_off(get_ident())
            raise
