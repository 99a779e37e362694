from __future__ import annotations

from typing import Any

import pytest

import kvstore
from kvstore.embedded.ranges import PAGE_KEYS
from kvstore.errors import Compacted, FutureRevision, InvalidRequest, KeyNotProvided
from kvstore.types import PutOp


def keys_of(found: Any) -> list[bytes]:
    return [kv.key for kv in found]


def fill(db: Any, count: int) -> None:
    """Keys k00000 up, a hundred per revision."""
    for start in range(0, count, 100):
        puts = [PutOp(b"k%05d" % n, b"v") for n in range(start, min(start + 100, count))]
        db.txn(success=puts)


class TestGet:
    def test_an_absent_key_is_none(self, db: Any) -> None:
        assert db.get("k") is None

    def test_text_and_bytes_name_the_same_key(self, db: Any) -> None:
        db.put("ké", "vé")
        kv = db.get("ké".encode())
        assert (kv.key, kv.value) == ("ké".encode(), "vé".encode())

    def test_all_fields_are_told(self, db: Any) -> None:
        db.put("k", "1")
        db.put("k", "2")
        assert db.get("k") == kvstore.KeyValue(b"k", b"2", 2, 3, 2, 0)

    def test_the_past_is_read_at_its_revision(self, db: Any) -> None:
        first = db.put("k", "1").revision
        db.put("k", "2")
        assert db.get("k", first).value == b"1"

    def test_a_future_revision_is_refused(self, db: Any) -> None:
        with pytest.raises(FutureRevision):
            db.get("k", 99)

    def test_an_empty_key_is_refused(self, db: Any) -> None:
        with pytest.raises(KeyNotProvided):
            db.get("")

    def test_a_compacted_revision_is_refused(self, db: Any) -> None:
        db.put("k", "1")
        db.put("k", "2")
        db.compact(3)
        with pytest.raises(Compacted):
            db.get("k", 2)


class TestRange:
    @pytest.fixture
    def filled(self, db: Any) -> Any:
        for key in ("a", "b/1", "b/2", "c", "\udcff".encode("utf-8", "surrogateescape")):
            db.put(key, "v")
        return db

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({}, [b"a", b"b/1", b"b/2", b"c", b"\xff"]),
            ({"key": "b/2"}, [b"b/2"]),
            ({"key": "b"}, []),
            ({"from_": "b/2"}, [b"b/2", b"c", b"\xff"]),
            ({"from_": ""}, [b"a", b"b/1", b"b/2", b"c", b"\xff"]),
            ({"from_": "b", "end": "c"}, [b"b/1", b"b/2"]),
            ({"end": "b/2"}, [b"a", b"b/1"]),
            ({"key": "b", "end": "c"}, [b"b/1", b"b/2"]),
            ({"key": "c", "end": "a"}, []),
            ({"key": "a", "end": ""}, []),
            ({"key": "a", "end": b"\0"}, []),
            ({"prefix": "b/"}, [b"b/1", b"b/2"]),
            ({"prefix": ""}, [b"a", b"b/1", b"b/2", b"c", b"\xff"]),
            ({"prefix": b"\xff"}, [b"\xff"]),
            ({"limit": 2}, [b"a", b"b/1"]),
            ({"limit": 2, "reverse": True}, [b"\xff", b"c"]),
        ],
    )
    def test_an_interval_gives_its_keys_in_order(
        self, filled: Any, arguments: dict[str, Any], expected: list[bytes]
    ) -> None:
        found = filled.range(**arguments)
        assert keys_of(found) == expected
        assert found.count() == len(expected)
        first = found.first()
        assert (first and first.key) == (expected[0] if expected else None)

    def test_it_stays_at_its_revision_and_can_be_read_again(self, filled: Any) -> None:
        found = filled.range(prefix="b/")
        filled.delete(prefix="")
        assert keys_of(found) == keys_of(found) == [b"b/1", b"b/2"]
        assert found.revision == 6

    def test_keys_only_leaves_the_values_out(self, filled: Any) -> None:
        assert {kv.value for kv in filled.range(keys_only=True)} == {b""}

    @pytest.mark.parametrize(
        "named",
        [
            {"key": "b"},
            {"key": "b", "end": "c"},
            {"end": "b/2"},
            {"prefix": "b"},
            {"from_": "b"},
            {"from_": "b", "end": "b/2"},
        ],
        ids=str,
    )
    def test_range_watch_and_delete_mean_the_same_keys(
        self, filled: Any, named: dict[str, str]
    ) -> None:
        ranged = keys_of(filled.range(**named))
        with filled.watch(since=1, **named) as watch:
            watched = []
            while batch := watch.next(0.01):
                watched += [event.kv.key for event in batch.events]
        deleted = keys_of(filled.delete(prev_kv=True, **named).prev_kvs)
        assert ranged == watched == deleted

    @pytest.mark.parametrize("wrong", [{"key": "a"}, {"prefix": "a"}])
    def test_from_excludes_a_key_and_a_prefix(self, db: Any, wrong: dict[str, str]) -> None:
        for call in (db.range, db.watch, db.delete):
            with pytest.raises(InvalidRequest):
                call(from_="a", **wrong)

    def test_an_empty_key_is_refused(self, db: Any) -> None:
        for call in (db.get, db.range, db.watch, db.delete):
            with pytest.raises(KeyNotProvided):
                call("")

    def test_a_prefix_and_an_end_exclude_each_other(self, db: Any) -> None:
        with pytest.raises(InvalidRequest):
            db.range("a", prefix="b")

    def test_a_negative_limit_is_refused(self, db: Any) -> None:
        with pytest.raises(InvalidRequest):
            db.range(limit=-1)

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("limit", [0, PAGE_KEYS - 1, PAGE_KEYS, PAGE_KEYS + 1])
    def test_pages_join_without_a_seam(self, db: Any, limit: int, *, reverse: bool) -> None:
        count = 2 * PAGE_KEYS + 1
        fill(db, count)
        expected = [b"k%05d" % n for n in range(count)]
        if reverse:
            expected.reverse()
        found = db.range(limit=limit, reverse=reverse)
        assert keys_of(found) == expected[: limit or count]

    def test_a_compaction_between_pages_is_told(self, db: Any) -> None:
        fill(db, 2 * PAGE_KEYS)
        found = iter(db.range())
        next(found)
        db.put("z", "v")
        db.compact(db.revision)
        with pytest.raises(Compacted):
            list(found)


class TestAt:
    def test_a_view_shows_the_past(self, db: Any) -> None:
        db.put("k", "1")
        view = db.at(db.revision)
        db.put("k", "2")
        db.put("l", "1")
        assert view.get("k").value == b"1"
        assert keys_of(view.range()) == [b"k"]

    def test_a_future_revision_is_refused(self, db: Any) -> None:
        with pytest.raises(FutureRevision):
            db.at(2)

    def test_revision_zero_is_refused(self, db: Any) -> None:
        with pytest.raises(InvalidRequest):
            db.at(0)


class TestStats:
    def test_they_count(self, db: Any) -> None:
        db.put("k", "1")
        stats = db.stats()
        assert (stats.revision, stats.keys, stats.leases) == (2, 1, 0)
        assert (db.revision, db.compact_revision) == (2, stats.compact_revision)
