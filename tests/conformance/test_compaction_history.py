"""Compact: what may be compacted, what stays readable (etcd server/storage/mvcc/kvstore.go)."""

from __future__ import annotations

import threading

import pytest

from kvstore.errors import Compacted, FutureRevision
from kvstore.store.interface import StoreProtocol
from tests.support.ops import Watching, delete, get, get_all, keys, put, revision, values
from tests.support.sites import Site, store_version


def fill(store: StoreProtocol, count: int = 5) -> None:
    for n in range(count):
        put(store, b"k", b"%d" % n)


def expect_delete(watching: Watching, gone: int) -> None:
    """The delete at that revision comes; 3.4.23 loses it when it is at the compact revision."""
    if store_version(watching.store) < (3, 5):
        assert [each for each in watching.until_mark() if each.events] == []
        return
    (event,) = watching.events(1)
    assert ("DELETE", gone) == (event.type.name, event.kv.mod_revision)


class TestBounds:
    def test_current_revision_may_be_compacted_once(self, store: StoreProtocol) -> None:
        # behaviours 79 and 82
        fill(store)
        store.compact(6)
        for at in (6, 5, 1, 0, -1):
            with pytest.raises(Compacted):
                store.compact(at)
        for at in (7, 100):
            with pytest.raises(FutureRevision):
                store.compact(at)

    def test_compact_revision_may_rise_step_by_step(self, store: StoreProtocol) -> None:
        fill(store)
        for at in range(1, 7):
            store.compact(at)
            assert get(store, b"k", revision=max(at, 2)).count == 1

    def test_fresh_store_may_be_compacted_at_0_once(self, store: StoreProtocol) -> None:
        # behaviour 81
        with pytest.raises(Compacted):
            store.compact(-1)
        store.compact(0)
        with pytest.raises(Compacted):
            store.compact(0)
        store.compact(1)
        with pytest.raises(FutureRevision):
            store.compact(2)

    def test_answer_has_the_current_revision_and_does_not_change_it(
        self, store: StoreProtocol
    ) -> None:
        fill(store)
        result = store.compact(3)
        assert result.revision == 6
        assert revision(store) == 6
        assert put(store, b"k").revision == 7


class TestWhatStays:
    def test_compacted_current_revision_is_readable(self, store: StoreProtocol) -> None:
        # behaviour 80
        fill(store)
        store.compact(6, physical=True)
        assert values(get_all(store, revision=6)) == {b"k": b"4"}
        assert values(get_all(store)) == {b"k": b"4"}

    @pytest.mark.parametrize("physical", [False, True])
    def test_newest_version_at_or_below_stays_readable(
        self, store: StoreProtocol, physical: bool
    ) -> None:
        # behaviours 83 and 85
        put(store, b"a", b"a2")
        put(store, b"b", b"b3")
        put(store, b"a", b"a4")
        put(store, b"c", b"c5")
        put(store, b"a", b"a6")
        store.compact(5, physical=physical)
        assert values(get_all(store, revision=5)) == {b"a": b"a4", b"b": b"b3", b"c": b"c5"}
        assert values(get_all(store, revision=6)) == {b"a": b"a6", b"b": b"b3", b"c": b"c5"}
        for at in (1, 4):
            with pytest.raises(Compacted):
                get_all(store, revision=at)

    def test_deleted_keys_stay_deleted(self, store: StoreProtocol) -> None:
        # behaviour 90
        put(store, b"a", b"1")
        put(store, b"b", b"1")
        gone = delete(store, b"a").revision
        store.compact(gone, physical=True)
        assert keys(get_all(store, revision=gone)) == [b"b"]
        again = put(store, b"a", b"2").revision
        kv = get(store, b"a").kvs[0]
        assert (again, again, 1) == (kv.create_revision, kv.mod_revision, kv.version)

    def test_recreated_key_keeps_its_generations_apart(self, store: StoreProtocol) -> None:
        # behaviour 90
        for _ in range(2):
            put(store, b"k", b"x")
            put(store, b"k", b"y")
            delete(store, b"k")
        # history: 2 put, 3 put, 4 delete, 5 put, 6 put, 7 delete
        store.compact(3, physical=True)
        assert [get(store, b"k", revision=at).count for at in range(3, 8)] == [1, 0, 1, 1, 0]
        store.compact(4, physical=True)
        assert [get(store, b"k", revision=at).count for at in range(4, 8)] == [0, 1, 1, 0]
        store.compact(6, physical=True)
        kv = get(store, b"k", revision=6).kvs[0]
        assert (kv.create_revision, kv.mod_revision, kv.version, kv.value) == (5, 6, 2, b"y")
        assert get(store, b"k", revision=7).count == 0

    def test_metadata_of_kept_versions_is_untouched(self, store: StoreProtocol) -> None:
        fill(store)
        before = get(store, b"k", revision=5).kvs
        store.compact(5, physical=True)
        assert list(before) == list(get(store, b"k", revision=5).kvs)

    def test_many_keys_survive_a_compaction_while_written(self, store: StoreProtocol) -> None:
        written = [b"k%03d" % n for n in range(200)]
        for key in written:
            put(store, key, b"old")
        for key in written[::2]:
            put(store, key, b"new")
        at = revision(store)
        writer = threading.Thread(target=lambda: [put(store, b"k000", b"w") for _ in range(50)])
        writer.start()
        store.compact(at, physical=True)
        writer.join()
        state = values(get_all(store, revision=at))
        assert {key: b"new" if n % 2 == 0 else b"old" for n, key in enumerate(written)} == state


class TestWatch:
    def test_old_revisions_cannot_be_read_nor_watched(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviours 84, 122 and 143
        fill(store)
        store.compact(5)
        with pytest.raises(Compacted):
            get(store, b"k", revision=4)
        created = watching.create(b"k", start_revision=4)
        assert not created.canceled
        canceled = watching.next()
        assert (
            canceled.watch_id,
            canceled.canceled,
            canceled.compact_revision,
            canceled.revision,
            canceled.cancel_reason,
            list(canceled.events),
        ) == (0, True, 5, 0, "", [])

    def test_watch_from_the_compact_revision_gets_everything_from_it(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        fill(store)
        store.compact(4, physical=True)
        watching.create(b"k", start_revision=4)
        assert [event.kv.mod_revision for event in watching.events(3)] == [4, 5, 6]

    def test_delete_at_the_compact_revision_is_still_delivered(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 125
        put(store, b"k", b"v")
        gone = delete(store, b"k").revision
        put(store, b"other")
        store.compact(gone, physical=True)
        watching.create(b"k", start_revision=gone)
        expect_delete(watching, gone)

    def test_delete_at_the_compact_revision_is_delivered_after_a_restart(
        self, durable_site: Site
    ) -> None:
        # behaviours 90 and 125
        store = durable_site.store
        put(store, b"k", b"v")
        gone = delete(store, b"k").revision
        put(store, b"other")
        store.compact(gone, physical=True)
        store = durable_site.restart()
        watching = Watching(store)
        watching.create(b"k", start_revision=gone)
        expect_delete(watching, gone)
        watching.close()

    def test_id_of_a_watcher_ended_by_compaction_stays_taken_until_canceled(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        fill(store)
        store.compact(5)
        watching.create(b"k", start_revision=2, watch_id=7)
        assert watching.next().compact_revision == 5
        assert watching.create(b"k", watch_id=7).canceled
        watching.cancel(7)
        assert not watching.create(b"k", watch_id=7).canceled


class TestRestart:
    def test_everything_compacted_then_restart(self, durable_site: Site) -> None:
        # behaviours 86 and 88
        store = durable_site.store
        put(store, b"kept", b"v")
        put(store, b"k")
        gone = delete(store, b"k").revision
        store.compact(gone, physical=True)
        store = durable_site.restart()
        assert gone == revision(store)
        assert values(get_all(store)) == {b"kept": b"v"}
        assert gone + 1 == put(store, b"k").revision

    def test_compact_revision_survives_a_restart(self, durable_site: Site) -> None:
        store = durable_site.store
        fill(store)
        store.compact(4)
        store = durable_site.restart()
        with pytest.raises(Compacted):
            get(store, b"k", revision=3)
        with pytest.raises(Compacted):
            store.compact(4)
        assert values(get_all(store, revision=4)) == {b"k": b"2"}

    def test_compaction_cut_short_by_a_restart_ends_the_same(self, durable_site: Site) -> None:
        # behaviour 87: the deletion runs after the answer; the restart may come before its end
        store = durable_site.store
        for n in range(300):
            put(store, b"k%d" % (n % 20), b"%d" % n)
        state = values(get_all(store, revision=250))
        store.compact(250)
        store = durable_site.restart()
        assert state == values(get_all(store, revision=250))
        assert revision(store) == 301
        with pytest.raises(Compacted):
            get_all(store, revision=249)
