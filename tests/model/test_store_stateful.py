"""The engine and the stores over it, driven at random beside the model."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from kvstore.backend import MEMORY, open_backend
from kvstore.backend.interface import Backend
from kvstore.backend.memory import MemoryBackend
from kvstore.core.engine import Commit, Decided, Engine
from kvstore.keys import ALL_KEYS
from kvstore.store.checker import check_directory
from kvstore.store.options import StoreOptions
from kvstore.store.reader import SnapshotReader
from kvstore.store.recovery import recover
from kvstore.store.rows import rows_of
from kvstore.store.threads import ThreadStore
from kvstore.types import RangeOp, Txn, WatchMessage
from tests.crash.judge import watched
from tests.model.machine import MIN_TTL_S, StoreMachine, StreamLog, outcome, which
from tests.model.model import Model, ModelLease
from tests.model.strategies import txns

EXAMPLES = int(os.environ.get("KVSTORE_MODEL_EXAMPLES", "300"))


class EngineMachine(StoreMachine):
    """The engine alone: commits, failures of commits and crashes happen when a rule says so.

    Every bound that makes the engine do something else is so low here that it is met all the time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bounds = [
            patch("kvstore.core.watch.stream.WATCH_QUEUE_EVENTS", 3),
            patch("kvstore.core.watch.stream.WATCH_QUEUE_ANSWERS", 4),
            patch("kvstore.core.watch.stream._DUE_AT_ONCE", 1),
            patch("kvstore.core.watch.hub.WATCH_TURN_WATCHERS", 1),
            patch("kvstore.core.watch.hub.CATCH_UP_REVISIONS", 2),
            patch("kvstore.core.watch.delivery._LOOK_UP", 1),
            patch("kvstore.core.engine.CATCH_UP_REVISIONS", 2),
            patch("kvstore.core.engine.CATCH_UP_SCAN_ROWS", 3),
            patch("kvstore.core.engine.CATCH_UP_INDEX_KEYS", 1),
        ]
        for bound in self.bounds:
            bound.start()
        self.backend = MemoryBackend()
        self.pending: list[tuple[int, Model, set[int]]] = []
        """What is not durable: sequence, model, the leases that it granted or revoked."""
        self.in_commit: Commit | None = None
        self.open()

    def open(self) -> None:
        self.decisions = 0  # so that a crash meets a history
        self.reader = SnapshotReader(self.backend)
        self.engine = Engine(
            self.reader, recover(self.backend), now=self.now_s, min_lease_ttl_s=MIN_TTL_S
        )

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            for bound in self.bounds:
                bound.stop()

    # -- requests

    def decided(self, model: Model) -> None:
        touched = self.head.leases.keys() ^ model.leases.keys()
        self.head = model
        self.pending.append((self.engine.sequence, model, touched))
        self.decisions += 1

    def result(self, decided: Decided[Any]) -> Any:
        assert decided.sequence == self.engine.sequence
        return decided.result

    def do_range(self, op: RangeOp) -> Any:
        return self.engine.range(op)

    def do_txn(self, txn: Txn) -> Any:
        return self.result(self.engine.txn(txn))

    def do_compact(self, revision: int) -> Any:
        return self.result(self.engine.compact(revision))

    def do_grant(self, ttl_s: int, lease_id: int) -> Any:
        return self.result(self.engine.lease_grant(ttl_s, lease_id, self.now_s)).ttl_s

    def do_revoke(self, lease_id: int) -> Any:
        return self.result(self.engine.lease_revoke(lease_id))

    def do_keep_alive(self, lease_id: int) -> int:
        return self.engine.lease_keep_alive(lease_id, self.now_s).result

    def do_lease_keys(self, lease_id: int) -> tuple[int, tuple[bytes, ...]]:
        status = self.engine.lease_status(lease_id, self.now_s, keys=True)
        return status.granted_ttl_s, tuple(status.keys)

    def do_leases(self) -> list[int]:
        return self.engine.lessor.by_remaining()

    def do_expire(self, limit: int) -> None:
        """One at a time, to see which of the due ones went."""
        for _ in range(limit):
            due, before = self.head.lease_due(self.now_s), set(self.engine.lessor.by_remaining())
            assert self.engine.expire(self.now_s, 1) == min(len(due), 1)
            if not due:
                return
            (gone,) = before - set(self.engine.lessor.by_remaining())
            assert gone in due
            model = self.head.clone()
            model.lease_revoke(gone)
            self.decided(model)

    @rule(max_keys=st.integers(1, 3))
    def compaction_step(self, max_keys: int) -> None:
        more = self.engine.compaction_step(max_keys)
        assert more == self.engine.is_compacting

    # -- commits

    @precondition(lambda self: self.engine.has_outbox and self.in_commit is None)
    @rule(max_bytes=st.sampled_from((1, 60, 10**6)))
    def begin_commit(self, max_bytes: int) -> None:
        self.in_commit = self.engine.take_commit(max_bytes)

    @precondition(lambda self: self.in_commit is not None)
    @rule()
    def end_commit(self) -> None:
        """It succeeded: rows first, then the snapshot moves, then all may see it."""
        self.write()
        commit, self.in_commit = self.in_commit, None
        assert commit is not None
        self.reader.refresh()
        self.engine.publish(commit.last_sequence)

    @precondition(lambda self: self.engine.has_outbox and self.in_commit is None)
    @rule()
    def commit(self) -> None:
        """All of it at once, as most commits are."""
        while self.engine.has_outbox:
            self.in_commit = self.engine.take_commit()
            self.end_commit()

    def write(self) -> None:
        """Put the rows of the commit under way where a crash cannot take them."""
        assert self.in_commit is not None
        self.backend.commit(rows_of(self.in_commit))
        last = self.in_commit.last_sequence
        for sequence, model, _ in self.pending:
            if sequence <= last:
                self.durable = model
        self.pending = [each for each in self.pending if each[0] > last]

    def settle(self) -> None:
        if self.in_commit is not None:
            self.end_commit()
        self.commit()

    @precondition(lambda self: len(self.pending) >= 2)
    @rule()
    def fail_commit(self) -> None:
        """It failed and wrote nothing: what was decided and is not durable is taken back."""
        self.engine.rollback(self.now_s)
        self.in_commit = None
        touched = set[int]().union(*(leases for _, _, leases in self.pending))
        self.pending.clear()
        kept = self.head.leases
        self.head = self.durable.clone()
        for lease_id, lease in self.head.leases.items():
            is_new = lease_id in touched  # it was revoked, and perhaps granted again
            ends_s = self.now_s + lease.ttl_s if is_new else kept[lease_id].expires_at_s
            self.head.leases[lease_id] = ModelLease(lease.ttl_s, ends_s)

    @precondition(lambda self: self.decisions >= 10)
    @rule(written=st.booleans())
    def crash(self, written: bool) -> None:
        """Only what the backend has is left; a commit under way may be in it or not."""
        if self.in_commit is not None and written:
            self.write()
        self.in_commit = None
        self.pending.clear()
        self.streams.clear()
        self.head = self.durable = self.durable.clone()
        self.head.lease_restart(self.now_s)
        self.open()

    # -- watches

    def new_stream(self) -> Any:
        return self.engine.watch_stream(lambda: None)

    def pull(self, log: StreamLog) -> WatchMessage | None:
        for _ in range(1000):
            if not log.stream.has_work:
                return None
            message = log.stream.poll()
            if message is not None:
                return message  # type: ignore[no-any-return]
        raise AssertionError(f"{log.stream} has work and never does it")

    @rule()
    def tick_progress(self) -> None:
        for log in self.streams:
            log.stream.tick_progress()

    @precondition(lambda self: self.engine.hub.has_work)
    @rule(pieces=st.integers(1, 3))
    def work(self, pieces: int) -> None:
        """One watcher is offered something, or leaves, in each piece."""
        for _ in range(pieces):
            if self.engine.hub.has_work:
                self.engine.hub.work()

    @precondition(lambda self: self.streams)
    @rule(number=which)
    def close_stream(self, number: int) -> None:
        self.streams.pop(number % len(self.streams)).stream.close()

    def drain(self, log: StreamLog) -> None:
        while self.engine.hub.has_work:
            self.engine.hub.work()
        super().drain(log)

    @invariant()
    def is_sound(self) -> None:
        assert self.engine.check() == []
        assert self.engine.head == self.head.revision
        assert self.engine.durable == self.durable.revision


QUICK = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    derandomize="KVSTORE_MODEL_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
class TestEngine:
    def test_the_engine_does_what_the_model_does(self) -> None:
        run_state_machine_as_test(EngineMachine, settings=QUICK)


class StoppedClock:
    """Moves when it is told to."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class ThreadStoreMachine(StoreMachine):
    """The blocking store: what it answered is durable, so closing and reopening loses nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = StoppedClock(self.now_s)
        self.open()

    def new_backend(self) -> Backend:
        """The backend with all that was written before."""
        raise NotImplementedError

    def open(self) -> None:
        # The housekeeper sleeps through every test: time passes, and history goes, by rules only.
        options = StoreOptions(clock=self.clock, min_lease_ttl_s=MIN_TTL_S, compaction_sleep_s=1e6)
        self.store = ThreadStore.open(self.new_backend(), options=options)

    @rule()
    def reopen(self) -> None:
        for log in self.streams:
            self.finish(log)
        self.streams.clear()
        self.store.close()
        self.head.lease_restart(self.now_s)
        self.open()
        assert self.store.revision == self.head.revision
        assert self.store.compact_revision == self.head.compact_revision

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.store.close()

    # -- requests

    def do_range(self, op: RangeOp) -> Any:
        return self.store.range(op)

    def do_txn(self, txn: Txn) -> Any:
        return self.store.txn(txn)

    def do_compact(self, revision: int) -> Any:
        return self.store.compact(revision, physical=revision % 2 == 0).revision

    def do_grant(self, ttl_s: int, lease_id: int) -> Any:
        return self.store.lease_grant(ttl_s, lease_id).ttl_s

    def do_revoke(self, lease_id: int) -> Any:
        return self.store.lease_revoke(lease_id)

    def do_keep_alive(self, lease_id: int) -> int:
        return self.store.lease_keep_alive(lease_id).ttl_s

    def do_lease_keys(self, lease_id: int) -> tuple[int, tuple[bytes, ...]]:
        status = self.store.lease_time_to_live(lease_id, keys=True)
        return status.granted_ttl_s, tuple(status.keys)

    def do_leases(self) -> list[int]:
        return self.store.lease_leases()

    def do_expire(self, limit: int) -> None:
        """The housekeeper may be first; the model learns the order from the events."""
        start = self.head.revision + 1
        self.clock.now_s = self.now_s
        self.store.expire_due()
        due = self.head.lease_due(self.now_s)
        assert sorted(self.store.lease_leases()) == sorted(set(self.head.leases) - set(due))
        held = {tuple(self.head.lease_keys(lease_id)): lease_id for lease_id in due}
        model = self.head.clone()
        for event in watched(self.store, start, self.store.revision):
            keys = next((keys for keys in held if event.kv.key in keys), None)
            if keys is not None:
                model.lease_revoke(held.pop(keys))
        for lease_id in set(due) & set(model.leases):
            model.lease_revoke(lease_id)
        self.decided(model)

    # -- watches

    def new_stream(self) -> Any:
        return self.store.watch_stream()

    def pull(self, log: StreamLog) -> WatchMessage | None:
        return log.stream.next(0)  # type: ignore[no-any-return]

    @rule(several=st.lists(txns(), min_size=1, max_size=3))
    def streamed_read(self, several: list[Txn]) -> None:
        """What comes between two chunks of a streamed range is not in it."""
        expected = outcome(lambda: self.durable.range(RangeOp(ALL_KEYS)))
        chunks = self.store.range_stream(RangeOp(ALL_KEYS))
        first = next(chunks)
        for txn in several:
            self.txn(txn)
        parts = [first, *chunks]
        got = parts[-1]._replace(kvs=tuple(kv for part in parts for kv in part.kvs))
        assert got == expected


class MemoryStoreMachine(ThreadStoreMachine):
    def new_backend(self) -> Backend:
        if not hasattr(self, "backend"):
            self.backend = open_backend(MEMORY)
        return self.backend


class LmdbStoreMachine(ThreadStoreMachine):
    def new_backend(self) -> Backend:
        if not hasattr(self, "directory"):
            self.directory = tempfile.mkdtemp(prefix="kvstore-model-")
        return open_backend(self.directory, fsync=False)

    def teardown(self) -> None:
        try:
            super().teardown()
            assert check_directory(self.directory) == []
        finally:
            shutil.rmtree(self.directory)


@pytest.mark.slow
class TestThreadStore:
    def test_on_memory_it_does_what_the_model_does(self) -> None:
        run_state_machine_as_test(MemoryStoreMachine, settings=QUICK)

    def test_on_lmdb_it_does_what_the_model_does(self) -> None:
        run_state_machine_as_test(LmdbStoreMachine, settings=QUICK)
