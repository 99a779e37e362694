"""The judges of watches are judged: each finds the fault that it is there for, and only faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvstore.keys import KeyRange
from kvstore.types import Event, EventType, KeyValue, WatchCreate, WatchFilter, WatchMessage
from tests.support import watch_guarantees as judges
from tests.support.watch_guarantees import History, Recording, violations

EVERYTHING = KeyRange(b"\x00", b"\x00")


def put(key: bytes, revision: int, create_revision: int, version: int) -> Event:
    value = b"%d" % revision
    return Event(EventType.PUT, KeyValue(key, value, create_revision, revision, version))


def delete(key: bytes, revision: int) -> Event:
    return Event(EventType.DELETE, KeyValue(key, mod_revision=revision))


A2, B3, A4, B4, A5, B6 = (
    put(b"a", 2, 2, 1),
    put(b"b", 3, 3, 1),
    put(b"a", 4, 2, 2),
    put(b"b", 4, 3, 2),
    delete(b"a", 5),
    put(b"b", 6, 3, 3),
)
HISTORY = History([A2, B3, A4, B4, A5, B6])
CREATED = WatchMessage(0, 1, created=True)


def message(*events: Event, fragment: bool = False) -> WatchMessage:
    return WatchMessage(0, events[-1].kv.mod_revision, events, fragment=fragment)


def progress(revision: int) -> WatchMessage:
    return WatchMessage(-1, revision)


def record(
    *messages: WatchMessage, request: WatchCreate | None = None, complete_to: int = 0
) -> Recording:
    return Recording(request or WatchCreate(EVERYTHING), (CREATED, *messages), complete_to)


FAITHFUL = (message(A2), message(B3), message(A4, B4), progress(4), message(A5), message(B6))


class TestFaithfulWatch:
    def test_nothing_is_found(self) -> None:
        assert violations(record(*FAITHFUL, complete_to=6), HISTORY) == []

    def test_fragments_of_one_revision_are_one_message(self) -> None:
        parts = (message(A4, fragment=True), message(B4))
        recording = record(message(A2), message(B3), *parts)
        assert violations(recording, HISTORY) == []

    def test_start_in_the_middle_and_filters_are_respected(self) -> None:
        request = WatchCreate(KeyRange(b"a"), 3, filters=(WatchFilter.NOPUT,))
        created = CREATED._replace(revision=6)
        recording = Recording(request, (created, message(A5)), 6)
        assert violations(recording, HISTORY) == []

    def test_right_prev_kv_is_accepted(self) -> None:
        request = WatchCreate(EVERYTHING, prev_kv=True)
        with_prev = message(A4._replace(prev_kv=A2.kv), B4._replace(prev_kv=B3.kv))
        recording = record(message(A2), message(B3), with_prev, request=request)
        assert violations(recording, HISTORY) == []


@pytest.mark.parametrize(
    ("judge", "recording"),
    [
        (judges.filter_, record(message(B3), request=WatchCreate(KeyRange(b"a")))),
        (
            judges.filter_,
            record(message(A2), request=WatchCreate(EVERYTHING, filters=(WatchFilter.NOPUT,))),
        ),
        (judges.ordered, record(message(B3), message(A2))),
        (judges.unique, record(message(A2), message(A2))),
        (judges.atomic, record(message(A2), message(B3), message(A4), message(B4))),
        (judges.bookmarkable, record(message(A2), progress(3), message(B3))),
        (judges.bookmarkable, record(progress(4), progress(3))),
        (judges.bookmarkable, record(message(A2), message(B3), progress(2))),
        (judges.resumable, record(message(B3))),
        (judges.reliable, record(message(A2), message(A4, B4))),
        (judges.reliable, record(message(A2), message(B3), message(A4))),
        (judges.reliable, record(message(A2), complete_to=3)),
        (judges.reliable, record(message(A2), progress(3))),
        (
            judges.reliable,
            record(message(A2._replace(kv=A2.kv._replace(value=b"other")))),
        ),
        (judges.prev_kv, record(message(A4._replace(prev_kv=A2.kv)))),
        (
            judges.prev_kv,
            record(
                message(A4._replace(prev_kv=B3.kv)), request=WatchCreate(EVERYTHING, prev_kv=True)
            ),
        ),
        (
            judges.is_create,
            record(message(A4._replace(kv=A4.kv._replace(create_revision=4)))),
        ),
        (
            judges.is_create,
            record(message(B3._replace(kv=B3.kv._replace(create_revision=2)))),
        ),
    ],
)
def test_each_judge_finds_its_fault(
    judge: Callable[[Recording, History], list[str]], recording: Recording
) -> None:
    assert judge(recording, HISTORY)
