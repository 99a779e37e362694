"""Lists, watches, writers and a compactor together: every cache ends as the store does.

Between two of its lists a cache is told each revision of each object exactly once; which those
were is known from the answers that the writers got.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from kvstore.client.messages import watch_message
from kvstore.keys import KeyRange, prefix_end
from kvstore.proto import kv_pb2, rpc_pb2
from kvstore.types import Event, EventType, KeyValue, WatchCreate
from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.compactor import Compactor
from tests.kubernetes_contract.conftest import Server
from tests.kubernetes_contract.reflector import Episode, Reflector
from tests.kubernetes_contract.storage import PATIENCE_S, Storage
from tests.support.watch_guarantees import History, Recording, violations

WRITERS = 4
OBJECTS = 12
WRITES_OF_FIRST_CYCLE = 20
"""The compactor keeps what was written since its last cycle. Each cycle waits for twice as many
writes as the one before, so that a list which is overtaken again and again succeeds at last."""
LEAST_WRITES = 400


class Course:
    """What has been written and compacted; who waits for more of it is woken."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.written: dict[int, tuple[bytes, bytes | None]] = {}
        """At each revision the key and its new value; None: deleted."""
        self.compacted = self.outlasted = 0
        self.is_over = False

    def write(self, revision: int, key: bytes, value: bytes | None) -> None:
        with self._changed:
            assert revision not in self.written
            self.written[revision] = key, value
            self._changed.notify_all()

    def compact(self, revision: int) -> None:
        with self._changed:
            self.compacted = revision
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self.is_over = True
            self._changed.notify_all()

    def wait_for_writes(self, size: int) -> bool:
        """False when there will not be as many."""
        with self._changed:
            enough = self._changed.wait_for(
                lambda: self.is_over or len(self.written) >= size, PATIENCE_S
            )
            assert enough
            return len(self.written) >= size

    def outlast(self, revision: int) -> None:
        """Wait until neither a list at `revision` nor a watch from the next one is possible."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.compacted > revision + 1, PATIENCE_S)
            self.outlasted += 1

    def history(self, before: dict[bytes, KeyValue]) -> History:
        """The events that the writes are, over the objects that were there `before`."""
        events, state = [Event(EventType.PUT, kv) for kv in before.values()], dict(before)
        events.sort(key=lambda event: event.kv.mod_revision)
        for revision, (key, value) in sorted(self.written.items()):
            if value is None:
                del state[key]
                events.append(Event(EventType.DELETE, KeyValue(key, mod_revision=revision)))
                continue
            old = state.get(key)
            created, version = (old.create_revision, old.version) if old else (revision, 0)
            state[key] = KeyValue(key, value, created, revision, version + 1)
            events.append(Event(EventType.PUT, state[key]))
        return History(events)


class Writer:
    """Creates, updates and deletes objects that others write too; a loser goes on from its read."""

    def __init__(self, storage: Storage, prefix: bytes, seed: int, course: Course) -> None:
        self._storage, self._prefix, self._course = storage, prefix, course
        self._random = random.Random(seed)
        self._known: dict[bytes, int] = {}

    def step(self) -> None:
        number = self._random.randrange(OBJECTS)
        key, value = self._prefix + b"%02d" % number, b"%016x" % self._random.getrandbits(64)
        known = self._known.get(key, 0)
        # Half of the objects always stay, so that a list has more than one page.
        deletes = known > 0 and number % 2 == 1 and self._random.random() < 0.5
        if deletes:
            response = self._storage.txn(shapes.optimistic_delete(key, known))
        else:
            response = self._storage.txn(shapes.optimistic_put(key, value, known))
        if response.succeeded:
            self._known[key] = 0 if deletes else response.header.revision
            self._course.write(response.header.revision, key, None if deletes else value)
        else:
            self._known[key] = self._read(key, response)

    def _read(self, key: bytes, response: rpc_pb2.TxnResponse) -> int:
        """The revision of the object now: a failed create does not tell it."""
        if response.responses:
            found = response.responses[0].response_range
        else:
            found = self._storage.range(shapes.get(key))
        return found.kvs[0].mod_revision if found.kvs else 0


def run_compactor(storage: Storage, course: Course) -> None:
    compactor = Compactor(storage)
    wanted, cycle = 0, WRITES_OF_FIRST_CYCLE
    while course.wait_for_writes(wanted):
        compactor.cycle()
        if compactor.compacted:
            course.compact(compactor.compacted[-1])
        wanted, cycle = len(course.written) + cycle, cycle * 2


def once(wait: Callable[[int], None]) -> Callable[[int], None]:
    """`wait`, at the first call alone."""
    calls = itertools.count()
    return lambda revision: wait(revision) if next(calls) == 0 else None


def typed(kv: kv_pb2.KeyValue) -> KeyValue:
    return KeyValue(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def check(episode: Episode, prefix: bytes, history: History) -> list[str]:
    """What the list and the messages after it have against what was written."""
    keys = {event.kv.key for event in history.events}
    then = {key: history.before(episode.revision + 1, key) for key in keys}
    listed = {key: typed(kv) for key, kv in episode.listed.items()}
    found = []
    if listed != {key: kv for key, kv in then.items() if kv is not None}:
        found.append(f"the list at {episode.revision} is {listed} instead of {then}")
    request = WatchCreate(
        KeyRange(prefix, prefix_end(prefix)), start_revision=episode.revision + 1, prev_kv=True
    )
    messages = [watch_message(each) for each in episode.messages]
    return found + violations(Recording(request, messages), history)


@pytest.fixture
def storages(server: Server) -> Iterator[Callable[[], Storage]]:
    """A connection of its own for everyone who asks."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(Storage(server.target)))


def test_caches_end_as_the_store_and_saw_each_revision_once_between_their_lists(
    server: Server, storage: Storage, storages: Callable[[], Storage], prefix: bytes
) -> None:
    course, last_key = Course(), prefix + b"last"
    for n in range(OBJECTS):
        storage.create(prefix + b"%02d" % n)
    before = {kv.key: typed(kv) for kv in storage.range(shapes.list_page(prefix)).kvs}
    writers = [Writer(storages(), prefix, seed, course) for seed in range(WRITERS)]
    late = Reflector(
        storages(),
        prefix,
        last_key,
        leave_after=10,
        between_pages=once(course.outlast),
        before_resume=once(course.outlast),
    )
    reflectors = [
        Reflector(storages(), prefix, last_key),
        Reflector(storages(), prefix, last_key, leave_after=7),
        late,
    ]

    def write(writer: Writer) -> None:
        deadline_monotonic_s = time.monotonic() + PATIENCE_S
        while course.outlasted < 2 or len(course.written) < LEAST_WRITES:
            if any(each.done() for each in [compacting, *reflecting]):
                return  # it failed
            assert time.monotonic() < deadline_monotonic_s
            writer.step()

    with ThreadPoolExecutor(WRITERS + len(reflectors) + 1) as pool:
        reflecting = [pool.submit(reflector.run) for reflector in reflectors]
        compacting = pool.submit(run_compactor, storages(), course)
        try:
            list(pool.map(write, writers))
        finally:
            course.end()
            course.write(storage.create(last_key, b"last"), last_key, b"last")
        for each in [compacting, *reflecting]:
            each.result()

    history = course.history(before)
    final = {kv.key: kv for kv in storage.range(shapes.list_page(prefix)).kvs}
    assert late.lists_lost > 0
    assert late.watches_lost > 0
    assert len(late.episodes) > 1
    for reflector in reflectors:
        assert final == reflector.cache
        assert all(at < course.compacted for at in reflector.watches_killed)
        # Each etcd reads the object before when it sends: a compaction may come between.
        assert server.kind.startswith("etcd") or not reflector.watches_killed
        for episode in reflector.episodes:
            assert check(episode, prefix, history) == []
