"""Range: intervals, revisions, limits, order, filters (etcd server/etcdserver/txn/range.go)."""

from __future__ import annotations

import threading

import pytest

from kvstore.errors import Compacted, FutureRevision, InvalidSortOption, KeyNotProvided
from kvstore.keys import FROM_KEY, prefix_end
from kvstore.store.interface import StoreProtocol
from kvstore.types import PutOp, SortOrder, SortTarget
from tests.support.ops import ALL, commit, delete, get, get_all, keys, put, revision, values
from tests.support.sites import store_version

SAMPLE = (b"a", b"b", b"c", b"c", b"c", b"foo", b"foo/abc", b"fop")
EVERY_KEY = [b"a", b"b", b"c", b"foo", b"foo/abc", b"fop"]


@pytest.fixture
def sample(store: StoreProtocol) -> StoreProtocol:
    """a b c c c foo foo/abc fop at revisions 2 to 9; the values count down from 9."""
    for n, key in enumerate(SAMPLE):
        put(store, key, b"%d" % (9 - n))
    return store


class TestInterval:
    def test_half_open_interval(self, sample: StoreProtocol) -> None:
        # behaviour 22
        assert keys(get(sample, b"a", b"c")) == [b"a", b"b"]

    def test_from_key(self, sample: StoreProtocol) -> None:
        # behaviour 24
        assert keys(get(sample, b"fo", FROM_KEY)) == [b"foo", b"foo/abc", b"fop"]

    def test_prefix(self, sample: StoreProtocol) -> None:
        # behaviour 25
        assert keys(get(sample, b"foo", prefix_end(b"foo"))) == [b"foo", b"foo/abc"]

    def test_prefix_that_ends_in_the_largest_byte(self, store: StoreProtocol) -> None:
        for key in (b"a\xff", b"a\xff\x01", b"a\xff\xff", b"b"):
            put(store, key)
        prefix = b"a\xff"
        assert keys(get(store, prefix, prefix_end(prefix))) == [
            b"a\xff",
            b"a\xff\x01",
            b"a\xff\xff",
        ]

    def test_inverted_and_empty_intervals_hold_nothing(self, sample: StoreProtocol) -> None:
        # behaviour 29
        for key, range_end in ((b"foo", b"a"), (b"c", b"c")):
            result = get(sample, key, range_end)
            assert (keys(result), result.count, result.more) == ([], 0, False)

    def test_single_deleted_key_is_not_found(self, sample: StoreProtocol) -> None:
        # behaviour 30
        delete(sample, b"b")
        assert (keys(get(sample, b"b")), get(sample, b"b").count) == ([], 0)

    def test_single_key_is_not_a_prefix(self, sample: StoreProtocol) -> None:
        assert keys(get(sample, b"foo")) == [b"foo"]

    def test_zero_byte_to_zero_byte_is_everything(self, sample: StoreProtocol) -> None:
        # behaviour 32
        put(sample, b"\x00")
        put(sample, b"\xff\xff")
        assert [b"\x00", *EVERY_KEY, b"\xff\xff"] == keys(get(sample, *ALL))

    def test_empty_key_is_refused_with_or_without_an_end(self, sample: StoreProtocol) -> None:
        for range_end in (b"", b"z", FROM_KEY):
            with pytest.raises(KeyNotProvided):
                get(sample, b"", range_end)


class TestRevision:
    def test_old_revision_shows_the_state_of_then(self, sample: StoreProtocol) -> None:
        # behaviour 23
        result = get(sample, b"a", b"c", revision=2)
        assert (keys(result), result.count, result.revision) == ([b"a"], 1, 9)
        assert values(get(sample, b"c", revision=4)) == {b"c": b"7"}
        assert values(get(sample, b"c", revision=5)) == {b"c": b"6"}

    def test_deleted_key_is_still_there_at_its_old_revision(self, sample: StoreProtocol) -> None:
        gone = delete(sample, b"a", b"c").revision
        assert keys(get(sample, b"a", b"c", revision=gone - 1)) == [b"a", b"b"]
        assert keys(get(sample, b"a", b"c", revision=gone)) == []

    def test_revision_0_and_negative_ones_read_the_newest(self, sample: StoreProtocol) -> None:
        # behaviour 36
        for at in (0, -1, -100):
            assert keys(get_all(sample, revision=at)) == EVERY_KEY

    def test_revision_1_is_legal_and_empty(self, sample: StoreProtocol) -> None:
        result = get_all(sample, revision=1)
        assert (keys(result), result.count, result.revision) == ([], 0, 9)

    def test_future_revision_is_refused(self, sample: StoreProtocol) -> None:
        # behaviour 37
        for at in (10, 1000, 2**62):
            with pytest.raises(FutureRevision):
                get(sample, b"a", revision=at)

    def test_compacted_revision_is_refused_and_the_compact_revision_is_not(
        self, sample: StoreProtocol
    ) -> None:
        # behaviour 38
        sample.compact(5)
        for at in (1, 4):
            with pytest.raises(Compacted):
                get(sample, b"a", revision=at)
        assert values(get_all(sample, revision=5)) == {b"a": b"9", b"b": b"8", b"c": b"6"}

    def test_several_keys_of_an_old_revision_are_one_snapshot(self, store: StoreProtocol) -> None:
        # behaviour 41
        expected: dict[int, dict[bytes, bytes]] = {1: {}}
        state: dict[bytes, bytes] = {}
        for n in range(30):
            key = b"k%d" % (n % 4)
            if n % 7 == 6:
                state.pop(key, None)
                at = delete(store, key).revision
            else:
                state[key] = b"%d" % n
                at = put(store, key, b"%d" % n).revision
            expected[at] = dict(state)
        for at, then in expected.items():
            assert then == values(get_all(store, revision=at))


class TestLimit:
    def test_limit_below_the_total_says_more_and_counts_all(self, sample: StoreProtocol) -> None:
        # behaviours 27 and 39
        result = get_all(sample, limit=2)
        assert (keys(result), result.more, result.count) == ([b"a", b"b"], True, 6)

    def test_limit_equal_to_the_total_says_no_more(self, sample: StoreProtocol) -> None:
        # behaviour 28
        for limit in (6, 7, 2**31, 2**63 - 1):
            result = get_all(sample, limit=limit)
            assert (keys(result), result.more, result.count) == (EVERY_KEY, False, 6)

    def test_limit_0_and_negative_ones_are_no_limit(self, sample: StoreProtocol) -> None:
        for limit in (0, -1):
            result = get_all(sample, limit=limit)
            assert (keys(result), result.more) == (EVERY_KEY, False)

    def test_limit_at_an_old_revision(self, sample: StoreProtocol) -> None:
        result = get_all(sample, limit=2, revision=4)
        assert (keys(result), result.more, result.count) == ([b"a", b"b"], True, 3)

    def test_pages_at_a_pinned_revision_see_one_state(self, store: StoreProtocol) -> None:
        written = [b"k%02d" % n for n in range(25)]
        for key in written:
            put(store, key)
        at, start, pages = revision(store), b"k", []
        while True:
            page = get(store, start, b"l", limit=10, revision=at)
            pages.append(keys(page))
            put(store, b"k00x%d" % len(pages))
            delete(store, b"k24")
            if not page.more:
                break
            start = page.kvs[-1].key + b"\x00"
        assert [len(page) for page in pages] == [10, 10, 5]
        assert written == [key for page in pages for key in page]


class TestOrder:
    @pytest.mark.parametrize(
        ("target", "ascending"),
        [
            (SortTarget.KEY, EVERY_KEY),
            (SortTarget.CREATE, EVERY_KEY),
            (SortTarget.MOD, EVERY_KEY),
            (SortTarget.VALUE, EVERY_KEY[::-1]),
        ],
    )
    def test_every_target_both_ways(
        self, sample: StoreProtocol, target: SortTarget, ascending: list[bytes]
    ) -> None:
        # behaviour 26
        up = get_all(sample, sort_order=SortOrder.ASCEND, sort_target=target)
        down = get_all(sample, sort_order=SortOrder.DESCEND, sort_target=target)
        assert ascending == keys(up)
        assert ascending[::-1] == keys(down)

    def test_version_with_equal_ones_in_key_order(self, sample: StoreProtocol) -> None:
        # behaviour 26
        ones = [b"a", b"b", b"foo", b"foo/abc", b"fop"]
        up = get_all(sample, sort_order=SortOrder.ASCEND, sort_target=SortTarget.VERSION)
        down = get_all(sample, sort_order=SortOrder.DESCEND, sort_target=SortTarget.VERSION)
        assert [*ones, b"c"] == keys(up)
        assert [b"c", *ones] == keys(down)

    def test_mod_order_follows_the_last_write(self, sample: StoreProtocol) -> None:
        put(sample, b"a", b"again")
        put(sample, b"foo", b"again")
        down = get_all(sample, sort_order=SortOrder.DESCEND, sort_target=SortTarget.MOD)
        assert keys(down) == [b"foo", b"a", b"fop", b"foo/abc", b"c", b"b"]

    def test_descending_by_key_with_a_limit_takes_the_largest(self, sample: StoreProtocol) -> None:
        # behaviour 33
        result = get_all(sample, sort_order=SortOrder.DESCEND, sort_target=SortTarget.KEY, limit=2)
        assert (keys(result), result.more, result.count) == ([b"fop", b"foo/abc"], True, 6)

    def test_explicit_order_sorts_everything_before_the_limit(self, sample: StoreProtocol) -> None:
        result = get_all(sample, sort_order=SortOrder.ASCEND, sort_target=SortTarget.VALUE, limit=3)
        assert (keys(result), result.more) == ([b"fop", b"foo/abc", b"foo"], True)

    def test_target_without_an_order_means_ascending(self, sample: StoreProtocol) -> None:
        result = get_all(sample, sort_target=SortTarget.VALUE)
        assert EVERY_KEY[::-1] == keys(result)

    def test_target_without_an_order_and_a_limit_sorts_only_what_was_fetched(
        self, store: StoreProtocol
    ) -> None:
        # behaviour 77: the first limit + 1 keys in key order are fetched, sorted and cut
        for key in (b"e", b"d", b"c", b"b", b"a"):
            put(store, key)
        result = get_all(store, sort_target=SortTarget.MOD, limit=2)
        assert (keys(result), result.more, result.count) == ([b"c", b"b"], True, 5)

    @pytest.mark.parametrize("wrong", [{"sort_order": 3}, {"sort_order": -1}, {"sort_target": 5}])
    def test_unknown_order_or_target_is_refused(
        self, sample: StoreProtocol, wrong: dict[str, int]
    ) -> None:
        # behaviour 34; 3.4.23 takes no notice of an unknown order and dies of an unknown target
        if store_version(sample) < (3, 5):
            if "sort_order" in wrong:
                assert keys(get_all(sample, **wrong)) == EVERY_KEY
            return
        with pytest.raises(InvalidSortOption):
            get_all(sample, **wrong)

    def test_empty_key_is_found_before_the_sort_option(self, store: StoreProtocol) -> None:
        with pytest.raises(KeyNotProvided):
            get(store, b"", sort_order=9)


class TestFilters:
    @pytest.mark.parametrize(
        ("bounds", "expected"),
        [
            ({"min_mod_revision": 6}, [b"c", b"foo", b"foo/abc", b"fop"]),
            ({"max_mod_revision": 6}, [b"a", b"b", b"c"]),
            ({"min_create_revision": 4}, [b"c", b"foo", b"foo/abc", b"fop"]),
            ({"max_create_revision": 4}, [b"a", b"b", b"c"]),
            ({"min_mod_revision": 3, "max_mod_revision": 7}, [b"b", b"c", b"foo"]),
            ({"min_create_revision": 5, "max_mod_revision": 7}, [b"foo"]),
            ({"min_mod_revision": 100}, []),
        ],
    )
    def test_bounds_are_inclusive_and_do_not_change_the_count(
        self, sample: StoreProtocol, bounds: dict[str, int], expected: list[bytes]
    ) -> None:
        # behaviour 31
        result = get_all(sample, **bounds)
        assert (expected, 6, False) == (keys(result), result.count, result.more)

    def test_more_speaks_of_the_filtered_result(self, sample: StoreProtocol) -> None:
        some = get_all(sample, min_mod_revision=6, limit=3)
        assert (keys(some), some.more, some.count) == ([b"c", b"foo", b"foo/abc"], True, 6)
        exact = get_all(sample, min_mod_revision=6, limit=4)
        assert (len(exact.kvs), exact.more) == (4, False)


class TestPartial:
    def test_keys_only_leaves_the_value_out(self, sample: StoreProtocol) -> None:
        full = get_all(sample)
        short = get_all(sample, keys_only=True)
        assert [kv._replace(value=b"") for kv in full.kvs] == list(short.kvs)
        assert (full.count, full.revision) == (short.count, short.revision)

    def test_keys_only_drops_the_lease_unless_sorted_by_value(self, store: StoreProtocol) -> None:
        # Since 3.7 such a read is answered from the index; earlier ones always keep the lease.
        lease = store.lease_grant(3600)
        put(store, b"k", b"v", lease=lease.id)
        plain = get(store, b"k", keys_only=True).kvs[0]
        by_value = get(
            store,
            b"k",
            keys_only=True,
            sort_order=SortOrder.ASCEND,
            sort_target=SortTarget.VALUE,
        ).kvs[0]
        assert (lease.id if store_version(store) < (3, 7) else 0) == plain.lease
        assert (lease.id, b"") == (by_value.lease, by_value.value)

    def test_keys_only_sorted_by_value_uses_the_values(self, sample: StoreProtocol) -> None:
        result = get_all(
            sample, keys_only=True, sort_order=SortOrder.ASCEND, sort_target=SortTarget.VALUE
        )
        assert EVERY_KEY[::-1] == keys(result)

    def test_count_only_has_no_kvs_and_no_more(self, sample: StoreProtocol) -> None:
        for fields in ({}, {"limit": 2}, {"keys_only": True}, {"min_mod_revision": 6}):
            result = get_all(sample, count_only=True, **fields)
            assert (list(result.kvs), result.count, result.more) == ([], 6, False)

    def test_count_only_with_keys_only_has_the_header_of_a_normal_get(
        self, sample: StoreProtocol
    ) -> None:
        # behaviour 35
        both = get_all(sample, keys_only=True, count_only=True)
        assert ([], 6, get_all(sample).revision) == (list(both.kvs), both.count, both.revision)

    def test_count_at_an_old_revision(self, sample: StoreProtocol) -> None:
        assert get_all(sample, count_only=True, revision=6).count == 3


class TestReadsWhileWriting:
    def test_read_sees_every_write_answered_before_it(self, store: StoreProtocol) -> None:
        # behaviour 40
        answered = [0]
        wrong: list[tuple[int, int]] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                known = answered[0]
                result = get(store, b"k")
                if result.revision < known or (known and result.kvs[0].mod_revision < known):
                    wrong.append((known, result.revision))

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for n in range(100):
            answered[0] = put(store, b"k", b"%d" % n).revision
        done.set()
        for reader in readers:
            reader.join()
        assert wrong == []

    def test_read_never_sees_half_a_txn(self, store: StoreProtocol) -> None:
        # behaviours 40 and 41
        done = threading.Event()
        torn: list[dict[bytes, bytes]] = []

        def read() -> None:
            while not done.is_set():
                state = values(get_all(store))
                if len(set(state.values())) > 1 or len(state) not in (0, 3):
                    torn.append(state)

        reader = threading.Thread(target=read)
        reader.start()
        for n in range(60):
            commit(store, [PutOp(key, b"%d" % n) for key in (b"x", b"y", b"z")])
        done.set()
        reader.join()
        assert torn == []

    def test_serializable_read_gives_the_same_on_one_node(self, sample: StoreProtocol) -> None:
        assert get_all(sample) == get_all(sample, serializable=True)
