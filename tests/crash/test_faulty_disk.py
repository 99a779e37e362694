"""A full disk loses nothing and passes; a commit of unknown outcome stops all writing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from kvstore.backend.memory import MemoryBackend
from kvstore.errors import NoSpace, StoreError, StoreFailed
from kvstore.keys import ALL_KEYS, KeyRange
from kvstore.store.checker import check_backend
from kvstore.store.threads import ThreadStore
from kvstore.types import DeleteRangeOp, PutOp, RangeOp, Txn, WatchCreate
from tests.crash.judge import replay, watched
from tests.support.faulty_backend import Fault, FaultyBackend

ROOT = Path(__file__).parents[2]


def put(store: ThreadStore, key: bytes, value: bytes = b"", lease: int = 0) -> int:
    return store.txn(Txn(success=(PutOp(key, value, lease),))).revision


def state_of(store: ThreadStore) -> dict[bytes, bytes]:
    return {kv.key: kv.value for kv in store.range(RangeOp(ALL_KEYS)).kvs}


def reopened(backend: FaultyBackend) -> ThreadStore:
    return ThreadStore.open(FaultyBackend(backend.inner))


class TestFullDisk:
    def test_the_write_is_refused_and_leaves_no_trace(self) -> None:
        backend = FaultyBackend(MemoryBackend())
        store = ThreadStore.open(backend)
        put(store, b"a", b"1")
        backend.fail(Fault.FULL)
        with pytest.raises(NoSpace):
            put(store, b"a", b"2")
        with pytest.raises(NoSpace):
            store.txn(Txn(success=(DeleteRangeOp(KeyRange(b"a")),)))
        with pytest.raises(NoSpace):
            store.lease_grant(10, 7)
        with pytest.raises(NoSpace):
            store.compact(1)
        assert state_of(store) == {b"a": b"1"}
        assert store.revision == 2
        assert store.lease_leases() == []
        backend.fail(None)
        assert put(store, b"b", b"3") == 3, "the refused writes took no revision"
        assert state_of(store) == {b"a": b"1", b"b": b"3"}
        store.close()

    def test_watches_go_on_and_see_nothing_of_what_was_refused(self) -> None:
        backend = FaultyBackend(MemoryBackend())
        store = ThreadStore.open(backend)
        stream = store.watch_stream()
        stream.create(WatchCreate(ALL_KEYS))
        put(store, b"a", b"1")
        backend.fail(Fault.FULL)
        with pytest.raises(NoSpace):
            put(store, b"a", b"2")
        backend.fail(None)
        put(store, b"a", b"3")
        messages = [stream.next(1.0) for _ in range(3)]
        values = [event.kv.value for message in messages if message for event in message.events]
        assert values == [b"1", b"3"]
        store.close()

    def test_a_lease_whose_revocation_is_refused_keeps_its_keys(self) -> None:
        backend = FaultyBackend(MemoryBackend())
        store = ThreadStore.open(backend)
        store.lease_grant(100, 7)
        put(store, b"a", b"1", lease=7)
        backend.fail(Fault.FULL)
        with pytest.raises(NoSpace):
            store.lease_revoke(7)
        backend.fail(None)
        status = store.lease_time_to_live(7, keys=True)
        assert (status.granted_ttl_s, tuple(status.keys)) == (100, (b"a",))
        assert store.lease_revoke(7) == 3
        assert state_of(store) == {}
        store.close()

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(5))
    def test_among_many_writers_exactly_the_refused_writes_are_missing(self, seed: int) -> None:
        chance = Random(seed)
        plan = [(number, Fault.FULL) for number in range(3, 400) if chance.random() < 0.3]
        backend = FaultyBackend(MemoryBackend(), plan)
        store = ThreadStore.open(backend)
        start = store.revision + 1
        stored: dict[int, tuple[bytes, bytes]] = {}
        refused: set[bytes] = set()

        def write(number: int) -> None:
            for count in range(20):
                key, value = b"k%d" % (count % 4), b"%d/%d" % (number, count)
                try:
                    stored[put(store, key, value)] = (key, value)
                except NoSpace:
                    refused.add(value)

        with ThreadPoolExecutor(8) as pool:
            for future in [pool.submit(write, number) for number in range(8)]:
                future.result()
        assert backend.failed > 0
        assert len(stored) + len(refused) == 8 * 20
        events = watched(store, start, store.revision)
        happened = {event.kv.mod_revision: (event.kv.key, event.kv.value) for event in events}
        assert stored == happened
        assert replay({}, events) == {kv.key: kv for kv in store.range(RangeOp(ALL_KEYS)).kvs}
        store.close()
        assert check_backend(backend.inner) == []


class TestUncertainCommit:
    @pytest.mark.parametrize("fault", [Fault.LOST, Fault.WRITTEN])
    def test_every_later_write_is_refused_and_reads_stay_at_the_durable_revision(
        self, fault: Fault
    ) -> None:
        backend = FaultyBackend(MemoryBackend())
        store = ThreadStore.open(backend)
        put(store, b"a", b"1")
        backend.fail(fault)
        with pytest.raises(StoreFailed):
            put(store, b"a", b"2")
        backend.fail(None)
        commits = backend.commits
        with pytest.raises(StoreFailed):
            put(store, b"b", b"3")
        with pytest.raises(StoreFailed):
            store.lease_grant(10)
        with pytest.raises(StoreFailed):
            store.compact(1)
        assert commits == backend.commits, "nothing may be written any more"
        assert store.revision == 2
        assert state_of(store) == {b"a": b"1"}
        store.close()
        again = reopened(backend)
        assert (3 if fault is Fault.WRITTEN else 2) == again.revision
        put(again, b"b", b"4")
        assert (b"2" if fault is Fault.WRITTEN else b"1") == state_of(again)[b"a"]
        again.close()
        assert check_backend(backend.inner) == []

    def test_watches_are_told_nothing_of_it_and_go_on_for_what_is_durable(self) -> None:
        backend = FaultyBackend(MemoryBackend())
        store = ThreadStore.open(backend)
        put(store, b"a", b"1")
        backend.fail(Fault.WRITTEN)
        stream = store.watch_stream()
        stream.create(WatchCreate(ALL_KEYS, start_revision=2))
        with pytest.raises(StoreFailed):
            put(store, b"a", b"2")
        messages = []
        while (message := stream.next(0)) is not None:
            messages.append(message)
        assert [event.kv.value for m in messages for event in m.events] == [b"1"]
        stream.request_progress()
        progress = stream.next(0)
        assert progress is not None
        assert progress.revision == 2
        store.close()

    def test_every_writer_that_waits_is_told(self) -> None:
        """Those in the failing commit and those behind it."""
        waiting, go = threading.Semaphore(0), threading.Event()

        def gate() -> None:
            waiting.release()
            go.wait()

        backend = FaultyBackend(MemoryBackend(), gate=gate)
        go.set()
        store = ThreadStore.open(backend)
        go.clear()
        backend.fail(Fault.LOST)
        outcomes: list[type[BaseException] | None] = []

        def write(number: int) -> None:
            try:
                put(store, b"k%d" % number)
                outcomes.append(None)
            except StoreError as error:
                outcomes.append(type(error))

        while waiting.acquire(blocking=False):
            pass
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        waiting.acquire()
        go.set()
        for thread in threads:
            thread.join()
        assert [StoreFailed] * 8 == outcomes
        assert state_of(store) == {}
        store.close()


@pytest.mark.slow
class TestRealFullDisk:
    """What is left of a commit that found no room is LMDB's affair; none of it may show."""

    def test_writing_goes_on_when_the_limit_of_the_file_size_is_lifted(
        self, tmp_path: Path
    ) -> None:
        assert fill([], tmp_path, "limit") == ["NoSpace", True, True, []]

    def test_writing_goes_on_when_a_full_file_system_has_room_again(self, tmp_path: Path) -> None:
        """A file system in memory, mounted for the child alone and gone with it."""
        alone = ["unshare", "--mount", "sh", "-c"]
        mount = 'mount -t tmpfs -o size=4m tmpfs "$0"'
        try:
            subprocess.run([*alone, mount, tmp_path], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting is not permitted")
        command = [*alone, f'{mount} && exec "$@"', str(tmp_path)]
        assert fill(command, tmp_path, "ballast") == ["NoSpace", True, True, []]


class TestNoDescriptors:
    def test_writing_goes_on_when_files_can_be_opened_again(self, tmp_path: Path) -> None:
        assert fill([], tmp_path, "descriptors") == ["WriteRefused", True, True, []]


def fill(prefix: list[str], directory: Path, shortage: str) -> list[object]:
    """What the filler found: refused by, readable, goes on, wrong."""
    child = subprocess.run(
        [*prefix, sys.executable, "-m", "tests.crash.filler", str(directory), shortage],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stderr.decode()[-2000:]
    found = json.loads(child.stdout)
    assert isinstance(found, list)
    return found
