"""What watchers are promised holds while they are told in pieces."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from unittest.mock import patch

import pytest

from kvstore.core.watch.group import LEAVE_COST
from kvstore.core.watch.stream import WatchStream
from kvstore.keys import ALL_KEYS, FROM_KEY, KeyRange
from kvstore.types import WatchCreate, WatchFilter
from tests.core.watch.worlds import World, revisions, taken
from tests.support.interruption import Interrupted, Interruption

A = KeyRange(b"a")
KINDS = [
    [WatchCreate(A)] * 5,
    [WatchCreate(KeyRange(b"%c" % byte, FROM_KEY)) for byte in b"12345"],
    [WatchCreate(A), WatchCreate(ALL_KEYS), WatchCreate(KeyRange(b"a", b"b"))] * 2,
]


@pytest.fixture(autouse=True)
def _one_at_a_time() -> Iterator[None]:
    with patch("kvstore.core.watch.hub.WATCH_TURN_WATCHERS", 1):
        yield


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("watches", KINDS, ids=["one-key", "overlapping", "of-each-kind"])
@pytest.mark.parametrize("in_one", [True, False], ids=["one-stream", "many-streams"])
class TestPieces:
    def streams(self, world: World, watches: list[WatchCreate], in_one: bool) -> list[WatchStream]:
        return [world.stream(*watches)] if in_one else [world.stream(each) for each in watches]

    def test_each_watcher_gets_each_revision_once_and_in_order(
        self, world: World, watches: list[WatchCreate], in_one: bool
    ) -> None:
        streams = self.streams(world, watches, in_one)
        first = world.put(b"a")
        world.put(b"a", b"zz", b"a")
        last = world.put_all(b"a", b"b")
        assert world.finish() >= len(watches) - 1
        of_each: dict[tuple[int, int], list[int]] = {}
        for number, stream in enumerate(streams):
            for message in taken(stream):
                of_each.setdefault((number, message.watch_id), []).extend(
                    e.kv.mod_revision for e in message.events if e.kv.key == b"a"
                )
        assert list(of_each.values()) == [[first, first + 1, first + 3, last]] * len(watches)

    def test_closing_lets_all_go_in_pieces(
        self, world: World, watches: list[WatchCreate], in_one: bool
    ) -> None:
        streams = self.streams(world, watches, in_one)
        world.put(b"a")
        for stream in streams:
            stream.close()
        assert (world.hub.watchers, world.hub.queued, world.hub.behind) == (0, (0, 0), 0)
        world.put(b"a")
        assert world.finish() >= len(watches) - 1
        assert world.hub.is_idle
        assert world.hub.queued == (0, 0)


@pytest.mark.parametrize("watches", KINDS[:2], ids=["one-key", "overlapping"])
def test_who_falls_behind_costs_a_piece_more_than_who_is_told(
    world: World, watches: list[WatchCreate]
) -> None:
    """Nobody waits for a piece in which an interval leaves the tree for each offer."""
    with (
        patch("kvstore.core.watch.hub.WATCH_TURN_WATCHERS", 2 * LEAVE_COST),
        patch("kvstore.core.watch.stream.WATCH_QUEUE_EVENTS", 0),
    ):
        world.stream(*watches * 5)
        world.put(b"a")
        behind = [world.hub.behind]
        while world.hub.has_work:
            world.work()
            behind.append(world.hub.behind)
    assert behind[-1] == 25
    assert max(after - before for before, after in pairwise([0, *behind])) == 2


class TestWhoComesAndGoesMeanwhile:
    def test_one_that_joins_gets_what_is_after_its_start(self, world: World) -> None:
        early = world.stream(*[WatchCreate(A)] * 3)
        before = world.put(b"a")
        assert world.hub.is_delivering
        late = world.stream(WatchCreate(A), WatchCreate(A, before + 2), WatchCreate(A, before))
        after = world.put(b"a")
        last = world.put(b"a")
        world.finish()
        assert sorted(revisions(taken(early))) == sorted([before, after, last] * 3)
        of_each: dict[int, list[int]] = {0: [], 1: [], 2: []}
        for message in taken(late):
            of_each[message.watch_id] += revisions([message])
        assert of_each == {0: [after, last], 1: [last], 2: [before, after, last]}

    def test_a_canceled_one_is_silent_and_the_others_are_told(self, world: World) -> None:
        stream = world.stream(*[WatchCreate(A)] * 4)
        first = world.put(b"a")
        while not stream.has_work:
            world.work()
        told = taken(stream)[0].watch_id
        rest = [watch_id for watch_id in range(4) if watch_id != told]
        stream.cancel(rest[0])  # whose turn it would be
        stream.cancel(rest[2])
        world.finish()
        messages = taken(stream)
        assert [m.watch_id for m in messages if m.canceled] == [rest[0], rest[2]]
        assert [(m.watch_id, *revisions([m])) for m in messages if m.events] == [(rest[1], first)]

    def test_its_interval_may_go_and_come_back(self, world: World) -> None:
        watches = [WatchCreate(KeyRange(b"%c" % byte, FROM_KEY)) for byte in b"1234"]
        stream = world.stream(*watches)
        first = world.put(b"a")
        for watch_id in range(4):
            stream.cancel(watch_id)
        for watch in watches:
            stream.create(watch)
        second = world.put(b"a")
        world.finish()
        told = revisions(taken(stream))
        assert [each for each in told if each != first] == [second] * 4
        assert told.count(first) <= 1

    def test_one_that_falls_behind_has_all_from_the_log(self, world: World) -> None:
        stream = world.stream(*[WatchCreate(A)] * 3)
        with patch("kvstore.core.watch.stream.WATCH_QUEUE_EVENTS", 1):
            put = [world.put(b"a") for _ in range(3)]
            world.finish()
            assert world.hub.behind == 3
        of_each: dict[int, list[int]] = {0: [], 1: [], 2: []}
        for message in taken(stream):
            of_each[message.watch_id] += revisions([message])
        assert of_each == {0: put, 1: put, 2: put}
        assert world.hub.behind == 0

    def test_filters_hold(self, world: World) -> None:
        stream = world.stream(
            WatchCreate(A, filters=[WatchFilter.NOPUT]),
            WatchCreate(A, filters=[WatchFilter.NODELETE]),
        )
        put, deleted = world.put(b"a"), world.delete(A)
        world.finish()
        messages = taken(stream)
        assert [(m.watch_id, *revisions([m])) for m in messages] == [(1, put), (0, deleted)]


class TestRevisions:
    def test_a_revision_is_never_split(self, world: World) -> None:
        stream = world.stream(*[WatchCreate(ALL_KEYS)] * 3)
        world.put(b"x")
        both = world.put_all(b"b", b"a", b"c")
        world.finish()
        messages = [m for m in taken(stream) if both in revisions([m])]
        assert [revisions([m]).count(both) for m in messages] == [3, 3, 3]
        assert [e.kv.key for e in messages[0].events if e.kv.mod_revision == both] == [
            b"b",
            b"a",
            b"c",
        ]

    def test_those_that_wait_share_a_message(self, world: World) -> None:
        stream = world.stream(*[WatchCreate(A)] * 3)
        world.put(b"a")
        second = world.put(b"a")
        third = world.put(b"a")
        world.finish()
        messages = [m for m in taken(stream) if second in revisions([m])]
        assert [(revisions([m]), m.revision) for m in messages] == [([second, third], third)] * 3

    def test_a_message_has_an_end(self, world: World) -> None:
        stream = world.stream(*[WatchCreate(A)] * 3)
        with patch("kvstore.core.watch.hub.CATCH_UP_REVISIONS", 2):
            put = [world.put(b"a") for _ in range(6)]
            world.finish()
        messages = [m for m in taken(stream) if m.watch_id == 0]
        assert [revisions([m]) for m in messages] == [put[:1], put[1:3], put[3:5], put[5:]]

    def test_much_that_waits_is_told_to_who_commits(self, world: World) -> None:
        world.stream(*[WatchCreate(A)] * 3)
        with patch("kvstore.core.watch.hub.WATCH_BACKLOG_CHANGES", 3):
            world.put(b"a")
            world.put(b"a")
            assert not world.hub.is_backed_up
            world.put(b"a")
            assert world.hub.is_backed_up
            world.finish()
            assert not world.hub.is_backed_up


class TestPreviousValues:
    def test_they_are_those_of_the_revision_and_outlive_a_compaction(self, world: World) -> None:
        world.put(b"a", value=b"0")
        stream = world.stream(WatchCreate(A), *[WatchCreate(A, prev_kv=True)] * 3)
        world.put(b"a", value=b"1")
        world.put(b"a", value=b"2")
        world.delete(A)
        assert world.hub.is_delivering
        world.compact(world.engine.durable)
        world.finish()
        events = [(m.watch_id, e) for m in taken(stream) for e in m.events]
        for watch_id in (1, 2, 3):
            values = [e.prev_kv and e.prev_kv.value for each, e in events if each == watch_id]
            assert values == [b"0", b"1", b"2"]
        assert [e.prev_kv for each, e in events if each == 0] == [None] * 3

    def test_a_group_without_them_gets_none(self, world: World) -> None:
        world.put(b"a")
        stream = world.stream(WatchCreate(A), WatchCreate(ALL_KEYS, prev_kv=True))
        world.put(b"a")
        world.finish()
        has_prev = {m.watch_id: m.events[0].prev_kv is not None for m in taken(stream)}
        assert has_prev == {0: False, 1: True}


class TestProgress:
    def test_a_request_waits_for_the_events_before_it(self, world: World) -> None:
        stream = world.stream(*[WatchCreate(A)] * 3)
        revision = world.put(b"a")
        stream.request_progress()
        stream.request_progress()
        messages = taken(stream)
        assert [m for m in messages if not m.events] == []
        world.finish()
        messages += taken(stream)
        assert [m.watch_id for m in messages if m.events] == [0, 1, 2]
        assert [(m.watch_id, m.revision) for m in messages[3:]] == [(-1, revision)]

    def test_it_is_answered_though_more_is_published_all_the_time(self, world: World) -> None:
        stream = world.stream(*[WatchCreate(A)] * 3)
        first = world.put(b"a")
        stream.request_progress()
        for _ in range(10):
            world.put(b"a")
            world.work()
        assert world.hub.is_delivering
        progress = [m for m in taken(stream) if m.watch_id == -1]
        assert [m.revision >= first for m in progress] == [True]

    def test_it_does_not_step_back_behind_a_watcher_that_joined(self, world: World) -> None:
        world.stream(*[WatchCreate(A)] * 4)
        world.put(b"a")
        second = world.put(b"a")
        stream = world.stream(WatchCreate(A), WatchCreate(A, start_revision=second))
        assert world.hub.delivered < second
        taken(stream)
        stream.request_progress()
        messages = []
        while world.hub.has_work:
            world.work()
            messages += taken(stream)
        assert [(m.watch_id, m.revision) for m in messages] == [(-1, second)]

    def test_the_timer_says_no_more_than_was_delivered(self, world: World) -> None:
        stream = world.stream(*[WatchCreate(A, progress_notify=True)] * 3)
        other = world.stream(WatchCreate(KeyRange(b"z"), progress_notify=True))
        before = world.engine.durable
        after = world.put(b"a")
        while not stream.has_work:
            world.work()
        stream.tick_progress()
        other.tick_progress()
        assert [(m.watch_id, m.revision) for m in taken(other)] == [(0, before)]
        told = {m.watch_id: m.revision for m in taken(stream) if not m.events}
        assert told == {1: before, 2: before}
        world.finish()
        taken(stream)
        other.tick_progress()
        assert [m.revision for m in taken(other)] == [after]

    def test_the_timer_of_a_stream_that_nobody_reads_queues_nothing(self, world: World) -> None:
        stream = world.stream(*[WatchCreate(A, progress_notify=True)] * 3)
        for _ in range(100):
            stream.tick_progress()
        assert len(stream._queue) == 0
        assert [m.watch_id for m in taken(stream)] == [0, 1, 2]

    def test_a_future_start_holds_it_back(self, world: World) -> None:
        stream = world.stream(WatchCreate(A, start_revision=3), WatchCreate(A))
        stream.request_progress()
        assert taken(stream) == []
        world.put(b"x", b"x")
        world.finish()
        stream.request_progress()
        assert [m.revision for m in taken(stream)] == [3]
        stream.create(WatchCreate(A, start_revision=9))
        taken(stream)
        stream.request_progress()
        assert taken(stream) == []
        stream.cancel(2)
        taken(stream)
        stream.request_progress()
        assert [m.revision for m in taken(stream)] == [3]


class TestCost:
    @pytest.mark.parametrize("kind", [KeyRange, KeyRange.prefix])
    def test_a_put_does_as_much_whatever_others_watch(
        self, world: World, kind: Callable[[bytes], KeyRange]
    ) -> None:
        """Calls are counted, of Python and of C."""
        with patch("kvstore.core.watch.hub.WATCH_TURN_WATCHERS", 256):
            stream = world.stream(*[WatchCreate(kind(b"%06d/" % at)) for at in range(100)])
            few = calls_of(lambda: world.put(b"000050/"))
            for at in range(100, 5_000):
                stream.create(WatchCreate(kind(b"%06d/" % at)))
            world.hub.work()
            many = calls_of(lambda: world.put(b"000050/"))
        assert many <= few + 2 * (kind != KeyRange) * 6  # levels of the tree


def calls_of(work: Callable[[], object]) -> int:
    count = 0

    def profile(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("watches", KINDS, ids=["one-key", "overlapping", "of-each-kind"])
def test_what_others_do_before_a_torn_delivery_is_put_in_order_loses_nothing(
    watches: list[WatchCreate],
) -> None:
    """An exception comes out of a piece, and other threads commit and work before the mending."""
    for at in range(1, 10_000):
        world = World()
        streams = [world.stream(each) for each in watches]
        first = world.put(b"a")
        interruption = Interruption(("/kvstore/core/",), at)
        with contextlib.suppress(Interrupted), interruption:
            while world.hub.has_work:
                world.hub.work()
        world.put(b"a")
        while world.hub.has_work:
            world.hub.work()
        last = world.put(b"a")
        world.engine.mend()
        while world.hub.has_work:
            world.hub.work()
        for stream in streams:
            got = [e.kv.mod_revision for message in taken(stream) for e in message.events]
            assert got == list(range(first, last + 1)), interruption.where
        assert world.engine.check() == []
        if not interruption.where:
            return
