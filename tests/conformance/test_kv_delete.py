"""DeleteRange: what it counts, what it leaves, what it gives back."""

from __future__ import annotations

import pytest

from kvstore.errors import KeyNotProvided
from kvstore.keys import FROM_KEY, KeyRange, prefix_end
from kvstore.store.interface import StoreProtocol
from kvstore.types import DeleteRangeOp, DeleteRangeResult, PutOp
from tests.support.ops import ALL, Watching, commit, delete, get, get_all, keys, put, revision

EVERY_KEY = [b"a", b"b", b"c", b"foo", b"foo/abc", b"fop"]


@pytest.fixture
def sample(store: StoreProtocol) -> StoreProtocol:
    for key in EVERY_KEY:
        put(store, key, b"value of " + key)
    return store


class TestInterval:
    def test_single_key_is_gone_at_the_next_revision(self, sample: StoreProtocol) -> None:
        # behaviour 42
        before = revision(sample)
        result = delete(sample, b"b")
        assert (1, before + 1) == (result.deleted, result.revision)
        assert keys(get_all(sample)) == [b"a", b"c", b"foo", b"foo/abc", b"fop"]

    @pytest.mark.parametrize(
        ("key", "range_end", "gone"),
        [
            (b"a", b"c", [b"a", b"b"]),
            (b"c", FROM_KEY, [b"c", b"foo", b"foo/abc", b"fop"]),
            (b"foo", prefix_end(b"foo"), [b"foo", b"foo/abc"]),
            (*ALL, EVERY_KEY),
        ],
    )
    def test_interval_from_key_prefix_and_all(
        self, sample: StoreProtocol, key: bytes, range_end: bytes, gone: list[bytes]
    ) -> None:
        # behaviour 43
        before = revision(sample)
        result = delete(sample, key, range_end)
        assert (len(gone), before + 1) == (result.deleted, result.revision)
        assert [key for key in EVERY_KEY if key not in gone] == keys(get_all(sample))

    def test_inverted_and_empty_intervals_delete_nothing(self, sample: StoreProtocol) -> None:
        before = revision(sample)
        for key, range_end in ((b"foo", b"a"), (b"c", b"c")):
            result = delete(sample, key, range_end)
            assert (0, before) == (result.deleted, result.revision)

    def test_empty_key_is_refused(self, sample: StoreProtocol) -> None:
        for range_end in (b"", b"z", FROM_KEY):
            with pytest.raises(KeyNotProvided):
                delete(sample, b"", range_end)


class TestPrevKvs:
    def test_all_deleted_kvs_come_back_in_key_order(self, sample: StoreProtocol) -> None:
        # behaviour 44
        before = list(get(sample, b"a", b"d").kvs)
        assert before == list(delete(sample, b"a", b"d", prev_kv=True).prev_kvs)

    def test_none_come_back_unasked(self, sample: StoreProtocol) -> None:
        assert list(delete(sample, b"a", b"d").prev_kvs) == []


class TestNothingToDelete:
    def test_missing_key_changes_neither_revision_nor_watchers(
        self, sample: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 45
        watching.create(b"missing", b"missing0")
        before = revision(sample)
        for _ in range(3):
            result = delete(sample, b"missing", b"missing0")
            assert (0, before) == (result.deleted, result.revision)
        assert before == revision(sample)
        assert [each for each in watching.until_mark() if each.events] == []

    def test_second_delete_of_a_key_finds_nothing(self, sample: StoreProtocol) -> None:
        # behaviour 45
        gone = delete(sample, b"a").revision
        again = delete(sample, b"a", prev_kv=True)
        assert (0, gone, []) == (again.deleted, again.revision, list(again.prev_kvs))


class TestInsideTxn:
    def test_delete_in_a_txn_counts_what_exists_at_that_moment(self, store: StoreProtocol) -> None:
        # behaviour 46
        put(store, b"a", b"old")
        result = commit(
            store,
            [
                DeleteRangeOp(KeyRange(b"a", b"c"), prev_kv=True),
                DeleteRangeOp(KeyRange(b"a", b"c"), prev_kv=True),
                PutOp(b"z", b"new"),
            ],
        )
        first, second, _ = result.responses
        assert isinstance(first, DeleteRangeResult)
        assert isinstance(second, DeleteRangeResult)
        assert (first.deleted, [kv.value for kv in first.prev_kvs]) == (1, [b"old"])
        assert (second.deleted, list(second.prev_kvs)) == (0, [])
        assert {3} == {result.revision, first.revision, second.revision, revision(store)}
