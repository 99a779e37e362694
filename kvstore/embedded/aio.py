"""AsyncStore: the embedded API on an event loop, with the names and the semantics of Store.

What waits is awaited; what only builds or looks (`range`, `watch`, `lease`, `at`, `if_`, `stats`)
is called plainly, as there. The docstrings of Store tell the arguments and errors of both.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from types import TracebackType

from kvstore.backend import open_backend
from kvstore.embedded import ops, plans
from kvstore.embedded.arguments import check_flag, int64
from kvstore.embedded.base import Durability, Handle, fsync_of, options_of, path_of
from kvstore.embedded.leases import AsyncHeldLease, AsyncKeeper
from kvstore.embedded.ops import Key, LeaseLike, Value
from kvstore.embedded.plans import Plan, Swap, T, TxnBuilder
from kvstore.embedded.ranges import AsyncRange
from kvstore.embedded.replay import Replay, replay_async
from kvstore.embedded.watch import AsyncWatch, Batch
from kvstore.errors import Conflict
from kvstore.store.aio import LoopStore
from kvstore.store.options import StoreOptions
from kvstore.types import (
    CompactResult,
    Compare,
    DeleteRangeResult,
    Event,
    KeyValue,
    Lease,
    LeaseStatus,
    Op,
    PutResult,
    RangeOp,
    RangeResult,
    TxnResult,
)

__all__ = ["AsyncStore", "AsyncView", "Opening", "aopen"]


def aopen(
    path: str | bytes | os.PathLike[str],
    *,
    durability: Durability = "power-loss",
    options: StoreOptions | None = None,
) -> Opening:
    """As `open`, on the running loop: `async with aopen(path)`, or `db = await aopen(path)`."""
    return Opening(path_of(path), durability, options_of(options))


class Opening:
    """A store about to be opened: await it, or enter it and have it closed at the end."""

    def __init__(self, path: str, durability: Durability, options: StoreOptions) -> None:
        self._path, self._durability, self._options = path, durability, options
        self._store: AsyncStore | None = None

    def __await__(self) -> Generator[object, None, AsyncStore]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncStore:
        self._store = await self._open()
        return self._store

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._store is not None:
            await self._store.close()

    async def _open(self) -> AsyncStore:
        backend = open_backend(self._path, fsync=fsync_of(self._path, self._durability))
        try:
            shell = await LoopStore.open(backend, options=self._options)
        except BaseException:
            backend.close()
            raise
        return AsyncStore(shell, self._path)


class AsyncStore(Handle[LoopStore]):
    """A versioned key-value store for one event loop. Made by `kvstore.aopen`; see Store."""

    __slots__ = ("_closing", "_keeper")

    def __init__(self, shell: LoopStore, path: str) -> None:
        super().__init__(shell, path)
        self._keeper = AsyncKeeper(shell)

    # --- reading

    async def get(self, key: Key, revision: int = 0) -> KeyValue | None:
        """As Store.get."""
        if type(revision) is not int or revision:
            revision = int64(revision, "revision", 0)
        return self._live().get(ops.single_key(key), revision)

    def range(
        self,
        key: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        from_: Key | None = None,
        revision: int = 0,
        limit: int = 0,
        reverse: bool = False,
        keys_only: bool = False,
    ) -> AsyncRange:
        """As Store.range; iterate the answer with `async for`."""
        op = ops.range(
            key,
            end,
            prefix=prefix,
            from_=from_,
            revision=int64(revision, "revision", 0) or self.revision,
            limit=limit,
            reverse=reverse,
            keys_only=keys_only,
        )
        return AsyncRange(self._read, op)

    def at(self, revision: int) -> AsyncView:
        """As Store.at."""
        return AsyncView(self, revision)

    def history(self, key: Key, since: int = 0) -> AsyncIterator[Event]:
        """As Store.history, for `async for`."""
        shell, raw = self._live(), ops.single_key(key)
        kept = plans.kept_since(shell.compact_revision, since)
        plan = Replay(ops.selection(raw), kept.since, 0, shell.revision)
        return self._history(raw, kept.survivor_revision, plan)

    def changes(
        self, since: int, until: int = 0, *, prefix: Key | None = None, prev_kv: bool = False
    ) -> AsyncIterator[Batch]:
        """As Store.changes, for `async for`."""
        keys = ops.selection(prefix=prefix)
        plan = Replay(keys, since, until, self.revision, prev_kv=prev_kv)
        return self._replay(plan)

    # --- writing

    async def put(
        self,
        key: Key,
        value: Value,
        *,
        lease: LeaseLike = 0,
        if_absent: bool = False,
        if_revision: int | None = None,
        prev_kv: bool = False,
    ) -> PutResult:
        """As Store.put."""
        if if_absent is False and if_revision is None and prev_kv is False:
            return PutResult(await self._live().put_durably(*ops.plain_put(key, value, lease)))
        return await self._run(
            plans.put(
                key,
                value,
                lease=lease,
                if_absent=if_absent,
                if_revision=if_revision,
                prev_kv=prev_kv,
            )
        )

    async def delete(
        self,
        key: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        from_: Key | None = None,
        if_revision: int | None = None,
        prev_kv: bool = False,
    ) -> DeleteRangeResult:
        """As Store.delete."""
        return await self._run(
            plans.delete(
                key, end, prefix=prefix, from_=from_, if_revision=if_revision, prev_kv=prev_kv
            )
        )

    async def compare_and_swap(
        self, key: Key, value: Value, revision: int, *, lease: LeaseLike = 0
    ) -> Swap:
        """As Store.compare_and_swap."""
        return await self._run(plans.swap(key, value, revision, lease=lease))

    async def update(
        self,
        key: Key,
        fn: Callable[[bytes | None], Value | None],
        retries: int = plans.UPDATE_RETRIES,
    ) -> KeyValue | None:
        """As Store.update; `fn` is a plain function."""
        retries = int64(retries, "retries", 0)
        while True:
            try:
                return await self._run(plans.update(key, await self.get(key), fn))
            except Conflict:
                if retries <= 0:
                    raise
                retries -= 1

    async def txn(
        self,
        compares: Sequence[Compare] = (),
        success: Sequence[Op] = (),
        failure: Sequence[Op] = (),
    ) -> TxnResult:
        """As Store.txn."""
        return await self._live().txn(ops.txn(compares, success, failure))

    def if_(self, *compares: Compare) -> TxnBuilder[Awaitable[TxnResult]]:
        """As Store.if_; await the `commit()`."""
        return TxnBuilder[Awaitable[TxnResult]](
            lambda txn: self._live().txn(txn), ops.txn(compares)
        )

    async def compact(self, revision: int, *, physical: bool = False) -> CompactResult:
        """As Store.compact."""
        return await self._live().compact(
            plans.mark(revision, physical=physical), physical=physical
        )

    # --- watching

    def watch(
        self,
        key: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        from_: Key | None = None,
        since: int = 0,
        prev_kv: bool = False,
    ) -> AsyncWatch:
        """As Store.watch, for `async with` and `async for`."""
        keys = ops.selection(key, end, prefix=prefix, from_=from_)
        request = plans.watch(keys, since, self.revision, prev_kv=prev_kv)
        return AsyncWatch(self._live().watch_stream, request, self._live)

    # --- leases

    def lease(self, ttl_s: int, lease_id: int = 0) -> AsyncHeldLease:
        """As Store.lease, for `async with`."""
        self._live()
        return AsyncHeldLease(self._live, self._keeper, ttl_s, lease_id)

    async def leases(self) -> list[int]:
        """As Store.leases."""
        return await self._live().lease_leases()

    async def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        """As Store.lease_grant."""
        return await self._live().lease_grant(*plans.grant(ttl_s, lease_id))

    async def lease_revoke(self, lease: LeaseLike) -> int:
        """As Store.lease_revoke."""
        return await self._live().lease_revoke(ops.lease_id(lease))

    async def lease_keep_alive(self, lease: LeaseLike) -> Lease:
        """As Store.lease_keep_alive."""
        return await self._live().lease_keep_alive(ops.lease_id(lease))

    async def lease_time_to_live(self, lease: LeaseLike, *, keys: bool = False) -> LeaseStatus:
        """As Store.lease_time_to_live."""
        check_flag(keys, "keys")
        return await self._live().lease_time_to_live(ops.lease_id(lease), keys=keys)

    # --- life

    async def close(self) -> None:
        """As Store.close; canceled, it closes all the same."""
        if self._is_foreign:
            return
        if not self._closed:
            self._closed = True
            self._closing = asyncio.ensure_future(self._end())
        await asyncio.shield(self._closing)

    async def _end(self) -> None:
        await self._keeper.close()
        await self._shell.close()

    async def __aenter__(self) -> AsyncStore:
        self._live()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- helpers

    async def _run(self, plan: Plan[T]) -> T:
        return plan.finish(await self._live().txn(plan.txn))

    async def _read(self, op: RangeOp) -> RangeResult:
        return await self._live().range(op)

    async def _replay(self, plan: Replay) -> AsyncIterator[Batch]:
        async for batch in replay_async(self._live().watch_stream(), plan):
            yield batch

    async def _history(
        self, key: bytes, survivor_revision: int, plan: Replay
    ) -> AsyncIterator[Event]:
        if survivor_revision and (kv := await self.get(key, survivor_revision)):
            yield plans.survivor(kv)
        async for batch in self._replay(plan):
            for event in batch.events:
                yield event


class AsyncView:
    """As View."""

    __slots__ = ("_store", "revision")

    def __init__(self, store: AsyncStore, revision: int) -> None:
        self._store = store
        self.revision = plans.past(revision, store.revision)

    def __repr__(self) -> str:
        return f"<AsyncView of {self._store!r} at revision {self.revision}>"

    async def get(self, key: Key) -> KeyValue | None:
        """As Store.get."""
        return await self._store.get(key, self.revision)

    def range(
        self,
        key: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        from_: Key | None = None,
        limit: int = 0,
        reverse: bool = False,
        keys_only: bool = False,
    ) -> AsyncRange:
        """As Store.range."""
        return self._store.range(
            key,
            end,
            prefix=prefix,
            from_=from_,
            revision=self.revision,
            limit=limit,
            reverse=reverse,
            keys_only=keys_only,
        )
