from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import kvstore
from kvstore import absent, create, lease, mod, ops, present, value, version
from kvstore.errors import (
    Conflict,
    DuplicateKey,
    InvalidRequest,
    KeyNotProvided,
    LeaseNotFound,
)
from kvstore.types import DeleteRangeResult, PutResult, RangeResult


class TestPut:
    def test_each_put_is_one_revision(self, db: Any) -> None:
        assert db.put("k", "1") == PutResult(2)
        assert db.put("k", "2") == PutResult(3)

    def test_the_previous_version_is_told_when_asked_for(self, db: Any) -> None:
        db.put("k", "1")
        assert db.put("k", "2", prev_kv=True).prev_kv.value == b"1"

    def test_if_absent_refuses_an_existing_key(self, db: Any) -> None:
        db.put("k", "1", if_absent=True)
        with pytest.raises(Conflict) as caught:
            db.put("k", "2", if_absent=True)
        assert (caught.value.key, caught.value.expected, caught.value.actual) == (b"k", 0, 2)
        assert db.get("k").value == b"1"

    def test_if_revision_refuses_another_revision(self, db: Any) -> None:
        first = db.put("k", "1").revision
        second = db.put("k", "2", if_revision=first).revision
        with pytest.raises(Conflict) as caught:
            db.put("k", "3", if_revision=first)
        assert caught.value.actual == second

    def test_a_conflict_about_an_absent_key_says_zero(self, db: Any) -> None:
        with pytest.raises(Conflict) as caught:
            db.put("k", "1", if_revision=7)
        assert caught.value.actual == 0

    def test_two_guards_are_refused(self, db: Any) -> None:
        with pytest.raises(InvalidRequest):
            db.put("k", "1", if_absent=True, if_revision=1)

    def test_an_empty_key_is_refused(self, db: Any) -> None:
        with pytest.raises(KeyNotProvided):
            db.put("", "1")

    def test_a_number_is_not_a_value(self, db: Any) -> None:
        with pytest.raises(TypeError):
            db.put("k", 1)

    def test_an_unknown_lease_is_refused(self, db: Any) -> None:
        with pytest.raises(LeaseNotFound):
            db.put("k", "1", lease=5)


class TestDelete:
    @pytest.fixture
    def filled(self, db: Any) -> Any:
        for key in ("a", "b/1", "b/2", "c"):
            db.put(key, "v")
        return db

    @pytest.mark.parametrize(
        ("positional", "named", "deleted"),
        [
            (("a",), {}, 1),
            (("x",), {}, 0),
            (("a", "c"), {}, 3),
            (("a", ""), {}, 0),
            ((), {"prefix": "b/"}, 2),
            ((), {"prefix": ""}, 4),
        ],
    )
    def test_what_is_named_is_deleted(
        self, filled: Any, positional: tuple[str, ...], named: dict[str, str], deleted: int
    ) -> None:
        assert filled.delete(*positional, **named).deleted == deleted
        assert filled.range().count() == 4 - deleted

    def test_a_delete_of_nothing_makes_no_revision(self, filled: Any) -> None:
        assert filled.delete("x") == DeleteRangeResult(5, 0)

    def test_the_previous_versions_are_told_when_asked_for(self, filled: Any) -> None:
        gone = filled.delete(prefix="b/", prev_kv=True)
        assert [kv.key for kv in gone.prev_kvs] == [b"b/1", b"b/2"]

    def test_a_guard_refuses_another_revision(self, filled: Any) -> None:
        with pytest.raises(Conflict) as caught:
            filled.delete("a", if_revision=9)
        assert caught.value.actual == 2
        assert filled.delete("a", if_revision=2).deleted == 1

    def test_nothing_named_is_refused(self, filled: Any) -> None:
        with pytest.raises(InvalidRequest):
            filled.delete()

    def test_a_guarded_interval_is_refused(self, filled: Any) -> None:
        with pytest.raises(InvalidRequest):
            filled.delete(prefix="b/", if_revision=3)


class TestCompareAndSwap:
    def test_the_right_revision_swaps(self, db: Any) -> None:
        swap = db.compare_and_swap("k", "1", 0)
        assert swap
        assert swap.revision == 2

    def test_another_revision_does_not_and_shows_the_key(self, db: Any) -> None:
        db.put("k", "1")
        swap = db.compare_and_swap("k", "2", 9)
        assert not swap
        assert swap.actual == db.get("k")


class TestUpdate:
    def test_it_creates_changes_and_deletes(self, db: Any) -> None:
        def grow(old: bytes | None) -> bytes | None:
            return None if old == b"xx" else (old or b"") + b"x"

        assert db.update("k", grow) == db.get("k") == kvstore.KeyValue(b"k", b"x", 2, 2, 1, 0)
        assert db.update("k", grow) == db.get("k") == kvstore.KeyValue(b"k", b"xx", 2, 3, 2, 0)
        assert db.update("k", grow) is None
        assert db.get("k") is None

    def test_an_absent_key_may_stay_absent(self, db: Any) -> None:
        assert db.update("k", lambda old: None) is None
        assert db.revision == 1

    def test_the_lease_stays(self, db: Any) -> None:
        granted = db.lease_grant(60)
        db.put("k", "1", lease=granted)
        assert db.update("k", lambda old: "2").lease == granted.id
        assert db.get("k").lease == granted.id

    @pytest.mark.parametrize("retries", [0, 2])
    def test_it_gives_up_after_its_retries(self, open_db: Any, retries: int) -> None:
        tries: list[bytes | None] = []
        db = open_db()
        store = db._target if open_db.face == "loop" else db

        def interrupted(old: bytes | None) -> str:
            tries.append(old)
            return "mine"

        # Every read is one write late.
        shell = store._shell
        stale = kvstore.KeyValue(b"k", b"old", 1, 1, 1, 0)

        class Late:
            def __getattr__(self, name: str) -> Any:
                return getattr(shell, name)

            def get(self, key: bytes, revision: int = 0) -> kvstore.KeyValue:
                return stale

        store._shell = Late()
        with pytest.raises(Conflict):
            db.update("k", interrupted, retries=retries)
        assert tries == [b"old"] * (retries + 1)


def add_one(old: bytes | None) -> str:
    return str(int(old or 0) + 1)


class TestManyWriters:
    def test_no_update_of_any_thread_is_lost(self, tmp_path: Path) -> None:
        with kvstore.open(tmp_path / "data", durability="process-crash") as db:

            def work() -> None:
                for _ in range(25):
                    db.update("n", add_one, retries=1000)

            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            kv = db.get("n")
            assert kv is not None
            assert (kv.value, kv.version, db.revision) == (b"100", 100, 101)

    def test_no_update_of_any_task_is_lost(self, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "data"
            async with kvstore.aopen(path, durability="process-crash") as db:
                await asyncio.gather(*(db.update("n", add_one) for _ in range(50)))
                kv = await db.get("n")
                assert kv is not None
                assert (kv.value, kv.version, db.revision) == (b"50", 50, 51)

        asyncio.run(main())


class TestTxn:
    def test_the_first_branch_runs_when_all_conditions_hold(self, db: Any) -> None:
        db.put("k", "1")
        result = (
            db.if_(mod("k") == 2, value("k") != "9", absent("x"))
            .then(ops.put("k", "2"), ops.get("k"), ops.delete("x"))
            .else_(ops.get("k"))
            .commit()
        )
        assert result.succeeded
        put, got, gone = result.responses
        assert isinstance(put, PutResult)
        assert isinstance(got, RangeResult)
        assert got.kvs[0].value == b"2"
        assert isinstance(gone, DeleteRangeResult)

    def test_the_other_branch_runs_else(self, db: Any) -> None:
        result = db.if_(present("k")).else_(ops.put("k", "new")).commit()
        assert not result.succeeded
        assert db.get("k").value == b"new"

    def test_all_writes_share_one_revision(self, db: Any) -> None:
        db.txn(success=[ops.put("a", "1"), ops.put("b", "1")])
        assert db.get("a").mod_revision == db.get("b").mod_revision == 2

    def test_transactions_nest(self, db: Any) -> None:
        inner = ops.txn([absent("k")], [ops.put("k", "1")])
        assert db.txn(success=[inner]).responses[0].succeeded
        assert db.get("k").value == b"1"

    def test_one_key_twice_is_refused(self, db: Any) -> None:
        with pytest.raises(DuplicateKey):
            db.if_().then(ops.put("k", "1"), ops.put("k", "2")).commit()

    @pytest.mark.parametrize(
        ("compare", "holds"),
        [
            (mod("k") == 3, True),
            (mod("k") >= 3, True),
            (mod("k") > 3, False),
            (create("k") == 2, True),
            (create("k") < 2, False),
            (version("k") <= 2, True),
            (version("k") != 2, False),
            (value("k") == b"2", True),
            (value("k") > "1", True),
            (value("k") < "1", False),
            (value("x") != "1", False),
            (lease("k") == 0, True),
            (version("", prefix=True) > 0, True),
            (version("k", "l") == 2, True),
            (present("x", prefix=True), False),
            (absent("x", prefix=True), True),
            (absent("", prefix=True), False),
        ],
    )
    def test_conditions_mean_what_they_say(
        self, db: Any, compare: kvstore.Compare, *, holds: bool
    ) -> None:
        db.put("k", "1")
        db.put("k", "2")
        assert db.if_(compare).commit().succeeded is holds


class TestCompact:
    def test_the_state_at_the_revision_stays(self, db: Any) -> None:
        db.put("k", "1")
        db.put("k", "2")
        db.compact(3, physical=True)
        assert db.get("k", 3).value == b"2"
        assert db.compact_revision == 3
