"""The compactor's transaction, its Compact, its rivals and the watch of its key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.compactor import Compactor
from tests.kubernetes_contract.conftest import Server
from tests.kubernetes_contract.refusals import COMPACTED, refusal
from tests.kubernetes_contract.storage import Storage


@pytest.fixture
def storage(storage: Storage) -> Storage:
    """Of a store that no compactor has written to: all of them use one key."""
    found = storage.range(shapes.compactor_read()).kvs
    if found:
        storage.delete(shapes.COMPACT_REV_KEY, found[0].mod_revision)
    return storage


class TestCycle:
    def test_first_one_wins_and_compacts_nothing(self, storage: Storage) -> None:
        before = storage.revision()
        compactor = Compactor(storage)
        assert compactor.cycle()
        assert (1, before + 1, []) == (
            compactor.version,
            compactor.revision,
            compactor.compacted,
        )
        kv = storage.range(shapes.compactor_read()).kvs[0]
        assert (kv.value, kv.version) == (b"0", 1)

    def test_next_one_compacts_at_the_revision_of_the_one_before(
        self, storage: Storage, prefix: bytes
    ) -> None:
        compactor = Compactor(storage)
        compactor.cycle()
        revision = compactor.revision
        storage.create(prefix + b"a")
        assert compactor.cycle()
        assert [revision] == compactor.compacted
        assert b"%d" % revision == storage.range(shapes.compactor_read()).kvs[0].value
        storage.range(shapes.list_page(prefix, revision=revision))
        before = shapes.list_page(prefix, revision=revision - 1)
        assert refusal(storage.range, before) == COMPACTED

    def test_loser_is_told_version_and_value_and_writes_nothing(self, storage: Storage) -> None:
        winner = Compactor(storage)
        for _ in range(3):
            winner.cycle()
        before = storage.revision()
        response = storage.txn(shapes.compactor_txn(0, 0))
        (kv,) = response.responses[0].response_range.kvs
        assert (False, 3, b"%d" % winner.compacted[-1]) == (
            response.succeeded,
            kv.version,
            kv.value,
        )
        assert before == response.header.revision == storage.revision()

    def test_loser_wins_when_the_other_does_not_come_back(self, storage: Storage) -> None:
        gone, left = Compactor(storage), Compactor(storage)
        assert gone.cycle()
        assert [left.cycle() for _ in range(3)] == [False, True, True]
        assert len(left.compacted) == 2

    def test_of_rivals_at_once_exactly_one_wins_each_cycle(
        self, server: Server, storage: Storage
    ) -> None:
        connections = [Storage(server.target) for _ in range(2)]
        try:
            rivals = [Compactor(each) for each in connections]
            wins = []
            with ThreadPoolExecutor(len(rivals)) as pool:
                for _ in range(10):
                    # Their versions agree again before each cycle: both have a chance.
                    for rival in rivals:
                        rival.version = max(each.version for each in rivals)
                    wins.append(sum(pool.map(Compactor.cycle, rivals)))
            assert wins == [1] * 10
            assert storage.range(shapes.compactor_read()).kvs[0].version == 10
            done = sorted(rivals[0].compacted + rivals[1].compacted)
            assert len(set(done)) == len(done) == 9
        finally:
            for each in connections:
                each.close()


class TestCompact:
    def test_answer_has_the_current_revision_and_makes_none(
        self, storage: Storage, prefix: bytes
    ) -> None:
        first, *_, last = storage.fill(prefix, 5)
        assert last == storage.compact(shapes.compact(first)).header.revision
        assert last == storage.revision()

    def test_second_one_at_the_same_or_a_lower_revision_is_refused_in_these_words(
        self, storage: Storage, prefix: bytes
    ) -> None:
        revisions = storage.fill(prefix, 4)
        storage.compact(shapes.compact(revisions[2]))
        for revision in revisions[1:3]:
            assert refusal(storage.compact, shapes.compact(revision)) == COMPACTED

    def test_live_objects_keep_their_revisions_and_deleted_ones_stay_deleted(
        self, storage: Storage, prefix: bytes
    ) -> None:
        revisions = storage.fill(prefix, 6)
        storage.delete(prefix + b"0001", revisions[1])
        revisions[2] = storage.update(prefix + b"0002", b"2", revisions[2])
        compacted = storage.delete(prefix + b"0004", revisions[4])
        storage.compact(shapes.compact(compacted))
        response = storage.range(shapes.list_page(prefix))
        assert [revisions[n] for n in (0, 2, 3, 5)] == [kv.mod_revision for kv in response.kvs]
        assert response.count == 4
        # Optimistic writes go on from them.
        storage.update(prefix + b"0000", b"2", revisions[0])
        storage.create(prefix + b"0001")


class TestWatchOfTheKey:
    def test_each_cycle_comes_as_an_event_with_the_revision_in_decimal(
        self, storage: Storage, prefix: bytes
    ) -> None:
        storage.create(prefix + b"a")  # so that the key did not change at the revision read
        call = storage.watch_call()
        call.create(shapes.compactor_watch(storage.range(shapes.compactor_read()).header.revision))
        compactor = Compactor(storage)
        events = []
        for _ in range(3):
            compactor.cycle()
            events += call.events(1)
        assert [b"0", *(b"%d" % at for at in compactor.compacted)] == [e.kv.value for e in events]
        assert not any(event.HasField("prev_kv") for event in events)

    def test_last_cycle_comes_again_when_nothing_was_written_since(self, storage: Storage) -> None:
        compactor = Compactor(storage)
        compactor.cycle()
        compactor.cycle()
        response = storage.range(shapes.compactor_read())
        call = storage.watch_call()
        call.create(shapes.compactor_watch(response.header.revision))
        (event,) = call.events(1)
        assert response.kvs[0] == event.kv
        compactor.cycle()
        (event,) = call.events(1)
        assert event.kv.value == b"%d" % compactor.compacted[-1]

    def test_it_goes_on_while_its_start_is_compacted_away(self, storage: Storage) -> None:
        compactor = Compactor(storage)
        compactor.cycle()
        call = storage.watch_call()
        call.create(shapes.compactor_watch(compactor.revision))
        # Only a watch that has caught up may outlive the compaction of where it started.
        (first,) = call.events(1)
        for _ in range(5):
            compactor.cycle()
        values = [event.kv.value for event in [first, *call.events(5)]]
        assert [b"0", *(b"%d" % at for at in compactor.compacted)] == values
