"""Compares: every target and result, missing keys, intervals (etcd txn/txn.go applyCompare)."""

from __future__ import annotations

import pytest

from kvstore.errors import KeyNotProvided
from kvstore.keys import FROM_KEY
from kvstore.store.interface import StoreProtocol
from kvstore.types import CompareResult, CompareTarget, PutOp
from tests.support.ops import commit, compare, delete, get, put, revision

EQUAL, GREATER = CompareResult.EQUAL, CompareResult.GREATER
LESS, NOT_EQUAL = CompareResult.LESS, CompareResult.NOT_EQUAL
VERSION, CREATE, MOD = CompareTarget.VERSION, CompareTarget.CREATE, CompareTarget.MOD
VALUE, LEASE = CompareTarget.VALUE, CompareTarget.LEASE


def holds(
    store: StoreProtocol,
    target: int,
    key: bytes,
    result: int,
    operand: int | bytes | None,
    range_end: bytes = b"",
) -> bool:
    """Whether a txn of this one compare and nothing else succeeds."""
    only = compare(target, key, result, operand, range_end)  # type: ignore[arg-type]
    return commit(store, compares=[only]).succeeded


@pytest.fixture
def key(store: StoreProtocol) -> bytes:
    """A key at create revision 3, mod revision 5, version 2, value b"m", lease 77."""
    store.lease_grant(3600, 77)
    put(store, b"other")
    put(store, b"k", b"first")
    put(store, b"other")
    put(store, b"k", b"m", lease=77)
    return b"k"


class TestSingleKey:
    @pytest.mark.parametrize(
        ("target", "stored"), [(VERSION, 2), (CREATE, 3), (MOD, 5), (LEASE, 77)]
    )
    def test_numbers_compare_as_numbers(
        self, store: StoreProtocol, key: bytes, target: CompareTarget, stored: int
    ) -> None:
        # behaviour 67
        for operand in (stored - 1, stored, stored + 1):
            expected = {
                EQUAL: stored == operand,
                GREATER: stored > operand,
                LESS: stored < operand,
                NOT_EQUAL: stored != operand,
            }
            assert expected == {
                result: holds(store, target, key, result, operand) for result in CompareResult
            }

    def test_values_compare_as_bytes(self, store: StoreProtocol, key: bytes) -> None:
        # behaviour 67
        for operand in (b"", b"a", b"m", b"m\x00", b"z", b"\xff"):
            expected = {
                EQUAL: operand == b"m",
                GREATER: operand < b"m",
                LESS: operand > b"m",
                NOT_EQUAL: operand != b"m",
            }
            assert expected == {
                result: holds(store, VALUE, key, result, operand) for result in CompareResult
            }

    def test_all_compares_have_to_hold(self, store: StoreProtocol, key: bytes) -> None:
        right = compare(VERSION, key, EQUAL, 2)
        wrong = compare(VERSION, key, EQUAL, 3)
        assert commit(store, compares=[right, right]).succeeded
        assert not commit(store, compares=[right, wrong]).succeeded
        assert not commit(store, compares=[wrong, right]).succeeded


class TestMissingKey:
    @pytest.mark.parametrize("target", [VERSION, CREATE, MOD, LEASE])
    def test_numbers_of_a_missing_key_are_0(
        self, store: StoreProtocol, target: CompareTarget
    ) -> None:
        # behaviour 68
        assert holds(store, target, b"missing", EQUAL, 0)
        assert holds(store, target, b"missing", LESS, 1)
        assert holds(store, target, b"missing", NOT_EQUAL, 1)
        assert not holds(store, target, b"missing", GREATER, 0)
        assert not holds(store, target, b"missing", EQUAL, 1)

    @pytest.mark.parametrize("result", list(CompareResult))
    def test_value_of_a_missing_key_never_compares(
        self, store: StoreProtocol, result: CompareResult
    ) -> None:
        # behaviour 68
        for operand in (b"", b"v"):
            assert not holds(store, VALUE, b"missing", result, operand)

    def test_deleted_key_is_a_missing_key(self, store: StoreProtocol, key: bytes) -> None:
        delete(store, key)
        assert holds(store, VERSION, key, EQUAL, 0)
        assert holds(store, MOD, key, EQUAL, 0)
        assert not holds(store, VALUE, key, NOT_EQUAL, b"v")


class TestOddOperands:
    def test_operand_left_out_is_0_or_empty(self, store: StoreProtocol, key: bytes) -> None:
        assert holds(store, VERSION, b"missing", EQUAL, None)
        assert holds(store, VERSION, key, GREATER, None)
        assert holds(store, VALUE, key, GREATER, None)
        put(store, b"empty", b"")
        assert holds(store, VALUE, b"empty", EQUAL, None)

    def test_operand_of_another_kind_is_0_or_empty(self, store: StoreProtocol, key: bytes) -> None:
        assert holds(store, VERSION, b"missing", EQUAL, b"v")
        assert not holds(store, VERSION, key, EQUAL, b"2")
        put(store, b"empty", b"")
        assert holds(store, VALUE, b"empty", EQUAL, 5)
        assert not holds(store, VALUE, key, EQUAL, 2)

    def test_unknown_target_compares_as_equal(self, store: StoreProtocol, key: bytes) -> None:
        assert holds(store, 9, key, EQUAL, 5)
        assert not holds(store, 9, key, NOT_EQUAL, 5)

    def test_unknown_result_holds(self, store: StoreProtocol, key: bytes) -> None:
        assert holds(store, VERSION, key, 9, 5)


class TestInterval:
    @pytest.fixture(autouse=True)
    def written(self, store: StoreProtocol) -> None:
        for name in (b"foo/a", b"foo/b", b"foo/c"):
            put(store, name, b"x")
        put(store, b"foo/c", b"x")
        put(store, b"goo", b"y")

    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [
            (b"foo/a", b"foo/c", True),
            (b"foo/a", b"foo/c\x00", False),
            (b"foo/", b"foo0", False),
            (b"foo/b", b"", True),
            (b"foo/c", b"foo/d", False),
            (b"foo/a", FROM_KEY, False),
            (b"goo", FROM_KEY, True),
        ],
    )
    def test_every_key_has_to_match(
        self, store: StoreProtocol, start: bytes, end: bytes, expected: bool
    ) -> None:
        # behaviour 62: all keys but foo/c have version 1
        assert expected == holds(store, VERSION, start, EQUAL, 1, end)

    def test_value_of_every_key_has_to_match(self, store: StoreProtocol) -> None:
        # behaviour 62
        assert holds(store, VALUE, b"foo/", EQUAL, b"x", b"foo0")
        assert not holds(store, VALUE, b"foo/", EQUAL, b"x", FROM_KEY)
        assert holds(store, VALUE, b"foo/", NOT_EQUAL, b"z", FROM_KEY)

    def test_empty_interval_is_one_missing_key(self, store: StoreProtocol) -> None:
        # behaviour 62
        for start, end in ((b"x", b"z"), (b"z", b"a"), (b"foo/a", b"foo/a")):
            assert holds(store, VERSION, start, EQUAL, 0, end)
            assert not holds(store, VERSION, start, GREATER, 0, end)
            assert not holds(store, VALUE, start, NOT_EQUAL, b"", end)


class TestRefusals:
    def test_empty_key_is_refused(self, store: StoreProtocol) -> None:
        for range_end in (b"", b"z"):
            with pytest.raises(KeyNotProvided):
                holds(store, VERSION, b"", EQUAL, 0, range_end)


class TestGuardedWrite:
    def test_write_guarded_by_a_mod_revision_happens_once(self, store: StoreProtocol) -> None:
        at = put(store, b"k", b"1").revision
        guard = [compare(MOD, b"k", EQUAL, at)]
        assert commit(store, [PutOp(b"k", b"2")], compares=guard).succeeded
        assert not commit(store, [PutOp(b"k", b"3")], compares=guard).succeeded
        assert (b"2", at + 1) == (get(store, b"k").kvs[0].value, revision(store))
