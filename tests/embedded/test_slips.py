"""Every public call with every wrong kind of argument: refused at once, and the store goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kvstore
from kvstore import Compare, InvalidRequest, Txn, absent, mod, ops, value
from kvstore.keys import KeyRange
from kvstore.types import CompareResult, CompareTarget, DeleteRangeOp, PutOp, RangeOp

NOT_TEXT = (None, 5, 1.5, True, ["k"], bytearray(b"k"), object())
NOT_KEYS = tuple(wrong for wrong in NOT_TEXT if wrong is not None)  # None: nothing named
NOT_NUMBERS = ("1", b"1", 1.5, True, None, [1], object())
NOT_FLAGS = (1, 0, "yes", None, [], b"")
OUT_OF_RANGE = (-1, 2**63, 2**70)
NOT_OPS = (True, None, "k", 5, mod("k") == 1, ("k", "v"), object())
NOT_CONDITIONS = (True, None, "k", 5, ops.get("k"), mod("k"), object())
NOT_TIMEOUTS = ("1", True, [1], object())

WRONG = (TypeError, InvalidRequest, ValueError)

# What is called, with one wrong argument in the place of `x`.
CALLS: list[tuple[str, Callable[[Any, Any], Any], tuple[Any, ...]]] = [
    ("get key", lambda db, x: db.get(x), NOT_TEXT),
    ("get revision", lambda db, x: db.get("k", x), NOT_NUMBERS + OUT_OF_RANGE),
    ("range key", lambda db, x: db.range(x), NOT_KEYS),
    ("range end", lambda db, x: db.range("a", x), NOT_KEYS),
    ("range prefix", lambda db, x: db.range(prefix=x), NOT_KEYS),
    ("range from", lambda db, x: db.range(from_=x), NOT_KEYS),
    ("range revision", lambda db, x: db.range(revision=x), NOT_NUMBERS + OUT_OF_RANGE),
    ("range limit", lambda db, x: db.range(limit=x), NOT_NUMBERS + OUT_OF_RANGE),
    ("range reverse", lambda db, x: db.range(reverse=x), NOT_FLAGS),
    ("range keys_only", lambda db, x: db.range(keys_only=x), NOT_FLAGS),
    ("at", lambda db, x: db.at(x), (*NOT_NUMBERS, *OUT_OF_RANGE, 0)),
    ("view get", lambda db, x: db.at(1).get(x), NOT_TEXT),
    ("view range", lambda db, x: db.at(1).range(x), NOT_KEYS),
    ("view limit", lambda db, x: db.at(1).range(limit=x), NOT_NUMBERS + OUT_OF_RANGE),
    ("history key", lambda db, x: db.history(x), NOT_TEXT),
    ("history since", lambda db, x: db.history("k", x), NOT_NUMBERS + OUT_OF_RANGE),
    ("changes since", lambda db, x: db.changes(x), (*NOT_NUMBERS, *OUT_OF_RANGE, 0)),
    ("changes until", lambda db, x: db.changes(1, x), NOT_NUMBERS + OUT_OF_RANGE),
    ("changes prefix", lambda db, x: db.changes(1, prefix=x), NOT_KEYS),
    ("changes prev_kv", lambda db, x: db.changes(1, prev_kv=x), NOT_FLAGS),
    ("put key", lambda db, x: db.put(x, "v"), NOT_TEXT),
    ("put value", lambda db, x: db.put("k", x), NOT_TEXT),
    ("put lease", lambda db, x: db.put("k", "v", lease=x), (*NOT_NUMBERS, 2**63, 2**70)),
    ("put if_absent", lambda db, x: db.put("k", "v", if_absent=x), NOT_FLAGS),
    ("put if_revision", lambda db, x: db.put("k", "v", if_revision=x), ("1", 1.5, True, -1, 2**70)),
    ("put prev_kv", lambda db, x: db.put("k", "v", prev_kv=x), NOT_FLAGS),
    ("delete key", lambda db, x: db.delete(x), NOT_TEXT),
    ("delete end", lambda db, x: db.delete("a", x), NOT_KEYS),
    ("delete prefix", lambda db, x: db.delete(prefix=x), NOT_TEXT),
    ("delete from", lambda db, x: db.delete(from_=x), NOT_TEXT),
    ("delete if_revision", lambda db, x: db.delete("k", if_revision=x), ("1", 1.5, True, -1)),
    ("delete prev_kv", lambda db, x: db.delete("k", prev_kv=x), NOT_FLAGS),
    ("swap key", lambda db, x: db.compare_and_swap(x, "v", 0), NOT_TEXT),
    ("swap value", lambda db, x: db.compare_and_swap("k", x, 0), NOT_TEXT),
    (
        "swap revision",
        lambda db, x: db.compare_and_swap("k", "v", x),
        NOT_NUMBERS + OUT_OF_RANGE,
    ),
    ("swap lease", lambda db, x: db.compare_and_swap("k", "v", 0, lease=x), NOT_NUMBERS),
    ("update key", lambda db, x: db.update(x, lambda old: "v"), NOT_TEXT),
    ("update function", lambda db, x: db.update("k", x), (None, 5, "v", b"v")),
    ("update answer", lambda db, x: db.update("k", lambda old: x), NOT_KEYS),
    ("update retries", lambda db, x: db.update("k", lambda old: "v", x), (*NOT_NUMBERS, -1)),
    ("txn conditions", lambda db, x: db.txn([x]), NOT_CONDITIONS),
    ("txn conditions alone", lambda db, x: db.txn(x), (5, True, "k", absent("k"))),
    ("txn success", lambda db, x: db.txn([], [x]), NOT_OPS),
    ("txn failure", lambda db, x: db.txn([], [], [x]), NOT_OPS),
    ("txn success alone", lambda db, x: db.txn([], x), (5, True, "k", ops.get("k"))),
    ("txn nested", lambda db, x: db.txn([], [Txn((), (x,))]), NOT_OPS),
    ("txn nested conditions", lambda db, x: db.txn([], [Txn((x,))]), NOT_CONDITIONS),
    ("txn nested branch", lambda db, x: db.txn([], [Txn((), x)]), (5, "k", iter([]))),
    ("if_", lambda db, x: db.if_(x).commit(), NOT_CONDITIONS),
    ("builder if_", lambda db, x: db.if_().if_(x).commit(), NOT_CONDITIONS),
    ("then", lambda db, x: db.if_().then(x).commit(), NOT_OPS),
    ("else_", lambda db, x: db.if_(absent("zz")).else_(x).commit(), NOT_OPS),
    ("compact revision", lambda db, x: db.compact(x), (*NOT_NUMBERS, *OUT_OF_RANGE, 0)),
    ("compact physical", lambda db, x: db.compact(1, physical=x), NOT_FLAGS),
    ("watch key", lambda db, x: db.watch(x), NOT_KEYS),
    ("watch end", lambda db, x: db.watch("a", x), NOT_KEYS),
    ("watch prefix", lambda db, x: db.watch(prefix=x), NOT_KEYS),
    ("watch from", lambda db, x: db.watch(from_=x), NOT_KEYS),
    ("watch since", lambda db, x: db.watch(since=x), NOT_NUMBERS + OUT_OF_RANGE),
    ("watch prev_kv", lambda db, x: db.watch(prev_kv=x), NOT_FLAGS),
    ("lease ttl", lambda db, x: db.lease(x), (*NOT_NUMBERS, *OUT_OF_RANGE, 0)),
    ("lease id", lambda db, x: db.lease(10, x), (*NOT_NUMBERS, 2**63, 2**70)),
    ("lease_grant ttl", lambda db, x: db.lease_grant(x), (*NOT_NUMBERS, *OUT_OF_RANGE, 0)),
    ("lease_grant id", lambda db, x: db.lease_grant(10, x), (*NOT_NUMBERS, 2**63, 2**70)),
    ("lease_revoke", lambda db, x: db.lease_revoke(x), (*NOT_NUMBERS, 2**70)),
    ("lease_keep_alive", lambda db, x: db.lease_keep_alive(x), (*NOT_NUMBERS, 2**70)),
    ("lease_time_to_live", lambda db, x: db.lease_time_to_live(x), (*NOT_NUMBERS, 2**70)),
    ("lease_time_to_live keys", lambda db, x: db.lease_time_to_live(1, keys=x), NOT_FLAGS),
    # Operations and conditions that were not made by the functions for it.
    ("PutOp key", lambda db, x: db.txn([], [PutOp(x, b"v")]), (*NOT_TEXT, "k")),
    ("PutOp value", lambda db, x: db.txn([], [PutOp(b"k", x)]), (*NOT_TEXT, "v")),
    ("PutOp lease", lambda db, x: db.txn([], [PutOp(b"k", b"v", x)]), (*NOT_NUMBERS, "", 2**70)),
    ("RangeOp keys", lambda db, x: db.txn([], [RangeOp(x)]), (*NOT_TEXT, (b"a", b"b"))),
    ("RangeOp key", lambda db, x: db.txn([], [RangeOp(KeyRange(x))]), NOT_TEXT),
    ("RangeOp end", lambda db, x: db.txn([], [RangeOp(KeyRange(b"k", x))]), NOT_TEXT),
    ("RangeOp limit", lambda db, x: db.txn([], [RangeOp(KeyRange(b"k"), x)]), NOT_NUMBERS),
    (
        "RangeOp order",
        lambda db, x: db.txn([], [RangeOp(KeyRange(b"k"), sort_order=x)]),
        NOT_NUMBERS,
    ),
    ("DeleteRangeOp", lambda db, x: db.txn([], [DeleteRangeOp(x)]), NOT_TEXT),
    (
        "Compare operand",
        lambda db, x: db.txn([Compare(KeyRange(b"k"), CompareTarget.MOD, CompareResult.EQUAL, x)]),
        ("1", 1.5, True, None, [1]),
    ),
    ("Compare target", lambda db, x: db.txn([Compare(KeyRange(b"k"), x, 0, 1)]), NOT_NUMBERS),
    ("Compare keys", lambda db, x: db.txn([Compare(x, 0, 0, 1)]), NOT_TEXT),
]
BUILDERS: list[tuple[str, Callable[[Any], Any], tuple[Any, ...]]] = [
    ("ops.get", lambda x: ops.get(x), NOT_TEXT),
    ("ops.get revision", lambda x: ops.get("k", revision=x), NOT_NUMBERS + OUT_OF_RANGE),
    ("ops.get keys_only", lambda x: ops.get("k", keys_only=x), NOT_FLAGS),
    ("ops.range limit", lambda x: ops.range(limit=x), NOT_NUMBERS + OUT_OF_RANGE),
    ("ops.range reverse", lambda x: ops.range(reverse=x), NOT_FLAGS),
    ("ops.put", lambda x: ops.put(x, "v"), NOT_TEXT),
    ("ops.put value", lambda x: ops.put("k", x), NOT_TEXT),
    ("ops.put lease", lambda x: ops.put("k", "v", lease=x), NOT_NUMBERS),
    ("ops.delete", lambda x: ops.delete(x), NOT_TEXT),
    ("ops.txn", lambda x: ops.txn([x]), NOT_CONDITIONS),
    ("ops.txn success", lambda x: ops.txn([], [x]), NOT_OPS),
    ("mod", lambda x: mod(x), NOT_TEXT),
    ("mod end", lambda x: mod("a", x), NOT_KEYS),
    ("mod prefix", lambda x: mod("a", prefix=x), NOT_FLAGS),
    ("mod ==", lambda x: mod("k") == x, NOT_NUMBERS),
    ("mod >=", lambda x: mod("k") >= x, NOT_NUMBERS),
    ("mod <=", lambda x: mod("k") <= x, NOT_NUMBERS),
    ("lease ==", lambda x: kvstore.lease("k") == x, NOT_NUMBERS),
    ("value ==", lambda x: value("k") == x, NOT_TEXT),
    ("open path", lambda x: kvstore.open(x), (None, 5, True, "", ["d"], object())),
    ("open durability", lambda x: kvstore.open(":memory:", durability=x), (None, 5, "", [])),
    ("open options", lambda x: kvstore.open(":memory:", options=x), (5, "", {}, True)),
    ("aopen path", lambda x: kvstore.aopen(x), (None, 5, True, "", ["d"], object())),
    ("aopen options", lambda x: kvstore.aopen(":memory:", options=x), (5, "", {}, True)),
]


def named(table: list[tuple[Any, ...]]) -> list[Any]:
    return [pytest.param(*rest, id=name) for name, *rest in table]


class TestSlips:
    @pytest.mark.parametrize(("call", "slips"), named(CALLS))
    def test_a_slip_is_refused_and_the_store_goes_on(
        self, db: Any, call: Callable[[Any, Any], Any], slips: tuple[Any, ...]
    ) -> None:
        db.put("k", "before")
        revision = db.revision
        for slip in slips:
            with pytest.raises(WRONG):
                call(db, slip)
        assert db.revision == revision
        assert db.put("k", "after").revision == revision + 1
        assert db.get("k").value == b"after"

    @pytest.mark.parametrize(("call", "slips"), named(BUILDERS))
    def test_a_slip_of_what_builds_is_refused(
        self, call: Callable[[Any], Any], slips: tuple[Any, ...]
    ) -> None:
        for slip in slips:
            with pytest.raises(WRONG):
                call(slip)

    @pytest.mark.parametrize("timeout", NOT_TIMEOUTS)
    def test_a_timeout_is_a_number(self, db: Any, timeout: Any) -> None:
        with db.watch(since=1) as watch:
            with pytest.raises(TypeError):
                watch.next(timeout)
            with pytest.raises(ValueError, match="NaN"):
                watch.next(float("nan"))
            db.put("k", "v")
            assert watch.next(float("inf")).revision == 2
            assert watch.next(-1) is None

    def test_a_timeout_longer_than_can_be_waited_is_cut(self, db: Any) -> None:
        with db.watch(since=1) as watch:
            db.put("k", "v")
            assert watch.next(1e300).revision == 2

    def test_other_threads_write_on(self, tmp_path: Path) -> None:
        done: list[int] = []

        def write() -> None:
            done.extend(db.put("k", str(number)).revision for number in range(50))

        with kvstore.open(tmp_path / "data") as db:
            threads = [threading.Thread(target=write) for _ in range(3)]
            for thread in threads:
                thread.start()
            for _, call, slips in CALLS:
                for slip in slips:
                    with pytest.raises(WRONG):
                        call(db, slip)
            for thread in threads:
                thread.join()
        assert sorted(done) == list(range(2, 152))


class Whole:
    """A whole number of another library, as numpy has them."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number


class Text(bytes):
    """A kind of bytes that compares, and becomes bytes, as it likes."""

    __hash__ = None  # type: ignore[assignment]

    def __bytes__(self) -> bytes:
        return Text(b"another")


class Encoded(str):
    """A kind of str that is encoded as it likes."""

    def encode(self, *args: Any) -> Any:
        return "no bytes"


class TestTaken:
    def test_what_is_a_whole_number_is_one(self, db: Any) -> None:
        first = db.put("k", "1").revision
        db.put("k", "2")
        assert db.get("k", Whole(first)).value == b"1"
        assert db.lease_grant(Whole(60), Whole(7)).id == 7
        db.put("l", "1", lease=Whole(7))
        assert db.if_(mod("k") == Whole(3), mod("k") >= Whole(3)).commit().succeeded

    def test_a_kind_of_bytes_becomes_bytes(self, db: Any) -> None:
        db.put(Text(b"k"), Text(b"v"))
        assert type(db.get("k").key) is bytes
        assert db.get(Text(b"k")).value == b"v"

    def test_a_kind_of_str_becomes_bytes(self, db: Any) -> None:
        db.put(Encoded("k"), Encoded("v"))
        assert type(db.get("k").key) is bytes
        assert db.get(Encoded("k")).value == b"v"
        db.put("l", "v")

    def test_a_path_is_text_bytes_or_a_path(self, open_db: Any, tmp_path: Path) -> None:
        for path in (tmp_path / "a", str(tmp_path / "b"), bytes(tmp_path / "c")):
            open_db(path).put("k", "v")
        assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b", "c"]
