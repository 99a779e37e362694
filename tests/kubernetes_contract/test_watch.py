"""Watches as the watch cache opens them: from R+1, with prev_kv and progress_notify."""

from __future__ import annotations

import pytest

from kvstore.proto import kv_pb2
from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.conftest import Server
from tests.kubernetes_contract.storage import Storage


class TestCreation:
    def test_answer_has_id_and_current_revision(self, storage: Storage, prefix: bytes) -> None:
        revision = storage.create(prefix + b"a")
        created = storage.watch_call().create(shapes.watch(prefix, revision))
        assert (0, revision, False, 0) == (
            created.watch_id,
            created.header.revision,
            created.canceled,
            len(created.events),
        )

    def test_several_asked_for_at_once_are_answered_in_order(
        self, storage: Storage, prefix: bytes
    ) -> None:
        call, revision = storage.watch_call(), storage.revision()
        for n in range(5):
            call.send(shapes.watch(prefix + b"%d/" % n, revision))
        answers = [call.next() for _ in range(5)]
        assert all(each.created for each in answers)
        assert [each.watch_id for each in answers] == [0, 1, 2, 3, 4]
        for n in range(5):
            storage.create(prefix + b"%d/a" % n)
            message = call.next()
            assert (n, 1) == (message.watch_id, len(message.events))

    def test_canceled_watch_is_confirmed_and_silent_and_leaves_the_others(
        self, storage: Storage, prefix: bytes
    ) -> None:
        call, revision = storage.watch_call(), storage.revision()
        first = call.create(shapes.watch(prefix, revision)).watch_id
        second = call.create(shapes.watch(prefix, revision)).watch_id
        call.send(shapes.watch_cancel(first))
        canceled = call.next()
        assert (first, True, 0, "") == (
            canceled.watch_id,
            canceled.canceled,
            canceled.compact_revision,
            canceled.cancel_reason,
        )
        storage.create(prefix + b"a")
        assert {second} == {each.watch_id for each in call.up_to_now(storage)}

    def test_ended_call_leaves_the_calls_of_others(
        self, server: Server, storage: Storage, prefix: bytes
    ) -> None:
        other, revision = Storage(server.target), storage.revision()
        other.watch_call().create(shapes.watch(prefix, revision))
        call = storage.watch_call()
        call.create(shapes.watch(prefix, revision))
        other.close()
        written = storage.create(prefix + b"a")
        assert written == call.events(1)[0].kv.mod_revision


class TestEvents:
    @pytest.fixture
    def events(self, storage: Storage, prefix: bytes) -> list[kv_pb2.Event]:
        """Of a create, an update, a delete and a create of one object."""
        call = storage.watch_call()
        call.create(shapes.watch(prefix, storage.revision()))
        created = storage.create(prefix + b"a", b"1")
        updated = storage.update(prefix + b"a", b"2", created)
        storage.delete(prefix + b"a", updated)
        storage.create(prefix + b"a", b"3")
        return call.events(4)

    def test_create_is_told_by_its_revisions_and_has_no_previous(
        self, events: list[kv_pb2.Event]
    ) -> None:
        for event, value in ((events[0], b"1"), (events[3], b"3")):
            assert (kv_pb2.Event.PUT, value) == (event.type, event.kv.value)
            assert event.kv.create_revision == event.kv.mod_revision
            assert not event.HasField("prev_kv")

    def test_update_has_the_whole_previous_object(self, events: list[kv_pb2.Event]) -> None:
        created, updated = events[:2]
        assert (updated.type, updated.kv.value) == (kv_pb2.Event.PUT, b"2")
        assert created.kv.mod_revision == updated.kv.create_revision
        assert created.kv == updated.prev_kv

    def test_delete_has_key_and_revision_and_the_whole_previous_object(
        self, events: list[kv_pb2.Event]
    ) -> None:
        updated, deleted = events[1:3]
        bare = kv_pb2.KeyValue(key=updated.kv.key, mod_revision=updated.kv.mod_revision + 1)
        assert (kv_pb2.Event.DELETE, bare) == (deleted.type, deleted.kv)
        assert updated.kv == deleted.prev_kv

    def test_header_is_not_below_the_events(self, storage: Storage, prefix: bytes) -> None:
        call = storage.watch_call()
        call.create(shapes.watch(prefix, storage.revision()))
        last = storage.fill(prefix, 10)[-1]
        seen = 0
        while seen < last:
            message = call.next()
            seen = message.events[-1].kv.mod_revision
            assert message.header.revision >= seen

    def test_failed_transactions_make_none(self, storage: Storage, prefix: bytes) -> None:
        call = storage.watch_call()
        created = storage.create(prefix + b"a")
        call.create(shapes.watch(prefix, created))
        storage.txn(shapes.optimistic_put(prefix + b"a", b"2", 0))
        storage.txn(shapes.optimistic_put(prefix + b"a", b"2", created - 1))
        storage.txn(shapes.optimistic_delete(prefix + b"a", created - 1))
        assert not [each for each in call.up_to_now(storage) if each.events]

    def test_other_resource_types_are_not_told(self, storage: Storage, prefix: bytes) -> None:
        call = storage.watch_call()
        call.create(shapes.watch(prefix, storage.revision()))
        storage.create(prefix.rstrip(b"/"))
        storage.create(prefix.rstrip(b"/") + b"0")
        storage.create(prefix.rstrip(b"/") + b"-status/a")
        assert not [each for each in call.up_to_now(storage) if each.events]


class TestStart:
    def test_what_was_written_since_the_list_comes_first_and_once(
        self, storage: Storage, prefix: bytes
    ) -> None:
        revisions = storage.fill(prefix, 3)
        listed = storage.range(shapes.list_page(prefix)).header.revision
        missed = [
            storage.update(prefix + b"0000", b"2", revisions[0]),
            storage.delete(prefix + b"0001", revisions[1]),
        ]
        call = storage.watch_call()
        call.create(shapes.watch(prefix, listed))
        missed.append(storage.create(prefix + b"new"))
        events = call.events(3)
        assert missed == [event.kv.mod_revision for event in events]
        assert [event.prev_kv.value for event in events] == [b"v", b"v", b""]

    def test_future_start_waits_for_its_revision(self, storage: Storage, prefix: bytes) -> None:
        now = storage.revision()
        call = storage.watch_call()
        created = call.create(shapes.watch(prefix, now + 2))
        assert (now, False) == (created.header.revision, created.canceled)
        revisions = storage.fill(prefix, 4)
        assert revisions[2:] == [event.kv.mod_revision for event in call.events(2)]


class TestCompaction:
    def test_start_below_it_is_created_and_then_canceled_with_its_revision(
        self, storage: Storage, prefix: bytes
    ) -> None:
        revisions = storage.fill(prefix, 5)
        storage.compact(shapes.compact(revisions[3]))
        call = storage.watch_call()
        created = call.create(shapes.watch(prefix, revisions[1]))  # from revisions[2]
        assert (created.canceled, created.compact_revision) == (False, 0)
        canceled = call.next()
        assert (created.watch_id, True, revisions[3], 0) == (
            canceled.watch_id,
            canceled.canceled,
            canceled.compact_revision,
            len(canceled.events),
        )

    def test_start_at_it_gets_everything_from_it(self, storage: Storage, prefix: bytes) -> None:
        revisions = storage.fill(prefix, 5)
        storage.compact(shapes.compact(revisions[2]))
        call = storage.watch_call()
        call.create(shapes.watch(prefix, revisions[1]))
        assert revisions[2:] == [event.kv.mod_revision for event in call.events(3)]

    def test_canceled_one_leaves_the_others_of_its_call(
        self, storage: Storage, prefix: bytes
    ) -> None:
        revisions = storage.fill(prefix, 4)
        call = storage.watch_call()
        good = call.create(shapes.watch(prefix, revisions[3])).watch_id
        storage.compact(shapes.compact(revisions[3]))
        call.create(shapes.watch(prefix, revisions[0]))
        assert call.next().compact_revision == revisions[3]
        written = storage.create(prefix + b"a")
        assert [written] == [event.kv.mod_revision for event in call.events(1, good)]

    def test_watch_that_is_up_to_date_does_not_notice_it(
        self, storage: Storage, prefix: bytes
    ) -> None:
        call = storage.watch_call()
        call.create(shapes.watch(prefix, storage.revision()))
        revisions = storage.fill(prefix, 5)
        call.events(5)
        storage.compact(shapes.compact(revisions[-1]))
        written = storage.create(prefix + b"a")
        (event,) = call.events(1)
        assert (written, 0) == (event.kv.mod_revision, call.messages[-1].compact_revision)

    @pytest.mark.parametrize("is_late", [False, True], ids=["synced", "resumed"])
    def test_previous_object_is_there_when_its_revision_was_compacted(
        self, storage: Storage, prefix: bytes, is_late: bool
    ) -> None:
        # An update or a delete without it ends the watch of the API server.
        first, second, *_, last = storage.fill(prefix, 6)
        call = storage.watch_call()
        if not is_late:
            call.create(shapes.watch(prefix, last))
        storage.compact(shapes.compact(last))
        storage.update(prefix + b"0000", b"2", first)
        storage.delete(prefix + b"0001", second)
        if is_late:
            call.create(shapes.watch(prefix, last))
        events = call.events(2)
        assert [(first, b"v"), (second, b"v")] == [
            (event.prev_kv.mod_revision, event.prev_kv.value) for event in events
        ]
