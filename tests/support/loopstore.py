"""An asynchronous store seen through the blocking interface: its loop runs in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from kvstore.errors import StoreClosed
from kvstore.store.interface import AsyncStoreProtocol, AsyncWatchStream
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

__all__ = ["BlockingLoopStore"]

_T = TypeVar("_T")
_WAIT_S = 60.0


class BlockingLoopStore:
    """StoreProtocol over the AsyncStoreProtocol that `open_store` gives on a loop of its own."""

    def __init__(self, open_store: Callable[[], Awaitable[AsyncStoreProtocol]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loopstore")
        self._thread.start()
        self._closed = False

        async def opened() -> AsyncStoreProtocol:
            return await open_store()

        try:
            self._store = self.wait(opened())
        except BaseException:
            self._stop()
            raise

    def wait(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run it on the loop and wait for what it gives."""
        if self._closed:
            coroutine.close()
            raise StoreClosed
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_WAIT_S)

    def call(self, function: Callable[[], _T]) -> _T:
        """Run a plain function in the loop's thread."""

        async def run() -> _T:
            return function()

        return self.wait(run())

    def range(self, op: RangeOp) -> RangeResult:
        return self.wait(self._store.range(op))

    def range_stream(self, op: RangeOp) -> Iterator[RangeResult]:
        chunks = self.call(lambda: self._store.range_stream(op))

        async def advance() -> RangeResult | None:
            return await anext(chunks, None)

        while (chunk := self.wait(advance())) is not None:
            yield chunk

    def txn(self, txn: Txn) -> TxnResult:
        return self.wait(self._store.txn(txn))

    def compact(self, revision: int, *, physical: bool = False) -> CompactResult:
        return self.wait(self._store.compact(revision, physical=physical))

    def watch_stream(self) -> _BlockingWatchStream:
        return _BlockingWatchStream(self, self.call(self._store.watch_stream))

    def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        return self.wait(self._store.lease_grant(ttl_s, lease_id))

    def lease_revoke(self, lease_id: int) -> int:
        return self.wait(self._store.lease_revoke(lease_id))

    def lease_keep_alive(self, lease_id: int) -> Lease:
        return self.wait(self._store.lease_keep_alive(lease_id))

    def lease_time_to_live(self, lease_id: int, *, keys: bool = False) -> LeaseStatus:
        return self.wait(self._store.lease_time_to_live(lease_id, keys=keys))

    def lease_leases(self) -> list[int]:
        return self.wait(self._store.lease_leases())

    def close(self) -> None:
        if self._closed:
            return
        try:
            self.wait(self._store.close())
        finally:
            self._stop()

    def _stop(self) -> None:
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


class _BlockingWatchStream:
    """One `next` of the inner stream is under way at most; a time limit never cancels it."""

    def __init__(self, store: BlockingLoopStore, stream: AsyncWatchStream) -> None:
        self._store, self._stream = store, stream
        self._pending: asyncio.Future[WatchMessage] | None = None

    def create(self, request: WatchCreate) -> None:
        self._store.call(lambda: self._stream.create(request))

    def cancel(self, watch_id: int) -> None:
        self._store.call(lambda: self._stream.cancel(watch_id))

    def request_progress(self) -> None:
        self._store.call(self._stream.request_progress)

    def next(self, timeout_s: float | None = None) -> WatchMessage | None:
        return self._store.wait(self._next(timeout_s))

    async def _next(self, timeout_s: float | None) -> WatchMessage | None:
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._stream.next())
        done, _ = await asyncio.wait({self._pending}, timeout=timeout_s)
        if not done:
            return None
        message, self._pending = self._pending, None
        return message.result()

    def close(self) -> None:
        self._store.wait(self._close())

    async def _close(self) -> None:
        self._stream.close()
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait({self._pending})
