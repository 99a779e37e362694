"""A journaled backend holds what a backend in RAM holds, whatever happens to it in between."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from kvstore.backend.interface import BackendFull, Table, WriteBatch
from kvstore.backend.journaled import JournaledBackend
from kvstore.backend.lmdb import LmdbBackend
from kvstore.backend.memory import MemoryBackend
from kvstore.backend.overlay import OverlaySnapshot
from tests.backend.commits import State, dump, key

leases = st.sampled_from([b"l1", b"l2", b"l3"])
JOURNAL = "kvstore.backend.journal.journal"


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        small = {"LEAST_SEGMENT_BYTES": 8192, "SEGMENT_BYTES": 8192}
        self.patches = [patch(f"{JOURNAL}.{name}", size) for name, size in small.items()]
        for each in self.patches:
            each.start()
        self.path = Path(tempfile.mkdtemp())
        self.homes = 0
        self.memory = MemoryBackend()
        self.last = 0
        self.held: list[tuple[OverlaySnapshot, State]] = []
        self.backend = self.open()

    def open(self) -> JournaledBackend:
        return JournaledBackend(self.path / str(self.homes), background=False)

    @rule(
        new=st.lists(st.integers(0, 2000), max_size=4),
        dropped=st.sets(st.integers(1, 60), max_size=4),
        puts=st.dictionaries(leases, st.binary(max_size=5), max_size=2),
        gone=st.sets(leases, max_size=2),
        meta=st.binary(max_size=3),
    )
    def commit(
        self,
        new: list[int],
        dropped: set[int],
        puts: dict[bytes, bytes],
        gone: set[bytes],
        meta: bytes,
    ) -> None:
        appends = [(key(self.last + 1 + at), bytes(size)) for at, size in enumerate(new)]
        old = {number for number in dropped if number <= self.last}
        self.last += len(new)
        batch = WriteBatch(
            appends,
            [(Table.META, b"m", meta), *((Table.LEASE, *row) for row in puts.items())],
            [(Table.LOG, key(number)) for number in sorted(old)]
            + [(Table.LEASE, lease) for lease in sorted(gone)],
        )
        self.memory.commit(batch)
        self.backend.commit(batch)

    @rule()
    def checkpoint(self) -> None:
        self.backend.checkpoint()

    @rule()
    def checkpoint_that_finds_no_room(self) -> None:
        """What it was to move stays, apart from what comes after it."""
        full = patch.object(LmdbBackend, "move", side_effect=BackendFull)
        with full, contextlib.suppress(BackendFull):
            self.backend.checkpoint()

    @rule()
    def reopen(self) -> None:
        self.drop_held()
        self.backend.close()
        self.backend = self.open()

    @rule()
    def crash(self) -> None:
        self.drop_held()
        shutil.copytree(self.path / str(self.homes), self.path / str(self.homes + 1))
        self.backend.close()
        shutil.rmtree(self.path / str(self.homes))
        self.homes += 1
        self.backend = self.open()

    @precondition(lambda self: not self.held)
    @rule()
    def trim(self) -> None:
        self.backend.trim()

    @precondition(lambda self: len(self.held) < 3)
    @rule()
    def hold_snapshot(self) -> None:
        self.held.append((self.backend.snapshot(), dump(self.memory)))

    @precondition(lambda self: self.held)
    @rule(at=st.integers(0, 2))
    def refresh_snapshot(self, at: int) -> None:
        snapshot, _ = self.held[at % len(self.held)]
        snapshot.refresh()
        self.held[at % len(self.held)] = snapshot, dump(self.memory)

    @rule()
    def compare(self) -> None:
        assert dump(self.backend) == dump(self.memory)
        snapshot, memory = self.backend.snapshot(), self.memory.snapshot()
        for number in range(self.last + 2):
            assert snapshot.get(Table.LOG, key(number)) == memory.get(Table.LOG, key(number))
        for lease in (b"l1", b"l2", b"l3"):
            assert snapshot.get(Table.LEASE, lease) == memory.get(Table.LEASE, lease)
        snapshot.close()

    @precondition(lambda self: self.held)
    @rule(first=st.integers(0, 60), limit=st.integers(1, 20))
    def read_held_snapshots(self, first: int, limit: int) -> None:
        """They are as they were when they were made or refreshed."""
        for snapshot, (log, lease, meta) in self.held:
            assert list(snapshot.rows(Table.LOG)) == log
            assert list(snapshot.rows(Table.LEASE)) == lease
            assert snapshot.get(Table.META, b"m") == meta
            expected = [row for row in log if row[0] >= key(first)][:limit]
            assert snapshot.scan(Table.LOG, key(first), limit) == expected
            expected = [row for row in lease if row[0] >= b"l2"][:limit]
            assert snapshot.scan(Table.LEASE, b"l2", limit) == expected
            keys = [name for name, _ in log]
            assert snapshot.get_many(Table.LOG, keys[::-1]) == [row for _, row in log[::-1]]
            rows = dict(log)
            for number in range(self.last + 2):
                assert snapshot.get(Table.LOG, key(number)) == rows.get(key(number))

    def drop_held(self) -> None:
        for snapshot, _ in self.held:
            snapshot.close()
        self.held.clear()

    def teardown(self) -> None:
        self.drop_held()
        self.backend.close()
        reopened = self.open()
        assert dump(reopened) == dump(self.memory)
        reopened.close()
        for each in self.patches:
            each.stop()
        shutil.rmtree(self.path)


TestJournaledBackend = pytest.mark.slow(Machine.TestCase)
TestJournaledBackend.settings = settings(max_examples=150, stateful_step_count=40, derandomize=True)
