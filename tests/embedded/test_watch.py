from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import kvstore
from kvstore.embedded.watch import Batch, Inbox
from kvstore.errors import (
    Compacted,
    FutureRevision,
    InvalidRequest,
    StoreClosed,
    WatchCanceled,
)
from kvstore.types import Event, EventType, KeyValue, WatchMessage

WAIT_S = 20.0


def told(batch: Batch | None) -> tuple[int, list[tuple[str, bytes]]]:
    assert batch is not None
    return batch.revision, [(event.type.name, event.kv.key) for event in batch.events]


class TestInbox:
    def test_a_message_of_many_revisions_is_a_batch_each(self) -> None:
        events = [
            Event(EventType.PUT, KeyValue(k, mod_revision=r))
            for k, r in [(b"a", 5), (b"b", 5), (b"a", 7)]
        ]
        inbox = Inbox(4)
        inbox.feed(WatchMessage(1, 9, events))
        assert [told(inbox.pop()), told(inbox.pop())] == [
            (5, [("PUT", b"a"), ("PUT", b"b")]),
            (7, [("PUT", b"a")]),
        ]
        assert inbox.pop() is None
        assert (inbox.revision, inbox.reached) == (7, 7)

    def test_progress_moves_what_is_reached_but_not_what_was_handed_out(self) -> None:
        inbox = Inbox(4)
        inbox.feed(WatchMessage(-1, 9))
        assert (inbox.revision, inbox.reached) == (3, 9)

    def test_a_refusal_raises(self) -> None:
        with pytest.raises(WatchCanceled, match="no"):
            Inbox(1).feed(WatchMessage(-1, 9, created=True, canceled=True, cancel_reason="no"))


class TestWatch:
    def test_each_revision_is_one_batch(self, db: Any) -> None:
        with db.watch() as watch:
            db.txn(success=[kvstore.ops.put("a", "1"), kvstore.ops.put("b", "1")])
            db.delete("a")
            batches = iter(watch)
            assert told(next(batches)) == (2, [("PUT", b"a"), ("PUT", b"b")])
            assert told(next(batches)) == (3, [("DELETE", b"a")])

    def test_nothing_in_time_is_none(self, db: Any) -> None:
        with db.watch() as watch:
            assert watch.next(0.01) is None

    def test_only_what_is_named_is_told(self, db: Any) -> None:
        with db.watch("k") as one, db.watch(prefix="a/") as some, db.watch("b", "d") as between:
            for key in ("a/1", "c", "k"):
                db.put(key, "1")
            assert told(one.next(WAIT_S)) == (4, [("PUT", b"k")])
            assert told(some.next(WAIT_S)) == (2, [("PUT", b"a/1")])
            assert told(between.next(WAIT_S)) == (3, [("PUT", b"c")])

    def test_the_past_comes_first(self, db: Any) -> None:
        for n in range(3):
            db.put("k", str(n))
        with db.watch("k", since=3) as watch:
            db.put("k", "3")
            revisions = [watch.next(WAIT_S).revision for _ in range(3)]
        assert revisions == [3, 4, 5]

    def test_a_watch_is_resumed_after_its_revision(self, db: Any) -> None:
        for n in range(4):
            db.put("k", str(n))
        with db.watch(since=1) as watch:
            watch.next(WAIT_S)
            watch.next(WAIT_S)
        with db.watch(since=watch.revision + 1) as resumed:
            assert resumed.next(WAIT_S).revision == 4

    def test_an_untouched_watch_is_resumed_where_it_began(self, db: Any) -> None:
        with db.watch() as watch:
            pass
        db.put("k", "1")
        with db.watch(since=watch.revision + 1) as resumed:
            assert resumed.next(WAIT_S).revision == 2

    def test_the_previous_version_is_told_when_asked_for(self, db: Any) -> None:
        db.put("k", "1")
        with db.watch("k", prev_kv=True) as watch:
            db.put("k", "2")
            assert watch.next(WAIT_S).events[0].prev_kv.value == b"1"

    def test_compacted_history_cancels(self, db: Any) -> None:
        for n in range(3):
            db.put("k", str(n))
        db.compact(3)
        with db.watch(since=2) as watch, pytest.raises(WatchCanceled) as caught:
            watch.next(WAIT_S)
        assert caught.value.compact_revision == 3

    def test_a_closed_watch_has_ended(self, db: Any) -> None:
        watch = db.watch()
        watch.close()
        watch.close()
        assert list(watch) == []
        with pytest.raises(StoreClosed):
            watch.next(WAIT_S)

    def test_a_closed_store_ends_it_with_an_error(self, db: Any) -> None:
        watch = db.watch()
        db.close()
        with pytest.raises(StoreClosed):
            watch.next(WAIT_S)
        watch.close()

    def test_a_negative_since_is_refused(self, db: Any) -> None:
        with pytest.raises(InvalidRequest):
            db.watch(since=-1)


class TestWaiting:
    def test_a_put_of_another_thread_wakes_it(self) -> None:
        with kvstore.open(":memory:") as db, db.watch() as watch:
            writer = threading.Timer(0.02, db.put, ("k", "1"))
            writer.start()
            assert told(next(watch)) == (2, [("PUT", b"k")])
            writer.join()

    def test_a_close_by_another_thread_ends_the_iteration(self) -> None:
        with kvstore.open(":memory:") as db, db.watch() as watch:
            closer = threading.Timer(0.02, watch.close)
            closer.start()
            assert list(watch) == []
            closer.join()

    def test_a_put_of_another_task_wakes_it(self) -> None:
        async def main() -> None:
            async with kvstore.aopen(":memory:") as db, db.watch() as watch:
                waiting = asyncio.create_task(watch.next())
                await asyncio.sleep(0)
                await db.put("k", "1")
                assert told(await waiting) == (2, [("PUT", b"k")])

        asyncio.run(main())

    def test_a_wait_cut_short_loses_nothing(self) -> None:
        async def main() -> None:
            async with kvstore.aopen(":memory:") as db, db.watch() as watch:
                seen = []
                for n in range(50):
                    putting = asyncio.create_task(db.put("k", str(n)))
                    if batch := await watch.next(0):
                        seen.append(batch.revision)
                    await putting
                while batch := await watch.next(0.05):
                    seen.append(batch.revision)
                assert seen == list(range(2, 52))

        asyncio.run(main())


class TestChanges:
    @pytest.fixture
    def filled(self, db: Any) -> Any:
        db.put("a", "1")
        db.put("b", "1")
        db.delete("a")
        db.put("a", "2")
        return db

    def test_all_changes_are_replayed(self, filled: Any) -> None:
        assert [told(batch) for batch in filled.changes(1)] == [
            (2, [("PUT", b"a")]),
            (3, [("PUT", b"b")]),
            (4, [("DELETE", b"a")]),
            (5, [("PUT", b"a")]),
        ]

    @pytest.mark.parametrize(
        ("since", "until", "revisions"), [(3, 4, [3, 4]), (5, 5, [5]), (4, 3, []), (5, 0, [5])]
    )
    def test_both_ends_are_included(
        self, filled: Any, since: int, until: int, revisions: list[int]
    ) -> None:
        assert [batch.revision for batch in filled.changes(since, until)] == revisions

    def test_a_prefix_narrows_them(self, filled: Any) -> None:
        assert [batch.revision for batch in filled.changes(1, prefix="b")] == [3]

    def test_no_change_of_interest_ends_too(self, filled: Any) -> None:
        assert list(filled.changes(1, prefix="x")) == []

    def test_they_end_where_the_store_was(self, filled: Any) -> None:
        changes = filled.changes(5)
        filled.put("z", "1")
        assert [batch.revision for batch in changes] == [5]

    def test_a_replay_longer_than_a_message_is_whole(self, db: Any) -> None:
        for n in range(1500):
            db.put("k", str(n))
        assert [batch.revision for batch in db.changes(1)] == list(range(2, 1502))

    def test_compacted_history_is_told(self, filled: Any) -> None:
        filled.compact(4)
        with pytest.raises(Compacted) as caught:
            list(filled.changes(2))
        assert caught.value.compact_revision == 4

    def test_the_future_is_refused(self, filled: Any) -> None:
        with pytest.raises(FutureRevision):
            filled.changes(1, 6)

    def test_revision_zero_is_refused(self, filled: Any) -> None:
        with pytest.raises(InvalidRequest):
            filled.changes(0)


class TestHistory:
    def test_every_version_and_deletion_is_told(self, db: Any) -> None:
        db.put("k", "1")
        db.put("l", "1")
        db.delete("k")
        db.put("k", "2")
        history = list(db.history("k"))
        assert [(event.type.name, event.kv.mod_revision) for event in history] == [
            ("PUT", 2),
            ("DELETE", 4),
            ("PUT", 5),
        ]
        assert [event.kv.mod_revision for event in db.history("k", since=3)] == [4, 5]

    def test_it_begins_with_what_a_compaction_left(self, db: Any) -> None:
        for n in range(3):
            db.put("k", str(n))
        db.put("l", "1")
        db.compact(3)
        assert [event.kv.value for event in db.history("k")] == [b"1", b"2"]
        assert [event.kv.value for event in db.history("l")] == [b"1"]
        with pytest.raises(Compacted):
            list(db.history("k", since=2))
