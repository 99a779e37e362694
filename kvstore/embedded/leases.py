"""Leases held by a running program: alive while entered, revoked at the end.

    new ──enter──> held ──exit──> revoked
                    │ └─ every third of the TTL: keep alive
                    └──answer "unknown" or an error──> lost

A lost lease never comes back: its keys are gone or going, and `lost` says so. One background
mechanism per store keeps all of them alive: a thread (Keeper) or a task (AsyncKeeper), started
with the first lease and ended by the store. Both follow one pure Schedule.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from kvstore.embedded.arguments import int64
from kvstore.errors import LeaseNotFound, StoreClosed, StoreError
from kvstore.store.worker import Worker
from kvstore.types import Lease

if TYPE_CHECKING:
    import asyncio

    from kvstore.store.interface import AsyncStoreProtocol, StoreProtocol

__all__ = ["AsyncHeldLease", "AsyncKeeper", "HeldLease", "Keeper", "Schedule"]

RENEWALS_PER_TTL: Final = 3

_log = logging.getLogger("kvstore")


class _Held:
    """The state of one held lease; a keeper renews it while it is `alive`."""

    def __init__(self, live: Callable[[], object], ttl_s: int, lease_id: int) -> None:
        self._wanted_ttl_s = int64(ttl_s, "ttl_s", 1)
        self._wanted_id = int64(lease_id, "lease_id")
        self._granted: Lease | None = None
        self._lost = False
        self._left = False
        self._check = live

    def __del__(self) -> None:
        if not getattr(self, "_check", None) or not self.alive:
            return
        try:
            self._check()
        except StoreClosed:
            return
        text = f"{self!r} was entered and not left, it is no longer kept alive"
        warnings.warn(text, ResourceWarning, stacklevel=2, source=self)

    @property
    def id(self) -> int:
        """The lease's id; 0 before it was entered."""
        return self._granted.id if self._granted else 0

    @property
    def ttl_s(self) -> int:
        """Seconds it lives without being kept alive: granted, or asked for until it is entered."""
        return self._granted.ttl_s if self._granted else self._wanted_ttl_s

    @property
    def lost(self) -> bool:
        """True from when it was found that the lease ended before its `with` block did."""
        return self._lost

    @property
    def alive(self) -> bool:
        """Entered, not left and not lost."""
        return self._granted is not None and not self._left and not self._lost

    def renewed(self, answer: Lease) -> None:
        """Take the answer of a keep-alive: a TTL of 0 means that the lease is gone."""
        if answer.ttl_s == 0 and not self._left:
            self._lose("it expired or was revoked")

    def failed(self, error: StoreError) -> None:
        """Take a keep-alive that raised."""
        if not self._left:
            self._lose(str(error))

    def _lose(self, reason: str) -> None:
        self._lost = True
        _log.warning("lease %d is lost: %s", self.id, reason)

    def _enter(self, granted: Lease) -> None:
        self._granted = granted
        self._left = self._lost = False

    def __repr__(self) -> str:
        state = "lost" if self._lost else "held" if self.alive else "not held"
        return f"<{type(self).__name__} {self.id}, ttl {self.ttl_s} s, {state}>"


H = TypeVar("H", bound=_Held)


class Schedule(Generic[H]):
    """When each lease is to be kept alive next. Pure: the caller passes the time.

    It does not keep the objects: a lease that its program has lost is not kept alive.
    """

    __slots__ = ("_count", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, weakref.ref[H]]] = []
        self._count = 0

    def add(self, lease: H, now: float) -> None:
        """Renew `lease` a third of its TTL from now."""
        self._count += 1
        heapq.heappush(
            self._heap, (now + lease.ttl_s / RENEWALS_PER_TTL, self._count, weakref.ref(lease))
        )

    def next_due(self) -> float | None:
        """The time of the first renewal; None when no lease is alive."""
        while self._heap:
            at, _, lease = self._heap[0]
            if _is_alive(lease()):
                return at
            heapq.heappop(self._heap)
        return None

    def take_due(self, now: float) -> list[H]:
        """The leases to renew now; each is planned again with `add` when that went well."""
        due = []
        while (at := self.next_due()) is not None and at <= now:
            lease = heapq.heappop(self._heap)[2]()
            if lease is not None:
                due.append(lease)
        return due


def _is_alive(lease: _Held | None) -> bool:
    return lease is not None and lease.alive


class Keeper:
    """Keeps the leases of one blocking store alive, in a thread that lives while there are any.

    The thread also ends with the main thread, so that a program that forgot to close its store
    comes to its end (after a third of the longest TTL at the latest).
    """

    def __init__(self, store: StoreProtocol, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._schedule: Schedule[HeldLease] = Schedule()
        # The lock itself is entered, not the Condition, in the midst of which Ctrl-C may come.
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._worker = Worker(self._run, "kvstore-leases", daemon=False)
        self._closed = False

    def add(self, lease: HeldLease) -> None:
        """Keep `lease` alive from now on, until it is left or lost."""
        with self._lock:
            self._schedule.add(lease, self._clock())
            if not self._closed and not self._worker.runs:
                self._worker.start()
            self._wake.notify_all()

    def close(self) -> None:
        """End the thread; leases still held are no longer kept alive."""
        with self._lock:
            self._closed = True
            self._wake.notify_all()
        self._worker.join()

    def _run(self) -> None:
        while self._renew_due():
            pass

    def _renew_due(self) -> bool:
        """False: the thread has to end."""
        due = self._wait_for_due()
        for lease in due:
            self._renew(lease)
        return bool(due)

    def _wait_for_due(self) -> list[HeldLease]:
        """The next leases to renew; none when the thread has to end."""
        with self._lock:
            while not self._closed and threading.main_thread().is_alive():
                if due := self._schedule.take_due(self._clock()):
                    return due
                if (at := self._schedule.next_due()) is None:
                    break
                self._wake.wait(max(0.0, at - self._clock()))
            self._worker.leave()
            return []

    def _renew(self, lease: HeldLease) -> None:
        try:
            lease.renewed(self._store.lease_keep_alive(lease.id))
        except StoreError as error:
            lease.failed(error)
        with self._lock:
            self._schedule.add(lease, self._clock())


class HeldLease(_Held):
    """A lease as a context manager; what `Store.lease` answers.

    Entering grants it, leaving revokes it with every key attached to it. `lost` turns true when
    the store had ended it before, found out at the next renewal (within a third of the TTL).
    When the store was closed inside the block, the lease lives on for its TTL once it is reopened.
    """

    def __init__(
        self, live: Callable[[], StoreProtocol], keeper: Keeper, ttl_s: int, lease_id: int
    ) -> None:
        super().__init__(live, ttl_s, lease_id)
        self._live, self._keeper = live, keeper

    def __enter__(self) -> HeldLease:
        """Raises LeaseExists, LeaseTtlTooLarge, StoreClosed."""
        try:
            self._enter(self._live().lease_grant(self._wanted_ttl_s, self._wanted_id))
            self._keeper.add(self)
            return self
        except BaseException:
            self._left = True  # nobody will leave it: it ends with its TTL
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left = True
        try:
            self._live().lease_revoke(self.id)
        except LeaseNotFound:
            self._lost = True
        except StoreClosed:
            return  # closed, or a forked child is leaving the block: the lease is not ours to end


class AsyncKeeper:
    """As Keeper, in a task of the running loop."""

    def __init__(
        self, store: AsyncStoreProtocol, clock: Callable[[], float] = time.monotonic
    ) -> None:
        import asyncio  # here, so that blocking use of the package does not load it

        self._store, self._clock = store, clock
        self._schedule: Schedule[AsyncHeldLease] = Schedule()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, lease: AsyncHeldLease) -> None:
        import asyncio

        self._schedule.add(lease, self._clock())
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="kvstore-leases")
        self._wake.set()

    async def close(self) -> None:
        """End the task; leases still held are no longer kept alive."""
        import asyncio

        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while True:
            await self._renew_due()
            await self._sleep()

    async def _renew_due(self) -> None:
        for lease in self._schedule.take_due(self._clock()):
            await self._renew(lease)

    async def _sleep(self) -> None:
        """Until the next renewal is due or a lease was added."""
        import asyncio

        at = self._schedule.next_due()
        self._wake.clear()
        try:
            async with asyncio.timeout(None if at is None else max(0.0, at - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _renew(self, lease: AsyncHeldLease) -> None:
        try:
            lease.renewed(await self._store.lease_keep_alive(lease.id))
        except StoreError as error:
            lease.failed(error)
        self._schedule.add(lease, self._clock())


class AsyncHeldLease(_Held):
    """As HeldLease, for `async with`."""

    def __init__(
        self,
        live: Callable[[], AsyncStoreProtocol],
        keeper: AsyncKeeper,
        ttl_s: int,
        lease_id: int,
    ) -> None:
        super().__init__(live, ttl_s, lease_id)
        self._live, self._keeper = live, keeper

    async def __aenter__(self) -> AsyncHeldLease:
        """As HeldLease.__enter__."""
        try:
            self._enter(await self._live().lease_grant(self._wanted_ttl_s, self._wanted_id))
            self._keeper.add(self)
            return self
        except BaseException:
            self._left = True
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left = True
        try:
            await self._live().lease_revoke(self.id)
        except LeaseNotFound:
            self._lost = True
        except StoreClosed:
            return  # as in HeldLease
