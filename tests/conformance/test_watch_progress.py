"""Progress: on request and on a timer (etcd server/etcdserver/api/v3rpc/watch.go)."""

from __future__ import annotations

from kvstore.keys import KeyRange
from kvstore.store.interface import StoreProtocol
from kvstore.types import WatchCreate
from tests.support.ops import ALL, Watching, event_keys, put, revision
from tests.support.sites import Site, store_version
from tests.support.watch_guarantees import History, Recording, violations


class TestOnRequest:
    def test_synced_watchers_get_one_answer_with_the_last_revision(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 128
        for _ in range(3):
            watching.create(b"k")
        put(store, b"other")
        progress = watching.progress()
        assert (
            progress.watch_id,
            progress.revision,
            list(progress.events),
            progress.created,
            progress.canceled,
        ) == (-1, 2, [], False, False)

    def test_progress_comes_after_the_events_before_it(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 128
        watching.create(b"k")
        for n in range(20):
            put(store, b"k", b"%d" % n)
            progress = watching.progress()
            seen = [e.kv.mod_revision for each in watching.messages for e in each.events]
            assert list(range(2, n + 3)) == [at for at in seen if at <= progress.revision]
            assert n + 2 == progress.revision

    def test_stream_without_watchers_is_not_answered(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # 3.4.23 always answers
        watching.stream.request_progress()
        watching.create(b"k")
        before_created = [each for each in watching.messages if not each.created]
        expected = 1 if store_version(store) < (3, 5) else 0
        assert expected == len(before_created)

    def test_watcher_of_the_future_holds_progress_back(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # 3.4.23 always answers
        watching.create(b"k", start_revision=4)
        watching.stream.request_progress()
        early = watching.poll(0.3)
        if store_version(store) < (3, 5):
            assert early is not None
            return
        assert early is None
        for _ in range(3):
            put(store, b"other")
        assert watching.progress().revision == 4

    def test_watcher_from_the_next_revision_holds_progress_back(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # Progress is never below where a watcher starts; 3.4.23 always answers.
        watching.create(b"k", start_revision=revision(store) + 1)
        watching.stream.request_progress()
        early = [each for each in watching.until_mark() if each.watch_id == -1]
        assert (1 if store_version(store) < (3, 5) else 0) == len(early)
        assert watching.progress().revision == revision(store)

    def test_replaying_watcher_holds_progress_back(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 129; 3.4.23 always answers
        for n in range(1001):
            put(store, b"k", b"%d" % n)
        last = revision(store)
        watching.create(b"k", start_revision=1)
        progress = watching.progress()
        batches = [each for each in watching.messages if each.events]
        assert last == progress.revision
        if store_version(store) >= (3, 5):
            assert [len(each.events) for each in batches] == [1000, 1]
            assert {last} == {each.revision for each in batches}

    def test_watcher_that_matches_nothing_is_answered_in_the_end(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 130
        for n in range(100):
            put(store, b"k", b"%d" % n)
        watching.create(b"nothing", start_revision=1)
        assert watching.progress().revision == 101

    def test_request_after_the_last_cancel_is_not_answered(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 131; 3.4.23 always answers
        watching.create(b"k")
        watching.cancel(0)
        watching.stream.request_progress()
        watching.create(b"k")
        answered = [each for each in watching.messages if each.watch_id == -1]
        assert (1 if store_version(store) < (3, 5) else 0) == len(answered)

    def test_progress_after_a_restart_is_not_lower(self, durable_site: Site) -> None:
        # behaviour 132
        store = durable_site.store
        watching = Watching(store)
        watching.create(b"k")
        for n in range(5):
            put(store, b"k", b"%d" % n)
        before = watching.progress().revision
        watching.close()
        store = durable_site.restart()
        watching = Watching(store)
        watching.create(b"k")
        assert before == watching.progress().revision == 6
        watching.close()

    def test_progress_among_events_keeps_its_promise(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        watching.create(*ALL)
        for n in range(60):
            put(store, b"k%d" % (n % 7), b"%d" % n)
            watching.stream.request_progress()
        last = revision(store)
        while watching.progress().revision < last:
            pass
        watching.until_mark()
        recording = Recording.of(WatchCreate(KeyRange(*ALL)), watching.messages, 0, last)
        broken = violations(recording, History.read(store))
        if store_version(store) < (3, 5):
            # Progress of 3.4.23 may overtake events, so that it proves nothing about them.
            doubtful = ("bookmarkable", "reliable")
            broken = [each for each in broken if not each.startswith(doubtful)]
        assert not broken


class TestOnTimer:
    def test_idle_watcher_is_told_the_current_revision(self, notifying: Watching) -> None:
        # behaviours 126 and 127
        put(notifying.store, b"other")
        notifying.create(b"k", progress_notify=True)
        for _ in range(2):
            message = notifying.next()
            assert (
                message.watch_id,
                message.revision,
                list(message.events),
                message.created,
                message.canceled,
                message.compact_revision,
            ) == (0, 2, [], False, False, 0)

    def test_timer_goes_on_after_events(self, notifying: Watching) -> None:
        # behaviour 127
        notifying.create(b"k", progress_notify=True)
        written = put(notifying.store, b"k").revision
        while not (message := notifying.next()).events:
            assert message.revision < written
        assert event_keys(message.events) == [("PUT", b"k")]
        message = notifying.next()
        assert ([], written) == (list(message.events), message.revision)

    def test_only_watchers_that_asked_are_told(self, notifying: Watching) -> None:
        notifying.create(b"k")
        notifying.create(b"k", progress_notify=True)
        assert {1} == {notifying.next().watch_id for _ in range(3)}
