"""Progress: on request, as a consistent read of the watch cache waits for it, and on a timer.

The watch cache takes the revision of a progress message as "all up to here was seen": told too
early it loses events without a trace, told too late each consistent list goes to the store.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.storage import Storage, is_progress
from tests.kubernetes_contract.targets import has_safe_progress

BLOCK_TIMEOUT_S = 3.0
"""After this the watch cache stops waiting and reads the store instead."""


@has_safe_progress
class TestOnRequest:
    def test_it_is_of_the_whole_call_and_of_the_last_write(
        self, storage: Storage, prefix: bytes
    ) -> None:
        call, revision = storage.watch_call(), storage.revision()
        call.create(shapes.watch(prefix, revision))
        call.create(shapes.watch(prefix + b"other/", revision))
        written = storage.create(prefix.rstrip(b"/") + b"-status/a")  # seen by neither
        message = call.progress(written, BLOCK_TIMEOUT_S)
        assert (-1, written, False, False, 0) == (
            message.watch_id,
            message.header.revision,
            message.created,
            message.canceled,
            len(message.events),
        )

    def test_one_request_is_answered_once(self, storage: Storage, prefix: bytes) -> None:
        call = storage.watch_call()
        call.create(shapes.watch(prefix, storage.revision()))
        storage.create(prefix + b"a")
        call.events(1)
        call.send(shapes.watch_progress())
        told = [each for each in call.up_to_now(storage) if is_progress(each)]
        assert [each.watch_id for each in told] == [-1]

    def test_consistent_reads_are_answered_in_time_while_others_write(
        self, storage: Storage, prefix: bytes
    ) -> None:
        call = storage.watch_call()
        call.create(shapes.watch(prefix, storage.revision()))
        for n in range(20):
            written = storage.create(prefix.rstrip(b"/") + b"-other/%d" % n)
            current = storage.range(shapes.current_revision(prefix)).header.revision
            assert written == current
            assert call.progress(current, BLOCK_TIMEOUT_S).header.revision == current

    def test_fresh_call_without_a_watch_is_not_answered_and_goes_on(
        self, storage: Storage, prefix: bytes
    ) -> None:
        call = storage.watch_call()
        call.send(shapes.watch_progress())
        assert not call.up_to_now(storage)
        call.create(shapes.watch(prefix, storage.revision()))
        storage.create(prefix + b"a")
        assert len(call.events(1, call.messages[-1].watch_id)) == 1

    def test_watch_from_the_next_revision_holds_it_back_until_that_is_there(
        self, storage: Storage, prefix: bytes
    ) -> None:
        # The start of each watch of the API server is one above what is there: progress to less
        # than the start would be a step back.
        call, revision = storage.watch_call(), storage.revision()
        call.create(shapes.watch(prefix, revision))
        call.send(shapes.watch_progress())
        assert not call.up_to_now(storage)
        assert call.progress().header.revision > revision

    def test_one_watch_that_replays_holds_it_back_for_all(
        self, storage: Storage, prefix: bytes
    ) -> None:
        start = storage.revision()
        requests = [shapes.optimistic_put(prefix + b"%04d" % n, b"v", 0) for n in range(1100)]
        last = max(each.header.revision for each in storage.txns(requests))
        call = storage.watch_call()
        call.create(shapes.watch(prefix + b"no such object", start))
        call.create(shapes.watch(prefix, start))
        for _ in range(5):
            call.send(shapes.watch_progress())
        call.progress(last)
        replayed = 0
        for message in call.messages:
            replayed += len(message.events)
            if is_progress(message):
                assert replayed == 1100

    def test_it_is_never_ahead_of_events_of_any_watch(
        self, storage: Storage, prefix: bytes
    ) -> None:
        call, start = storage.watch_call(), storage.revision()
        kinds = [prefix + b"%d/" % n for n in range(3)]
        for kind in kinds:
            call.create(shapes.watch(kind, start))

        def write(kind: bytes) -> list[int]:
            return storage.fill(kind, 60)

        with ThreadPoolExecutor(len(kinds)) as pool:
            writes = [pool.submit(write, kind) for kind in kinds]
            while not all(each.done() for each in writes):
                call.send(shapes.watch_progress())
                call.poll(0.002)
        written = sorted(at for each in writes for at in each.result())
        call.progress(written[-1])

        told = 0
        seen: set[int] = set()
        for message in call.messages:
            if is_progress(message):
                assert message.header.revision >= max(told, start + 1)
                told = message.header.revision
                assert seen.issuperset(at for at in written if at <= told)
            for event in message.events:
                assert event.kv.mod_revision > told
                seen.add(event.kv.mod_revision)
        assert sorted(seen) == written


class TestOnTimer:
    def test_idle_watch_is_told_the_current_revision_under_its_own_id(
        self, notifying: Storage, prefix: bytes
    ) -> None:
        call, revision = notifying.watch_call(), notifying.revision()
        call.create(shapes.watch(prefix + b"other/", revision, progress_notify=False))
        watch_id = call.create(shapes.watch(prefix, revision)).watch_id
        written = notifying.create(prefix.rstrip(b"/") + b"-other/a")
        told = [call.next() for _ in range(3)]
        while told[-1].header.revision < written:
            told.append(call.next())
        assert {watch_id} == {each.watch_id for each in told}
        assert all(is_progress(each) for each in told)
        assert written == told[-1].header.revision

    def test_watch_from_the_next_revision_is_told_nothing_until_that_is_there(
        self, notifying: Storage, prefix: bytes
    ) -> None:
        call, revision = notifying.watch_call(), notifying.revision()
        call.create(shapes.watch(prefix, revision))
        early = call.poll(0.35)  # three intervals
        if notifying.is_before_3_5:
            # 3.4.23 says where the store is, below the start of the watch.
            assert early is not None
            assert revision == early.header.revision
            return
        assert early is None
        written = notifying.create(prefix.rstrip(b"/") + b"-other/a")
        assert written == call.next().header.revision

    def test_it_is_never_ahead_of_events(self, notifying: Storage, prefix: bytes) -> None:
        call = notifying.watch_call()
        call.create(shapes.watch(prefix, notifying.revision()))
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(notifying.fill, prefix, 200)
            while not writing.done():
                call.poll(0.01)
        last = writing.result()[-1]
        while not is_progress(call.messages[-1]) or call.messages[-1].header.revision < last:
            call.next()
        told = 0
        seen: list[int] = []
        for message in call.messages:
            if is_progress(message):
                told = message.header.revision
                assert [at for at in writing.result() if at <= told] == seen
            for event in message.events:
                assert event.kv.mod_revision > told
                seen.append(event.kv.mod_revision)
        assert writing.result() == seen
