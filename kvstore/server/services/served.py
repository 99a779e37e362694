"""What services ask of the store above the asynchronous interface, and of the process around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from kvstore import limits
from kvstore.store.interface import AsyncStoreProtocol, Waiter
from kvstore.types import (
    KeyValue,
    RangeOp,
    RangeResult,
    StoreStatus,
    Txn,
    TxnResult,
    WatchCreate,
    WatchMessage,
)

__all__ = ["PolledWatchStream", "ServedStore", "Settings"]

W = TypeVar("W", bound=Waiter)


class PolledWatchStream(Protocol):
    """A watch stream that nobody waits for (kvstore.core.watch.stream)."""

    @property
    def has_work(self) -> bool: ...
    def create(self, request: WatchCreate) -> None: ...
    def cancel(self, watch_id: int) -> None: ...
    def request_progress(self) -> None: ...
    @property
    def room(self) -> int:
        """How many more answers it takes; what is asked beyond is its memory."""
        ...

    def poll(self) -> WatchMessage | None:
        """The next message; None for none now. Raises StoreClosed."""
        ...

    @property
    def is_spent(self) -> bool:
        """Did the last poll do a turn's work?"""
        ...

    def close(self) -> None: ...


class ServedStore(AsyncStoreProtocol, Protocol):
    """A store in the same process and on the same loop: what can be answered at once, is."""

    @property
    def revision(self) -> int:
        """The newest durable revision."""
        ...

    def decide(self, txn: Txn, waiter: W, at_once: Callable[[TxnResult], None] | None = None) -> W:
        """Decide at once; the waiter, a future or alike, is done when the result is durable.

        Returns it. `at_once` sees the result at once, which must not leave the process before that.
        Raises as `txn` does.
        """
        ...

    def put(self, key: bytes, value: bytes, lease_id: int, waiter: W) -> W:
        """As `decide` of a Txn with this put alone; the result is its revision."""
        ...

    def record(self, key: bytes) -> bytes | None:
        """The stored record of a key at the durable revision (kvstore.core.mvcc.record)."""
        ...

    def watch_session(
        self, on_ready: Callable[[], None], hold: Callable[[int], bool]
    ) -> PolledWatchStream:
        """As `watch_stream`, to be polled when `on_ready` is called.

        `hold` is asked for the bytes of each watcher, and refuses it with False.
        """
        ...

    def is_small(self, op: RangeOp) -> bool:
        """Would `range_now` answer without holding up others?"""
        ...

    def range_now(self, op: RangeOp) -> RangeResult: ...

    async def range_in_parts(
        self,
        op: RangeOp,
        use: Callable[[Sequence[KeyValue]], bytes],
        turn: Callable[[], Awaitable[None]],
    ) -> tuple[RangeResult, list[bytes]]:
        """As `range`, what `use` makes of each slice; the result has no kvs of its own.

        `turn` is awaited after each.
        """
        ...

    def lease_keep_alive_now(self, lease_id: int) -> int:
        """As `lease_keep_alive`, at once: the TTL in seconds, or 0 when that has to wait."""
        ...

    def status(self) -> StoreStatus: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client may ask of the member, and the bounds of requests."""

    name: str = "default"
    peer_urls: Sequence[str] = ()
    client_urls: Sequence[str] = ()
    max_request_bytes: int = limits.MAX_REQUEST_BYTES
    max_txn_ops: int = limits.MAX_TXN_OPS
    quota_backend_bytes: int = 2 * 1024**3

    @property
    def max_message_bytes(self) -> int:
        """The largest message a transport takes; also the size at which fragmenting begins."""
        return self.max_request_bytes + limits.REQUEST_OVERHEAD_BYTES
