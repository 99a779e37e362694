"""Store: the embedded API for threads. AsyncStore has the same names and semantics, awaited."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from kvstore.backend import open_backend
from kvstore.embedded import ops, plans
from kvstore.embedded.arguments import check_flag, int64
from kvstore.embedded.base import Durability, Handle, fsync_of, options_of, path_of
from kvstore.embedded.leases import HeldLease, Keeper
from kvstore.embedded.ops import Key, LeaseLike, Value
from kvstore.embedded.plans import Plan, Swap, T, TxnBuilder
from kvstore.embedded.ranges import Range
from kvstore.embedded.replay import Replay, replay
from kvstore.embedded.watch import Batch, Watch
from kvstore.errors import Conflict
from kvstore.store.options import StoreOptions
from kvstore.store.threads import ThreadStore
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

__all__ = ["Store", "View", "open"]


def open(
    path: str | bytes | os.PathLike[str],
    *,
    durability: Durability = "power-loss",
    options: StoreOptions | None = None,
) -> Store:
    """Open a store, creating it when there is none; close it, best with `with`.

    Args:
        path: its directory, or ":memory:" for one in RAM.
        durability: what an acknowledged write survives. "power-loss": every write waits for the
            disk. "process-crash": it does not, and a power loss can take back the last ones.
        options: limits and clock; the defaults are etcd's.

    Raises:
        DirectoryLocked: it is open already, in this process or another.
        CorruptStore: what is on disk breaks an invariant.
        OpenError: it cannot be opened for another reason.
        InvalidRequest: an empty path, an unknown durability.
        TypeError: an argument of another type.
    """
    text, options = path_of(path), options_of(options)
    backend = open_backend(text, fsync=fsync_of(text, durability))
    try:
        shell = ThreadStore.open(backend, options=options)
    except BaseException:
        backend.close()
        raise
    return Store(shell, text)


class Store(Handle[ThreadStore]):
    """A versioned key-value store. Made by `kvstore.open`; safe to use from many threads.

    Keys and values are bytes or text (UTF-8); answers are bytes. A write that returned is durable.
    An argument of a wrong type is a TypeError, a number out of range an InvalidRequest, before
    anything is written. Every method raises StoreClosed after `close` and in a process forked after
    `open`; every write raises StoreFailed once the outcome of a commit is unknown.
    """

    __slots__ = ("_keeper",)

    def __init__(self, shell: ThreadStore, path: str) -> None:
        super().__init__(shell, path)
        self._keeper = Keeper(shell)

    # --- reading

    def get(self, key: Key, revision: int = 0) -> KeyValue | None:
        """Read one key.

        Args:
            key: the key, not empty.
            revision: read the past; 0: the newest state.

        Returns:
            The key as it was, None when it did not exist.

        Raises:
            KeyNotProvided: the key is empty.
            Compacted: the revision was compacted.
            FutureRevision: the revision does not exist yet.
        """
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
    ) -> Range:
        """One key, the keys of [key, end), those with a prefix or (nothing named) all, in order.

        Args:
            key: this key alone; with `end` the first one of several.
            end: first key not included.
            prefix: instead of both: all keys that begin with it.
            from_: instead of `key`: all keys from this one on, up to `end` if that is given.
            revision: read the past; 0: the newest state, fixed now.
            limit: at most this many keys; 0: all.
            reverse: from the last key to the first.
            keys_only: leave the values out.

        Returns:
            A lazy Range: iterate it as often as you like, or ask its `count()` or `first()`.
            Reading it raises Compacted or FutureRevision.

        Raises:
            InvalidRequest: `prefix` together with another, a negative number.
            KeyNotProvided: the key is empty.
            TypeError: an argument of another type.
        """
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
        return Range(self._read, op)

    def at(self, revision: int) -> View:
        """The store as it was at `revision`, read-only. Not protected from a compaction."""
        return View(self, revision)

    def history(self, key: Key, since: int = 0) -> Iterator[Event]:
        """Every change of one key, oldest first, up to now.

        Args:
            key: the key, not empty.
            since: first revision; 0: all that is kept, beginning with the version that the last
                compaction left, if there was one.

        Raises:
            KeyNotProvided: the key is empty.
            Compacted: while iterating, `since` is not 0 and was compacted.
        """
        shell, raw = self._live(), ops.single_key(key)
        kept = plans.kept_since(shell.compact_revision, since)
        plan = Replay(ops.selection(raw), kept.since, 0, shell.revision)
        return self._history(raw, kept.survivor_revision, plan)

    def changes(
        self, since: int, until: int = 0, *, prefix: Key | None = None, prev_kv: bool = False
    ) -> Iterator[Batch]:
        """Every change between two revisions, both included, one Batch per revision.

        Args:
            since: first revision, from 1.
            until: last revision; 0: the newest, fixed now.
            prefix: only keys that begin with it.
            prev_kv: with each event, the key as it was before.

        Raises:
            InvalidRequest: `since` is below 1.
            FutureRevision: `until` does not exist yet.
            Compacted: while iterating, history since `since` was compacted.
        """
        keys = ops.selection(prefix=prefix)
        plan = Replay(keys, since, until, self.revision, prev_kv=prev_kv)
        return self._replay(plan)

    # --- writing

    def put(
        self,
        key: Key,
        value: Value,
        *,
        lease: LeaseLike = 0,
        if_absent: bool = False,
        if_revision: int | None = None,
        prev_kv: bool = False,
    ) -> PutResult:
        """Set a key.

        Args:
            key: the key, not empty.
            value: what it shall be.
            lease: the lease it lives with, or its id; 0: none.
            if_absent: only when it does not exist.
            if_revision: only when its last change was at this revision (0: it does not exist).
            prev_kv: answer with the key as it was before.

        Returns:
            The revision of the write, and `prev_kv` when asked for.

        Raises:
            Conflict: the guard did not hold; `actual` is the revision found.
            KeyNotProvided: the key is empty.
            LeaseNotFound: there is no such lease.
            TypeError: the key or the value is neither bytes nor text, or another slip of types.
            NoSpace, WriteRefused, TooManyRequests: a limit is reached; nothing was written.
        """
        if if_absent is False and if_revision is None and prev_kv is False:
            return PutResult(self._live().put(*ops.plain_put(key, value, lease)))
        return self._run(
            plans.put(
                key,
                value,
                lease=lease,
                if_absent=if_absent,
                if_revision=if_revision,
                prev_kv=prev_kv,
            )
        )

    def delete(
        self,
        key: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        from_: Key | None = None,
        if_revision: int | None = None,
        prev_kv: bool = False,
    ) -> DeleteRangeResult:
        """Delete a key, the keys of [key, end), or those with a prefix, in one revision.

        Args:
            key: this key alone; with `end` the first one of several.
            end: first key not deleted.
            prefix: instead of both; "" deletes everything.
            from_: instead of `key`: all keys from this one on, up to `end` if that is given.
            if_revision: one key, only when its last change was at this revision.
            prev_kv: answer with the keys as they were before.

        Returns:
            The revision, how many were deleted, and `prev_kvs` when asked for. When there was
            nothing to delete the revision does not move.

        Raises:
            Conflict: the guard did not hold; `actual` is the revision found.
            InvalidRequest: nothing named, `prefix` together with another, a guarded interval.
            KeyNotProvided: the key is empty.
        """
        return self._run(
            plans.delete(
                key, end, prefix=prefix, from_=from_, if_revision=if_revision, prev_kv=prev_kv
            )
        )

    def compare_and_swap(
        self, key: Key, value: Value, revision: int, *, lease: LeaseLike = 0
    ) -> Swap:
        """Set a key if its last change was at `revision` (0: it does not exist).

        Returns:
            A Swap: true when it was set; else `actual` is the key as it was found.

        Raises: as `put`, without Conflict.
        """
        return self._run(plans.swap(key, value, revision, lease=lease))

    def update(
        self,
        key: Key,
        fn: Callable[[bytes | None], Value | None],
        retries: int = plans.UPDATE_RETRIES,
    ) -> KeyValue | None:
        """Change a key by a function of its value, again when another writer came between.

        Args:
            key: the key, not empty. It keeps its lease.
            fn: from the value (None: there is none) to the new one (None: delete). Called once
                per try, so it must not have effects of its own.
            retries: how often to try again.

        Returns:
            The key as it was written; None when it was deleted.

        Raises:
            Conflict: another writer came between every time.
            Others as `put`, and whatever `fn` raises.
        """
        retries = int64(retries, "retries", 0)
        while True:
            try:
                return self._run(plans.update(key, self.get(key), fn))
            except Conflict:
                if retries <= 0:
                    raise
                retries -= 1

    def txn(
        self,
        compares: Sequence[Compare] = (),
        success: Sequence[Op] = (),
        failure: Sequence[Op] = (),
    ) -> TxnResult:
        """If all conditions hold run `success`, else `failure`: one snapshot, one revision.

        Args:
            compares: from kvstore's conditions, `mod("k") == 3`, `absent("k")`, …
            success, failure: operations from `kvstore.ops`, `ops.put("k", "v")`, …

        Returns:
            Which branch ran, and one response for each of its operations.

        Raises:
            TooManyOperations: more than the store's max_txn_ops in one branch or the compares.
            DuplicateKey: a branch writes one key twice.
            Others as `put` and `get`.
        """
        return self._live().txn(ops.txn(compares, success, failure))

    def if_(self, *compares: Compare) -> TxnBuilder[TxnResult]:
        """Begin a transaction: `db.if_(absent("k")).then(ops.put("k", "v")).else_(…).commit()`."""
        return TxnBuilder(lambda txn: self._live().txn(txn), ops.txn(compares))

    def compact(self, revision: int, *, physical: bool = False) -> CompactResult:
        """Forget what was superseded before `revision`; the state at it stays readable.

        Args:
            revision: 1 to the newest.
            physical: wait until it is gone from the disk.

        Raises:
            Compacted: that was done already.
            FutureRevision: the revision does not exist yet.
        """
        return self._live().compact(plans.mark(revision, physical=physical), physical=physical)

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
    ) -> Watch:
        """Follow the changes of a key, of [key, end), of a prefix or (nothing named) of all keys.

        Args:
            key, end, prefix, from_: what to watch, as for `range`.
            since: first revision, also a past one; 0: the next one. To go on where an earlier
                watch ended: its `revision + 1`.
            prev_kv: with each event, the key as it was before.

        Returns:
            A Watch: iterate it, or call `next(timeout)`. Close it, best with `with`.

        Raises:
            InvalidRequest: `prefix` together with another, a negative `since`.
            KeyNotProvided: the key is empty.
            WatchCanceled: while iterating, the history it needs was compacted, or [key, end)
                holds nothing.
        """
        keys = ops.selection(key, end, prefix=prefix, from_=from_)
        request = plans.watch(keys, since, self.revision, prev_kv=prev_kv)
        return Watch(self._live().watch_stream, request, self._live)

    # --- leases

    def lease(self, ttl_s: int, lease_id: int = 0) -> HeldLease:
        """A lease for a `with` block: granted at its begin, kept alive in it, revoked at its end.

        Args:
            ttl_s: seconds, 1 or more; the store may raise it to its smallest.
            lease_id: its id; 0: the store picks one.

        Raises:
            InvalidRequest: `ttl_s` is below 1.
            LeaseExists, LeaseTtlTooLarge: on entering.
        """
        self._live()
        return HeldLease(self._live, self._keeper, ttl_s, lease_id)

    def leases(self) -> list[int]:
        """The ids of all leases, the soonest to expire first."""
        return self._live().lease_leases()

    def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        """Grant a lease that nothing keeps alive. Raises LeaseExists, LeaseTtlTooLarge."""
        return self._live().lease_grant(*plans.grant(ttl_s, lease_id))

    def lease_revoke(self, lease: LeaseLike) -> int:
        """End a lease and delete its keys in one revision, the answer. Raises LeaseNotFound."""
        return self._live().lease_revoke(ops.lease_id(lease))

    def lease_keep_alive(self, lease: LeaseLike) -> Lease:
        """Start the TTL again; `ttl_s` 0 in the answer: there is no such lease."""
        return self._live().lease_keep_alive(ops.lease_id(lease))

    def lease_time_to_live(self, lease: LeaseLike, *, keys: bool = False) -> LeaseStatus:
        """Seconds left (-1: no such lease), the TTL granted and, if asked for, the keys."""
        check_flag(keys, "keys")
        return self._live().lease_time_to_live(ops.lease_id(lease), keys=keys)

    # --- life

    def close(self) -> None:
        """Wait for what was begun, end every watch and close the files; again: nothing.

        An exception that a signal handler raises meanwhile comes out when all is closed. In a
        process forked after `open` this does nothing: the store is the parent's.
        """
        if self._is_foreign:
            return
        self._shell.check_not_nested()
        self._closed = True
        self._shell.close(self._keeper.close)

    def __enter__(self) -> Store:
        self._live()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- helpers

    def _run(self, plan: Plan[T]) -> T:
        return plan.finish(self._live().txn(plan.txn))

    def _read(self, op: RangeOp) -> RangeResult:
        return self._live().range(op)

    def _replay(self, plan: Replay) -> Iterator[Batch]:
        yield from replay(self._live().watch_stream(), plan)

    def _history(self, key: bytes, survivor_revision: int, plan: Replay) -> Iterator[Event]:
        if survivor_revision and (kv := self.get(key, survivor_revision)):
            yield plans.survivor(kv)
        for batch in self._replay(plan):
            yield from batch.events


class View:
    """A store at one revision, read-only; from `Store.at`."""

    __slots__ = ("_store", "revision")

    def __init__(self, store: Store, revision: int) -> None:
        self._store = store
        self.revision = plans.past(revision, store.revision)

    def __repr__(self) -> str:
        return f"<View of {self._store!r} at revision {self.revision}>"

    def get(self, key: Key) -> KeyValue | None:
        """As Store.get."""
        return self._store.get(key, self.revision)

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
    ) -> Range:
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
