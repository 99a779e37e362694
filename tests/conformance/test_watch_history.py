"""Watching the past, the future and both at once; slow readers; compaction under a watch."""

from __future__ import annotations

import threading

import pytest

from kvstore.keys import KeyRange
from kvstore.store.interface import StoreProtocol
from kvstore.types import PutOp, WatchCreate, WatchMessage
from tests.support.ops import (
    ALL,
    Watching,
    commit,
    delete,
    event_keys,
    get_all,
    put,
    revision,
)
from tests.support.sites import Site
from tests.support.watch_guarantees import History, Recording, violations


def mod_revisions(message: WatchMessage) -> list[int]:
    return [event.kv.mod_revision for event in message.events]


class TestStartRevision:
    def test_past_is_replayed_and_the_present_follows(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 117
        put(store, b"k1", b"1")
        commit(store, [PutOp(b"k1", b"2"), PutOp(b"k2", b"2"), PutOp(b"k3", b"2")])
        delete(store, b"k2")
        watching.create(*ALL, start_revision=1)
        put(store, b"k4", b"5")
        expected = [
            ("PUT", b"k1"),
            *[("PUT", key) for key in (b"k1", b"k2", b"k3")],
            ("DELETE", b"k2"),
            ("PUT", b"k4"),
        ]
        events = watching.events(6)
        assert expected == event_keys(events)
        assert [event.kv.mod_revision for event in events] == [2, 3, 3, 3, 4, 5]

    def test_start_in_the_middle_leaves_out_what_was_before(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        for n in range(5):
            put(store, b"k", b"%d" % n)
        watching.create(b"k", start_revision=4)
        assert [event.kv.mod_revision for event in watching.events(3)] == [4, 5, 6]

    def test_catch_up_message_has_the_current_revision(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        put(store, b"k")
        put(store, b"k")
        put(store, b"other")
        watching.create(b"k", start_revision=2)
        message = watching.next()
        assert (mod_revisions(message), message.revision) == ([2, 3], 4)

    def test_start_at_the_next_revision_waits_for_it(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        put(store, b"k")
        watching.create(b"k", start_revision=3)
        put(store, b"k")
        assert mod_revisions(watching.next()) == [3]

    def test_start_in_the_future_gets_no_earlier_event(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 109
        watching.create(b"k", start_revision=6)
        for n in range(6):
            put(store, b"k", b"%d" % n)
        assert [event.kv.mod_revision for event in watching.events(2)] == [6, 7]

    def test_start_in_the_future_in_the_middle_of_writes_to_other_keys(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 109: the first event is at the first write of the key at or after the start
        watching.create(b"k", start_revision=4)
        for key in (b"k", b"x", b"x", b"x", b"k"):
            put(store, key)
        assert [event.kv.mod_revision for event in watching.events(1)] == [6]

    def test_creates_racing_with_puts_lose_and_repeat_nothing(self, store: StoreProtocol) -> None:
        # behaviour 110
        stop = threading.Event()

        def write() -> None:
            n = 0
            while not stop.is_set() and n < 400:
                put(store, b"k", b"%d" % n)
                n += 1

        writer = threading.Thread(target=write)
        writer.start()
        watchers = []
        for _ in range(8):
            watching = Watching(store)
            at = revision(store)
            watching.create(b"k", start_revision=at + 1)
            watchers.append((at, watching))
        stop.set()
        writer.join()
        last = put(store, b"k", b"end").revision
        for at, watching in watchers:
            expected = list(range(at + 1, last + 1))
            assert expected == [e.kv.mod_revision for e in watching.events(len(expected))]
            watching.close()

    def test_writes_racing_with_a_catching_up_watcher_come_once_and_in_order(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviours 110 and 117
        for n in range(200):
            put(store, b"k", b"%d" % n)
        writer = threading.Thread(target=lambda: [put(store, b"k", b"w") for _ in range(100)])
        writer.start()
        watching.create(b"k", start_revision=2)
        events = watching.events(300)
        writer.join()
        assert list(range(2, 302)) == [event.kv.mod_revision for event in events]


class TestBatches:
    @pytest.mark.slow
    def test_long_past_comes_in_batches_of_at_most_1000_revisions(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviours 129 and 137
        writers = [
            threading.Thread(target=lambda: [put(store, b"k") for _ in range(625)])
            for _ in range(4)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        watching.create(b"k", start_revision=1)
        messages: list[WatchMessage] = []
        while sum(len(message.events) for message in messages) < 2500:
            messages.append(watching.next())
        assert [len(message.events) for message in messages] == [1000, 1000, 500]
        assert {2501} == {message.revision for message in messages}
        assert list(range(2, 2502)) == [
            each for message in messages for each in mod_revisions(message)
        ]

    def test_whole_revisions_stay_together_in_a_batch(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        for _ in range(30):
            commit(store, [PutOp(b"k%02d" % n) for n in range(50)])
        watching.create(*ALL, start_revision=1)
        messages: list[WatchMessage] = []
        while sum(len(message.events) for message in messages) < 1500:
            messages.append(watching.next())
        starts = [mod_revisions(message)[0] for message in messages]
        assert len(starts) == len(set(starts))
        recording = Recording.of(
            WatchCreate(KeyRange(*ALL), 1), watching.messages, 0, revision(store)
        )
        assert violations(recording, History.read(store)) == []


class TestSlowReader:
    @pytest.mark.slow
    def test_slow_reader_holds_no_writer_and_gets_every_event(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 136
        watching.create(b"k")
        for n in range(300):
            put(store, b"k", b"%05d" % n * 4000)
        events = watching.events(300)
        assert list(range(2, 302)) == [event.kv.mod_revision for event in events]
        assert events[-1].kv.value == b"00299" * 4000

    def test_compaction_behind_a_slow_reader_leaves_no_silent_gap(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 124
        watching.create(b"k")
        for n in range(200):
            put(store, b"k", b"%05d" % n * 1000)
        store.compact(revision(store), physical=True)
        expected = 2
        while expected < 202:
            message = watching.next()
            if message.canceled:
                assert message.compact_revision == 201
                return
            for at in mod_revisions(message):
                assert expected == at
                expected += 1

    def test_compaction_while_a_watcher_replays_leaves_no_silent_gap(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 124
        for n in range(1500):
            put(store, b"k", b"%d" % n)
        watching.send(b"k", start_revision=2)
        store.compact(1400)
        expected = 2
        while expected < 1502:
            message = watching.next()
            if message.canceled:
                assert (message.compact_revision, message.revision) == (1400, 0)
                return
            for at in mod_revisions(message):
                assert expected == at
                expected += 1


class TestResume:
    def test_resumed_watch_continues_after_a_restart(self, durable_site: Site) -> None:
        store = durable_site.store
        first = Watching(store)
        first.create(b"k")
        put(store, b"k", b"1")
        seen = first.events(1)[-1].kv.mod_revision
        first.close()
        put(store, b"k", b"2")
        store = durable_site.restart()
        put(store, b"k", b"3")
        second = Watching(store)
        second.create(b"k", start_revision=seen + 1)
        assert [event.kv.value for event in second.events(2)] == [b"2", b"3"]
        second.close()

    def test_resume_below_a_compaction_after_a_restart_is_canceled(
        self, durable_site: Site
    ) -> None:
        # behaviour 123
        store = durable_site.store
        for n in range(5):
            put(store, b"k", b"%d" % n)
        store.compact(5)
        store = durable_site.restart()
        watching = Watching(store)
        assert not watching.create(b"k", start_revision=3).canceled
        canceled = watching.next()
        assert (canceled.canceled, canceled.compact_revision, canceled.revision) == (True, 5, 0)
        watching.close()


class TestGuarantees:
    def test_all_promises_hold_over_a_mixed_history(self, store: StoreProtocol) -> None:
        # behaviours 110, 114, 117, 118, 119 and 121 together
        requests = [
            WatchCreate(KeyRange(*ALL), 0, prev_kv=True),
            WatchCreate(KeyRange(b"k2", b"k5"), 0),
            WatchCreate(KeyRange(b"k3"), 0, prev_kv=True, filters=(0,)),
            WatchCreate(KeyRange(*ALL), 0, filters=(1,)),
            WatchCreate(KeyRange(*ALL), 40, prev_kv=True),
        ]
        late = [
            WatchCreate(KeyRange(*ALL), 1, prev_kv=True),
            WatchCreate(KeyRange(b"k1", b"k4"), 20, filters=(0,)),
            WatchCreate(KeyRange(b"k3", b"k9"), 33),
        ]
        watching = Watching(store)
        for request in requests:
            watching.stream.create(request)
        for _ in requests:
            assert watching.next().created
        for n in range(120):
            _mixed_write(store, n)
            if n == 80:
                for request in late:
                    watching.stream.create(request)
        last = revision(store)
        watching.until_mark()
        watching.close()
        history = History.read(store, 1, last)
        for watch_id, request in enumerate([*requests, *late]):
            messages = [
                each._replace(events=[e for e in each.events if e.kv.mod_revision <= last])
                for each in watching.messages
                if not each.events or each.events[0].kv.mod_revision <= last
            ]
            recording = Recording.of(request, messages, watch_id, last)
            assert recording.messages
            assert violations(recording, history) == []


def _mixed_write(store: StoreProtocol, n: int) -> None:
    """Write number `n` of a fixed mixture of puts, deletes and txns over few keys."""
    key = b"k%d" % (n * 7 % 10)
    match n % 6:
        case 0 | 1 | 2:
            put(store, key, b"%d" % n)
        case 3:
            delete(store, key)
        case 4:
            commit(store, [PutOp(b"k%d" % each, b"%d" % n) for each in range(2, 5)])
        case _:
            delete(store, b"k1", b"k%d" % (2 + n % 4))
    assert get_all(store, limit=1).revision > 0
