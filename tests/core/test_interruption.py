"""An exception at every line of a decision, a publication and a rollback of the engine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from kvstore.backend.memory import MemoryBackend
from kvstore.core.engine import Engine
from kvstore.core.mvcc.record import decode
from kvstore.core.watch.stream import WatchStream
from kvstore.keys import ALL_KEYS, KeyRange
from kvstore.store.reader import SnapshotReader
from kvstore.store.recovery import recover
from kvstore.store.rows import rows_of
from kvstore.types import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeOp,
    PutOp,
    RangeOp,
    Txn,
    WatchCreate,
)
from tests.support.interruption import STEP, Interrupted, Interruption, places

# An exception in the end of a generator that was left is not raised, it is only told of.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CORE = ("/kvstore/core/",)
AND_LISTS = (*CORE, "/sortedcontainers/")
NOW = 100.0


class Rig:
    """An engine with a past, with decisions that are not durable yet, and with watchers."""

    def __init__(self) -> None:
        self.backend = MemoryBackend()
        recovered = recover(self.backend)
        self.reader = SnapshotReader(self.backend)
        self.engine = engine = Engine(self.reader, recovered)
        some = (ALL_KEYS, KeyRange(b"a"), KeyRange(b"b", b"e"))
        self.streams = [self.watch(key_range) for key_range in some]
        self.heard: dict[int, list[Any]] = {id(stream): [] for stream in self.streams}
        engine.lease_grant(60, 7, NOW)
        engine.lease_grant(60, 8, NOW)
        for key in (b"a", b"b", b"c"):
            engine.put(key, b"1", 7)
        engine.txn(Txn((), (PutOp(b"d", b"1"), PutOp(b"a", b"2"), DeleteRangeOp(KeyRange(b"c")))))
        self.commit()
        engine.compact(3)
        self.commit()
        engine.put(b"b", b"2", 8)  # not durable from here on
        engine.put(b"e", b"1")
        engine.txn(Txn((), (DeleteRangeOp(KeyRange(b"d")),)))
        engine.lease_grant(60, 9, NOW)

    def watch(self, key_range: KeyRange) -> WatchStream:
        stream = self.engine.watch_stream(lambda: None)
        stream.create(WatchCreate(key_range, prev_kv=key_range.is_single))
        return stream

    def write(self) -> int:
        batch = self.engine.take_commit()
        self.backend.commit(rows_of(batch))
        self.reader.refresh()
        return batch.last_sequence

    def commit(self) -> None:
        self.engine.publish(self.write())

    def listen(self) -> None:
        for stream in self.streams:
            while stream.has_work:
                message = stream.poll()
                if message is not None:
                    self.heard[id(stream)] += message.events

    def told(self) -> list[list[Any]]:
        self.listen()
        return [self.heard[id(stream)] for stream in self.streams]

    def state(self) -> dict[str, Any]:
        """All that a decision changes, in a form that can be compared."""
        engine, index, lessor = self.engine, self.engine.index, self.engine.lessor
        assert engine.check() == []
        assert not engine.is_broken_off
        known = {}
        for key in index.known(ALL_KEYS):
            entry = index.get(key)
            known[key] = (entry, 1) if isinstance(entry, int) else (*entry.revs, entry.version)
        return {
            "known": known,
            "keys": list(index._keys),
            "live": list(index._live),
            "unpublished": dict(index._unpublished),
            "leases": {i: (x.ttl_s, x.expires_at, set(x.keys)) for i, x in lessor._leases.items()},
            "lease of": dict(lessor._of_key),
            "numbers": (engine.head, engine.durable, engine.sequence, engine.durable_sequence),
            "compacted": (engine.compacted, engine.compacted_head),
            "pending": engine.pending,
            "records": dict(engine._records),
        }

    def shown(self) -> Any:
        """What is read once all is durable, now and in the past."""
        while self.engine.has_outbox:
            self.commit()
        while self.engine.is_compacting:
            self.engine.compaction_step(2)
            if self.engine.has_outbox:
                self.commit()
        engine = self.engine
        assert engine.check() == []
        return [
            list(engine.range(RangeOp(ALL_KEYS, revision=revision)).kvs)
            for revision in range(max(engine.compacted, 1), engine.durable + 1)
        ] + [sorted(engine.lessor.by_remaining()), self.on_disk()]

    def on_disk(self) -> Any:
        rows = self.backend._tables.items()
        return {table: dict(found) for table, found in rows if table.value != b"meta"}


def held(key: bytes, revision: int) -> Compare:
    return Compare(KeyRange(key), CompareTarget.MOD, CompareResult.EQUAL, revision)


DECISIONS: dict[str, Callable[[Engine], object]] = {
    "put of a new key": lambda engine: engine.put(b"x", b"1"),
    "put over a pending one": lambda engine: engine.put(b"b", b"3"),
    "put over a durable one": lambda engine: engine.put(b"a", b"3"),
    "put of a deleted key": lambda engine: engine.put(b"c", b"3", 8),
    "put that moves a lease": lambda engine: engine.put(b"a", b"3", 8),
    "put that ends a lease": lambda engine: engine.put(b"a", b"3"),
    "put as a txn": lambda engine: engine.txn(Txn((), (PutOp(b"x", b"1", 9),))),
    "txn": lambda engine: engine.txn(
        Txn(
            (held(b"a", 5),),
            (
                PutOp(b"x", b"1", 7),
                PutOp(b"a", b"3", prev_kv=True, ignore_lease=True),
                RangeOp(ALL_KEYS),
                DeleteRangeOp(KeyRange(b"b", b"f"), prev_kv=True),
                Txn((), (PutOp(b"y", b"1"), DeleteRangeOp(KeyRange(b"zz")))),
            ),
        )
    ),
    "txn that only reads": lambda engine: engine.txn(Txn((), (RangeOp(ALL_KEYS),))),
    "delete of all": lambda engine: engine.txn(Txn((), (DeleteRangeOp(ALL_KEYS),))),
    "grant": lambda engine: engine.lease_grant(60, 10, NOW),
    "revoke": lambda engine: engine.lease_revoke(7),
    "revoke of a pending one": lambda engine: engine.lease_revoke(9),
    "compact": lambda engine: engine.compact(4),
    "compaction step": lambda engine: engine.compaction_step(100),
}


def decided(rig: Rig, call: Callable[[Engine], object], at: int, **how: Any) -> Interruption:
    interruption = Interruption(AND_LISTS, at, **how)
    with contextlib.suppress(Interrupted), interruption:
        call(rig.engine)
    return interruption


@pytest.mark.parametrize("lines", [True, False])
@pytest.mark.parametrize("name", DECISIONS)
def test_an_exception_takes_back_one_decision(name: str, *, lines: bool) -> None:
    call = DECISIONS[name]
    before, after = Rig().state(), Rig()
    count = places(lambda: call(after.engine), AND_LISTS, lines=lines)
    made = after.state()
    shown = after.shown()
    assert count > 3
    for at in range(1, count + 1, STEP):
        rig = Rig()
        interruption = decided(rig, call, at, lines=lines)
        state = rig.state()
        if name != "compaction step":  # what it dropped of the index stays dropped
            assert state in (before, made), interruption.where
            if state == before:
                call(rig.engine)
            assert rig.state() == made, interruption.where
        assert rig.shown() == shown, interruption.where


@pytest.mark.parametrize("seed", range(20))
def test_a_second_exception_is_mended(seed: int) -> None:
    random = Random(seed)
    name = random.choice(sorted(DECISIONS))
    call = DECISIONS[name]
    before, after = Rig().state(), Rig()
    count = places(lambda: call(after.engine), AND_LISTS)
    made, shown = after.state(), after.shown()
    rig = Rig()
    decided(rig, call, random.randint(1, count))
    for _ in range(5):
        decided(rig, lambda engine: engine.mend(), random.randint(1, 60))
    rig.engine.mend()
    state = rig.state()
    if name != "compaction step":
        assert state in (before, made)
        if state == before:
            call(rig.engine)
    assert rig.shown() == shown


@pytest.mark.parametrize("lines", [True, False])
def test_a_publication_is_finished_and_told_once(*, lines: bool) -> None:
    whole = Rig()
    whole.listen()
    sequence = whole.write()

    def publish(engine: Engine) -> None:
        engine.publish(sequence)

    count = places(lambda: publish(whole.engine), AND_LISTS, lines=lines)
    state, told, shown = whole.state(), whole.told(), whole.shown()
    assert [len(events) for events in told] == [9, 2, 6]
    for at in range(1, count + 1, STEP):
        rig = Rig()
        rig.listen()
        assert rig.write() == sequence
        interruption = decided(rig, publish, at, lines=lines)
        for again in (at, at // 2, 2 * at):
            decided(rig, lambda e: e.mend(), again, lines=lines)
        rig.engine.mend()
        if rig.engine.taken is not None:
            publish(rig.engine)  # it had not begun
        assert rig.state() == state, interruption.where
        assert rig.told() == told, interruption.where
        assert rig.shown() == shown, interruption.where
        assert rig.told() == whole.told(), interruption.where


@pytest.mark.parametrize("lines", [True, False])
def test_a_rollback_is_finished(*, lines: bool) -> None:
    def failed(rig: Rig) -> None:
        rig.engine.put(b"f", b"1", 8)
        rig.engine.lease_revoke(7)
        rig.engine.compaction_step(1)
        rig.engine.take_commit()

    whole = Rig()
    failed(whole)
    count = places(lambda: whole.engine.rollback(NOW), AND_LISTS, lines=lines)
    state, shown = whole.state(), whole.shown()
    for at in range(1, count + 1, STEP):
        rig = Rig()
        failed(rig)
        interruption = decided(rig, lambda e: e.rollback(NOW), at, lines=lines)
        decided(rig, lambda e: e.mend(), at // 2 + 1, lines=lines)
        rig.engine.mend()
        if rig.engine.taken is not None:
            rig.engine.rollback(NOW)  # it had not begun
        assert rig.state() == state, interruption.where
        assert rig.shown() == shown, interruption.where


def test_expiry_forgets_no_lease() -> None:
    count = places(lambda: Rig().engine.expire(NOW + 60, 10), AND_LISTS)
    for at in range(1, count + 1, STEP):
        rig = Rig()
        interruption = decided(rig, lambda e: e.expire(NOW + 60, 10), at)
        assert rig.engine.check() == []
        rig.engine.expire(NOW + 60, 10)
        assert rig.engine.lessor.by_remaining() == [], interruption.where
        rig.shown()
        assert decode(rig.engine.get(b"e") or b"").value == b"1"
