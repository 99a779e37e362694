"""The semantics of a store, as a blocking and as an asynchronous interface.

Everything that offers a store (the two shells over the engine, the gRPC client) implements one of
these, and one conformance suite runs against them all. Every call answers from one snapshot of
durable state: nothing that a crash could take back is ever returned.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from kvstore.types import (
    CompactResult,
    Lease,
    LeaseStatus,
    RangeOp,
    RangeResult,
    Txn,
    TxnResult,
    WatchCreate,
    WatchMessage,
)

__all__ = [
    "AsyncStoreProtocol",
    "AsyncWatchStream",
    "StoreProtocol",
    "Waiter",
    "WatchStreamProtocol",
]


class Waiter(Protocol):
    """Who waits for a result to be durable: a future of asyncio, or what is cheaper."""

    def done(self) -> bool:
        """True: the result is not wanted any more."""
        ...

    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: Exception, /) -> None: ...


class WatchStreamProtocol(Protocol):
    """Many watchers, one ordered queue of messages."""

    def create(self, request: WatchCreate) -> None:
        """Queue the created (or refused) answer; events follow it."""
        ...

    def cancel(self, watch_id: int) -> None:
        """Queue the canceled answer, after which no event of that id comes; unknown: nothing."""
        ...

    def request_progress(self) -> None:
        """Queue a progress message with id -1 if every watcher is synced; else nothing."""
        ...

    def next(self, timeout_s: float | None = None) -> WatchMessage | None:
        """The next message, waiting for it; None after `timeout_s` seconds without one.

        Raises StoreClosed when the store or the stream was closed.
        """
        ...

    def close(self) -> None: ...


class StoreProtocol(Protocol):
    """The blocking interface. Safe to call from many threads."""

    def range(self, op: RangeOp) -> RangeResult:
        """Raises KeyNotProvided, InvalidSortOption, Compacted, FutureRevision."""
        ...

    def range_stream(self, op: RangeOp) -> Iterator[RangeResult]:
        """The same in chunks, all at one revision; the last has revision, more and count.

        Earlier chunks have revision 0, more False, count 0.
        Raises as `range`, also in the middle when the revision is compacted meanwhile.
        """
        ...

    def txn(self, txn: Txn) -> TxnResult:
        """A put or a delete is a Txn of one op. Durable on return.

        Raises any InvalidRequest, Compacted, FutureRevision, LeaseNotFound, NoSpace,
        TooManyRequests, StoreFailed.
        """
        ...

    def compact(self, revision: int, *, physical: bool = False) -> CompactResult:
        """Forget superseded history below `revision`; physical waits until it is gone from disk.

        Raises Compacted, FutureRevision.
        """
        ...

    def watch_stream(self) -> WatchStreamProtocol: ...

    def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        """`lease_id` 0: the store picks one. Raises LeaseExists, LeaseTtlTooLarge."""
        ...

    def lease_revoke(self, lease_id: int) -> int:
        """Delete the lease and its keys in one revision; returns the header revision.

        Raises LeaseNotFound.
        """
        ...

    def lease_keep_alive(self, lease_id: int) -> Lease:
        """Start the TTL again; `ttl_s` 0 in the answer: unknown or expired, never an error."""
        ...

    def lease_time_to_live(self, lease_id: int, *, keys: bool = False) -> LeaseStatus: ...

    def lease_leases(self) -> list[int]:
        """Ids of all leases, the soonest to expire first."""
        ...

    def close(self) -> None: ...


class AsyncWatchStream(Protocol):
    """As WatchStreamProtocol; only `next` waits."""

    def create(self, request: WatchCreate) -> None: ...
    def cancel(self, watch_id: int) -> None: ...
    def request_progress(self) -> None: ...
    async def next(self) -> WatchMessage: ...
    def close(self) -> None: ...


class AsyncStoreProtocol(Protocol):
    """The same semantics on an event loop; see StoreProtocol for what each raises."""

    async def range(self, op: RangeOp) -> RangeResult: ...
    def range_stream(self, op: RangeOp) -> AsyncIterator[RangeResult]: ...
    async def txn(self, txn: Txn) -> TxnResult: ...
    async def compact(self, revision: int, *, physical: bool = False) -> CompactResult: ...
    def watch_stream(self) -> AsyncWatchStream: ...
    async def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease: ...
    async def lease_revoke(self, lease_id: int) -> int: ...
    async def lease_keep_alive(self, lease_id: int) -> Lease: ...
    async def lease_time_to_live(self, lease_id: int, *, keys: bool = False) -> LeaseStatus: ...
    async def lease_leases(self) -> list[int]: ...
    async def close(self) -> None: ...
