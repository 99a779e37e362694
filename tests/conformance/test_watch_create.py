"""Watchers and their events: ids, refusals, intervals, filters (etcd v3rpc/watch.go, mvcc)."""

from __future__ import annotations

import pytest

from kvstore.errors import Compacted
from kvstore.keys import FROM_KEY, prefix_end
from kvstore.store.interface import StoreProtocol
from kvstore.types import Event, EventType, KeyValue, PutOp
from tests.support.ops import (
    ALL,
    Watching,
    commit,
    delete,
    event_keys,
    get,
    put,
    revision,
)
from tests.support.sites import store_version

DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
EMPTY_RANGE = "mvcc: watcher range is empty"


class TestIds:
    def test_first_watcher_is_0_and_the_answer_has_the_current_revision(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 102
        put(store, b"a")
        created = watching.create(b"k")
        assert (
            created.created,
            created.canceled,
            created.watch_id,
            created.revision,
        ) == (True, False, 0, 2)
        assert (
            list(created.events),
            created.compact_revision,
            created.cancel_reason,
        ) == ([], 0, "")

    def test_ids_count_up_and_skip_those_in_use(self, watching: Watching) -> None:
        # behaviour 103
        assert [watching.create(b"k").watch_id for _ in range(2)] == [0, 1]
        assert watching.create(b"k", watch_id=3).watch_id == 3
        assert [watching.create(b"k").watch_id for _ in range(2)] == [2, 4]

    def test_explicit_ids_are_taken_as_given(self, watching: Watching) -> None:
        # behaviour 104
        for watch_id in (7, -5, 2**62, -(2**63)):
            created = watching.create(b"k", watch_id=watch_id)
            assert (watch_id, False) == (created.watch_id, created.canceled)

    def test_id_in_use_is_refused_and_its_watcher_lives_on(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 104
        watching.create(b"k", watch_id=7)
        refused = watching.create(b"k", watch_id=7)
        assert (refused.canceled, refused.cancel_reason) == (True, DUPLICATE_ID)
        assert refused.watch_id == -1
        put(store, b"k")
        assert watching.next().watch_id == 7

    def test_id_is_free_again_after_its_cancel(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        watching.create(b"k", watch_id=7)
        watching.cancel(7)
        assert not watching.create(b"l", watch_id=7).canceled
        put(store, b"k")
        put(store, b"l")
        assert event_keys(watching.events(1, watch_id=7)) == [("PUT", b"l")]

    def test_streams_have_ids_of_their_own(self, store: StoreProtocol, watching: Watching) -> None:
        other = Watching(store)
        assert [each.create(b"k").watch_id for each in (watching, other)] == [0, 0]
        other.close()


class TestInterval:
    @pytest.mark.parametrize(("key", "range_end"), [(b"k", b"k"), (b"k", b"a"), (b"", b"\x00\x00")])
    def test_empty_interval_is_refused_and_the_stream_goes_on(
        self, store: StoreProtocol, watching: Watching, key: bytes, range_end: bytes
    ) -> None:
        # behaviour 105; an empty key stands for one zero byte
        if key == b"":
            assert not watching.create(key, range_end).canceled
            return
        refused = watching.create(key, range_end)
        assert (
            refused.created,
            refused.canceled,
            refused.watch_id,
            refused.cancel_reason,
        ) == (True, True, -1, EMPTY_RANGE)
        assert watching.create(b"k").watch_id == 0
        put(store, b"k")
        assert event_keys(watching.events(1)) == [("PUT", b"k")]

    def test_from_key_sees_it_and_everything_after(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 105
        watching.create(b"m", FROM_KEY)
        for key in (b"a", b"m", b"z", b"l", b"\xff\xff"):
            put(store, key)
        assert [event.kv.key for event in watching.events(3)] == [b"m", b"z", b"\xff\xff"]

    def test_empty_key_with_a_zero_byte_end_sees_everything(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 106
        assert watching.create(b"", FROM_KEY).revision == 1
        written = put(store, b"k", b"v").revision
        message = watching.next()
        assert (written, message.revision) == (2, 2)
        assert event_keys(message.events) == [("PUT", b"k")]

    def test_empty_key_alone_is_the_key_of_one_zero_byte(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        watching.create(b"")
        put(store, b"k")
        put(store, b"\x00")
        assert event_keys(watching.events(1)) == [("PUT", b"\x00")]

    def test_prefix_sees_its_keys_only(self, store: StoreProtocol, watching: Watching) -> None:
        watching.create(b"a/", prefix_end(b"a/"))
        for key in (b"a", b"a/", b"a/b", b"a0", b"a/c"):
            put(store, key)
        assert [event.kv.key for event in watching.events(3)] == [b"a/", b"a/b", b"a/c"]

    def test_single_key_sees_no_longer_one(self, store: StoreProtocol, watching: Watching) -> None:
        watching.create(b"a")
        for key in (b"a0", b"a\x00", b"a"):
            put(store, key)
        assert [event.kv.key for event in watching.events(1)] == [b"a"]


class TestNegativeStart:
    def test_negative_start_revision_is_refused_as_compacted(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 142; 3.4.23 creates the watcher and cancels it afterwards
        refused = watching.create(b"k", start_revision=-3)
        if store_version(store) < (3, 5):
            assert not refused.canceled
            canceled = watching.next()
            assert (canceled.canceled, canceled.compact_revision) == (True, -1)
            return
        assert (True, True, -1, Compacted.message) == (
            refused.created,
            refused.canceled,
            refused.watch_id,
            refused.cancel_reason,
        )
        assert watching.create(b"k").watch_id == 0


class TestCancel:
    def test_canceled_watcher_gets_nothing_more(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 111
        watching.create(b"k")
        put(store, b"k")
        assert len(watching.events(1)) == 1
        canceled = watching.cancel(0)
        assert (
            canceled.created,
            canceled.canceled,
            canceled.watch_id,
            canceled.cancel_reason,
        ) == (False, True, 0, "")
        put(store, b"k")
        assert watching.until_mark() == []

    def test_canceled_unsynced_watcher_gets_nothing_more(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 112
        for n in range(50):
            put(store, b"k", b"%d" % n)
        watching.create(b"k", start_revision=2)
        watching.cancel(0)
        put(store, b"k")
        assert watching.until_mark() == []

    def test_cancel_of_an_unknown_id_is_not_answered(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 113
        watching.create(b"k")
        watching.stream.cancel(99)
        put(store, b"k")
        assert event_keys(watching.next().events) == [("PUT", b"k")]
        assert watching.until_mark() == []

    def test_second_cancel_is_not_answered(self, watching: Watching) -> None:
        watching.create(b"k")
        watching.cancel(0)
        watching.stream.cancel(0)
        assert watching.until_mark() == []

    def test_cancel_leaves_the_other_watchers_alone(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        for _ in range(3):
            watching.create(b"k")
        watching.cancel(1)
        put(store, b"k")
        assert {0, 2} == {watching.next().watch_id, watching.next().watch_id}

    def test_many_overlapping_creates_and_cancels_leave_a_working_stream(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 140, what of it can be seen from outside
        for watch_id in range(1, 101):
            watching.send(b"k", watch_id=watch_id)
            if watch_id % 2:
                watching.stream.cancel(watch_id)
        while len(watching.messages) < 150:
            watching.next()
        put(store, b"k")
        found = [each for each in watching.until_mark() if each.events]
        assert {each.watch_id for each in found} == set(range(2, 101, 2))
        assert len(found) == 50


class TestStreams:
    def test_five_watchers_of_a_stream_each_get_every_event_once(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 114, watchers that were there before
        ids = [watching.create(b"k").watch_id for _ in range(5)]
        for n in range(3):
            put(store, b"k", b"%d" % n)
        received = [watching.next() for _ in range(15)]
        for watch_id in ids:
            mine = [each for each in received if each.watch_id == watch_id]
            assert [event.kv.mod_revision for each in mine for event in each.events] == [2, 3, 4]

    def test_five_watchers_of_the_past_each_get_every_event_once(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviours 114 and 138, watchers that have to catch up
        for n in range(3):
            put(store, b"k", b"%d" % n)
        for _ in range(5):
            watching.send(b"k", start_revision=2)
        found: dict[int, list[int]] = {watch_id: [] for watch_id in range(5)}
        while sum(map(len, found.values())) < 15:
            message = watching.next()
            found[message.watch_id].extend(event.kv.mod_revision for event in message.events)
        assert {watch_id: [2, 3, 4] for watch_id in range(5)} == found

    def test_watchers_on_several_streams_all_get_it(self, store: StoreProtocol) -> None:
        # behaviour 115
        put(store, b"k", b"0")
        streams = [Watching(store) for _ in range(4)]
        for n, stream in enumerate(streams):
            stream.create(b"k", start_revision=2 if n % 2 else 0)
        put(store, b"k", b"1")
        for n, stream in enumerate(streams):
            expected = [2, 3] if n % 2 else [3]
            found = [event.kv.mod_revision for event in stream.events(len(expected))]
            assert expected == found
            stream.close()

    def test_closing_a_stream_while_events_flow_disturbs_no_other(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 135
        watching.create(b"k")
        for n in range(10):
            other = Watching(store)
            other.create(b"k")
            put(store, b"k", b"%d" % n)
            if n % 2:
                other.next()
            other.close()
        assert len(watching.events(10)) == 10

    def test_prev_kv_of_one_watcher_does_not_reach_another(self, store: StoreProtocol) -> None:
        # behaviour 120
        put(store, b"k", b"1")
        plain, rich, same = Watching(store), Watching(store), Watching(store)
        plain.create(b"k")
        rich.create(b"k", prev_kv=True)
        same.create(b"k", prev_kv=True)
        same.create(b"k")
        before = get(store, b"k").kvs[0]
        put(store, b"k", b"2")
        assert [event.prev_kv for event in plain.events(1)] == [None]
        assert [before] == [event.prev_kv for event in rich.events(1)]
        found = {
            message.watch_id: message.events[0].prev_kv for message in (same.next(), same.next())
        }
        assert {0: before, 1: None} == found
        for each in (plain, rich, same):
            each.close()


class TestEvents:
    def test_put_event_has_the_whole_key_value(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 107
        lease = store.lease_grant(3600)
        put(store, b"k", b"1")
        watching.create(b"k")
        written = put(store, b"k", b"2", lease=lease.id).revision
        message = watching.next()
        assert [Event(EventType.PUT, KeyValue(b"k", b"2", 2, written, 2, lease.id))] == list(
            message.events
        )
        assert (0, written, False, False) == (
            message.watch_id,
            message.revision,
            message.created,
            message.canceled,
        )

    def test_delete_event_has_only_key_and_revision(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        put(store, b"k", b"v")
        watching.create(b"k")
        gone = delete(store, b"k").revision
        assert [Event(EventType.DELETE, KeyValue(b"k", b"", 0, gone, 0, 0))] == list(
            watching.next().events
        )

    def test_delete_of_an_interval_is_one_message(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 108
        for key in (b"k1", b"k3", b"k2", b"other"):
            put(store, key)
        watching.create(b"k", prefix_end(b"k"))
        gone = delete(store, *ALL).revision
        message = watching.next()
        expected = [("DELETE", b"k1"), ("DELETE", b"k2"), ("DELETE", b"k3")]
        assert expected == event_keys(message.events)
        assert {gone} == {event.kv.mod_revision for event in message.events}
        assert [each for each in watching.until_mark() if each.events] == []

    def test_txn_is_one_message_in_the_order_of_its_ops(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 116
        watching.create(b"k", prefix_end(b"k"))
        result = commit(store, [PutOp(b"k3"), PutOp(b"other"), PutOp(b"k1"), PutOp(b"k2")])
        message = watching.next()
        assert [event.kv.key for event in message.events] == [b"k3", b"k1", b"k2"]
        assert {result.revision} == {event.kv.mod_revision for event in message.events}
        assert result.revision == message.revision
        assert [each for each in watching.until_mark() if each.events] == []

    def test_creates_modifications_and_deletes_can_be_told_apart(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 121
        watching.create(b"k")
        lease = store.lease_grant(0)
        put(store, b"k", b"1")
        put(store, b"k", b"2")
        delete(store, b"k")
        put(store, b"k", b"3", lease=lease.id)
        events = watching.events(5)
        assert [event.is_create for event in events] == [True, False, False, True, False]
        kinds = ["PUT", "PUT", "DELETE", "PUT", "DELETE"]
        assert kinds == [EventType(event.type).name for event in events]

    def test_only_puts_only_deletes_or_neither(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 118; filters 0 and 1 are NOPUT and NODELETE
        watching.create(b"k", filters=(0,))
        watching.create(b"k", filters=(1,))
        watching.create(b"k", filters=(0, 1))
        watching.create(b"k", filters=(1, 9))
        put(store, b"k")
        delete(store, b"k")
        put(store, b"k")
        found: dict[int, list[str]] = {0: [], 1: [], 2: [], 3: []}
        for message in watching.until_mark():
            assert message.events
            found[message.watch_id] += [kind for kind, _ in event_keys(message.events)]
        assert found == {0: ["DELETE"], 1: ["PUT", "PUT"], 2: [], 3: ["PUT", "PUT"]}

    def test_filters_apply_to_the_past_as_well(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 118
        put(store, b"k")
        delete(store, b"k")
        put(store, b"k")
        watching.create(b"k", start_revision=1, filters=(0,))
        assert event_keys(watching.events(1)) == [("DELETE", b"k")]
        assert [each for each in watching.until_mark() if each.events] == []

    def test_prev_kv_comes_with_changes_and_deletes_but_not_with_creates(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 119
        watching.create(b"k", prev_kv=True)
        first = put(store, b"k", b"1").revision
        second = put(store, b"k", b"2").revision
        delete(store, b"k")
        put(store, b"k", b"3")
        expected = [
            None,
            KeyValue(b"k", b"1", first, first, 1),
            KeyValue(b"k", b"2", first, second, 2),
            None,
        ]
        assert expected == [event.prev_kv for event in watching.events(4)]

    def test_prev_kv_of_past_events_is_the_state_of_then(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 119
        for value in (b"1", b"2", b"3"):
            put(store, b"k", value)
        watching.create(b"k", start_revision=2, prev_kv=True)
        found = [event.prev_kv and event.prev_kv.value for event in watching.events(3)]
        assert found == [None, b"1", b"2"]

    def test_prev_kv_that_was_compacted_is_absent(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        put(store, b"k", b"1")
        put(store, b"k", b"2")
        put(store, b"k", b"3")
        store.compact(3, physical=True)
        watching.create(b"k", start_revision=3, prev_kv=True)
        found = [event.prev_kv and event.prev_kv.value for event in watching.events(2)]
        assert found == [None, b"2"]

    def test_refused_write_makes_no_event(self, store: StoreProtocol, watching: Watching) -> None:
        watching.create(*ALL)
        before = revision(store)
        for wrong in ({"lease": 99}, {"ignore_value": True}):
            with pytest.raises(Exception, match="etcdserver"):
                put(store, b"k", **wrong)
        assert before == revision(store)
        marked = [each for each in watching.until_mark() if each.events]
        assert all(event.kv.key != b"k" for each in marked for event in each.events)
