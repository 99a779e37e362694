"""What a txn may hold (etcd server/etcdserver/api/v3rpc/key.go checkTxnRequest)."""

from __future__ import annotations

import pytest

from kvstore.errors import (
    DuplicateKey,
    InvalidSortOption,
    KeyNotFound,
    KeyNotProvided,
    LeaseProvided,
    TooManyOperations,
    ValueProvided,
)
from kvstore.keys import FROM_KEY, KeyRange
from kvstore.store.interface import StoreProtocol
from kvstore.types import CompareResult, CompareTarget, DeleteRangeOp, Op, PutOp, RangeOp, Txn
from tests.support.ops import ALL, commit, compare, get_all, put, revision
from tests.support.sites import store_version

FALSE = compare(CompareTarget.VERSION, b"never written", CompareResult.GREATER, 0)
TRUE = compare(CompareTarget.VERSION, b"never written", CompareResult.EQUAL, 0)


def puts(count: int, prefix: bytes = b"k") -> list[Op]:
    return [PutOp(prefix + b"%d" % n) for n in range(count)]


def nested(*ops: Op) -> Txn:
    return Txn((), ops, ())


class TestBudget:
    def test_128_of_each_are_accepted(self, store: StoreProtocol) -> None:
        # behaviour 54
        result = commit(store, puts(128), compares=[TRUE] * 128, failure=puts(128))
        assert (len(result.responses), result.succeeded) == (128, True)
        assert get_all(store).count == 128

    def test_129_of_any_are_refused(self, store: StoreProtocol) -> None:
        # behaviours 54 and 73
        with pytest.raises(TooManyOperations):
            commit(store, compares=[TRUE] * 129)
        with pytest.raises(TooManyOperations):
            commit(store, puts(129))
        with pytest.raises(TooManyOperations):
            commit(store, failure=puts(129))
        assert revision(store) == 1

    def test_outer_ops_leave_the_rest_of_the_budget_to_each_nested_txn(
        self, store: StoreProtocol
    ) -> None:
        # behaviour 54: 100 outer ones leave 28
        outer = puts(98, b"outer")
        fits = [nested(*puts(28, b"x")), nested(*puts(28, b"y"))]
        assert commit(store, [*outer, *fits]).succeeded
        for place in range(2):
            too_many: list[Op] = list(fits)
            too_many[place] = nested(*puts(29, b"z"))
            with pytest.raises(TooManyOperations):
                commit(store, [*outer, *too_many])
        assert revision(store) == 2

    def test_budget_of_a_branch_is_the_largest_part_of_its_level(
        self, store: StoreProtocol
    ) -> None:
        # 100 compares leave 28 to the nested txn as well
        with pytest.raises(TooManyOperations):
            commit(store, [nested(*puts(29))], compares=[TRUE] * 100)
        assert commit(store, [nested(*puts(28))], compares=[TRUE] * 100).succeeded

    def test_too_many_is_found_before_the_empty_keys(self, store: StoreProtocol) -> None:
        with pytest.raises(TooManyOperations):
            commit(store, [PutOp(b"")] * 129)


class TestDuplicateKeys:
    @pytest.mark.parametrize(
        "ops",
        [
            [PutOp(b"a"), PutOp(b"a")],
            [PutOp(b"a"), PutOp(b"b"), PutOp(b"a")],
            [PutOp(b"b"), DeleteRangeOp(KeyRange(b"a", b"c"))],
            [DeleteRangeOp(KeyRange(b"a", b"c")), PutOp(b"b")],
            [DeleteRangeOp(KeyRange(b"a")), PutOp(b"a")],
            [PutOp(b"a"), nested(PutOp(b"a"))],
            [nested(PutOp(b"a")), PutOp(b"a")],
            [nested(PutOp(b"a")), nested(PutOp(b"a"))],
            [DeleteRangeOp(KeyRange(b"a", b"c")), nested(PutOp(b"b"))],
            [nested(DeleteRangeOp(KeyRange(b"a", b"c"))), PutOp(b"b")],
            [nested(DeleteRangeOp(KeyRange(b"a", b"c"))), nested(PutOp(b"b"))],
            [nested(nested(PutOp(b"a"))), PutOp(b"a")],
            [Txn((), (PutOp(b"a"),), (PutOp(b"b"),)), PutOp(b"b")],
        ],
    )
    def test_key_written_twice_is_refused(self, store: StoreProtocol, ops: list[Op]) -> None:
        # behaviours 55 and 73
        with pytest.raises(DuplicateKey):
            commit(store, ops)
        with pytest.raises(DuplicateKey):
            commit(store, failure=ops)
        with pytest.raises(DuplicateKey):
            commit(store, compares=[FALSE], success=ops)
        assert revision(store) == 1

    @pytest.mark.parametrize(
        "ops",
        [
            [Txn((), (PutOp(b"a"),), (PutOp(b"a"),))],
            [DeleteRangeOp(KeyRange(b"a")), DeleteRangeOp(KeyRange(b"a"))],
            [DeleteRangeOp(KeyRange(b"a", b"c")), DeleteRangeOp(KeyRange(b"b", b"d"))],
            [PutOp(b"a"), DeleteRangeOp(KeyRange(b"b", b"c"))],
            [PutOp(b"c"), DeleteRangeOp(KeyRange(b"b", b"c"))],
            [PutOp(b"a"), DeleteRangeOp(KeyRange(b"a", FROM_KEY))],
            [PutOp(b"b"), DeleteRangeOp(KeyRange(b"c", b"a"))],
            [PutOp(b"a"), RangeOp(KeyRange(b"a")), RangeOp(KeyRange(*ALL))],
            [nested(PutOp(b"a")), nested(DeleteRangeOp(KeyRange(b"a")))],
        ],
    )
    def test_these_do_not_count_as_duplicates(self, store: StoreProtocol, ops: list[Op]) -> None:
        # behaviours 56 and 58
        assert commit(store, ops).succeeded

    def test_same_key_in_both_branches_is_accepted(self, store: StoreProtocol) -> None:
        # behaviour 57
        assert commit(store, [PutOp(b"a")], failure=[PutOp(b"a")]).succeeded


class TestBadOps:
    @pytest.mark.parametrize(
        ("op", "error"),
        [
            (PutOp(b""), KeyNotProvided),
            (RangeOp(KeyRange(b"")), KeyNotProvided),
            (DeleteRangeOp(KeyRange(b"", b"z")), KeyNotProvided),
            (PutOp(b"k", b"v", ignore_value=True), ValueProvided),
            (PutOp(b"k", b"v", lease=1, ignore_lease=True), LeaseProvided),
            (None, KeyNotFound),
        ],
    )
    def test_bad_op_is_refused_in_either_branch_and_at_any_depth(
        self, store: StoreProtocol, op: Op | None, error: type[Exception]
    ) -> None:
        # behaviours 73 and 74
        for success, failure in (([op], []), ([], [op])):
            for guard in (TRUE, FALSE):
                with pytest.raises(error):
                    commit(
                        store,
                        [PutOp(b"fine"), *success],
                        compares=[guard],
                        failure=[PutOp(b"good"), *failure],
                    )
        with pytest.raises(error):
            commit(store, [Txn((), (Txn((), (), (op,)),), ())])
        assert revision(store) == 1

    def test_unknown_sort_option_in_a_txn_is_refused(self, store: StoreProtocol) -> None:
        # 3.4.23 takes no notice of an unknown sort order
        ops: list[Op] = [PutOp(b"k"), RangeOp(KeyRange(b"k"), sort_order=9)]
        if store_version(store) < (3, 5):
            assert commit(store, ops).succeeded
            return
        with pytest.raises(InvalidSortOption):
            commit(store, ops)

    def test_empty_key_of_a_compare_is_found_before_the_ops(self, store: StoreProtocol) -> None:
        bad = compare(CompareTarget.VERSION, b"", CompareResult.EQUAL, 0)
        with pytest.raises(KeyNotProvided):
            commit(store, [None], compares=[bad])

    def test_success_ops_are_looked_at_before_failure_ops(self, store: StoreProtocol) -> None:
        with pytest.raises(ValueProvided):
            commit(store, [PutOp(b"k", b"v", ignore_value=True)], failure=[PutOp(b"")])

    def test_bad_ops_are_found_before_duplicates(self, store: StoreProtocol) -> None:
        with pytest.raises(KeyNotProvided):
            commit(store, [PutOp(b"a"), PutOp(b"a")], failure=[PutOp(b"")])

    def test_refused_txn_leaves_the_store_usable(self, store: StoreProtocol) -> None:
        with pytest.raises(DuplicateKey):
            commit(store, [PutOp(b"a"), PutOp(b"a")])
        assert put(store, b"a").revision == 2
