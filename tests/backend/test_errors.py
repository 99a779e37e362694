"""What each error of each call means: nothing was written, the outcome is unknown, or no harm.

The table of docs/internals/architecture.md, row by row.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from errno import EACCES, EDQUOT, EFBIG, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS
from pathlib import Path

import pytest

from kvstore.backend.interface import BackendFull, BackendRefused, CommitUncertain, WriteBatch
from kvstore.backend.journaled import JournaledBackend
from kvstore.errors import OpenError
from tests.backend.commits import dump, key
from tests.support.failing_os import FailingOs

JOURNAL = "kvstore.backend.journal.journal"
NO_ROOM = (ENOSPC, EDQUOT, EFBIG)
ERRORS = (EIO, *NO_ROOM, EMFILE, ENFILE, ENOMEM, EINTR, EROFS, EACCES)
SMALL, LARGE = 100, 1500

NAMES = ("open directory", "fsync directory", "close directory")
MAKE = (
    *("unlink spare", "open spare", "fchmod spare", "posix_fallocate spare", "pwrite spare"),
    *("fsync spare", "close spare", "rename spare", *NAMES),
)
USE = ("open spare", "pwrite spare", "rename spare", *NAMES)
RELEASE = ("rename segment", *NAMES, "unlink spare")
RECOVER = (
    *("listdir directory", "open segment", "stat segment", "stat spare", "rename segment", *NAMES),
    "pwrite segment",
)
REFUSED = ("refused", "full", "refused")
HARMLESS = ("done", "done", "done")

# when, the call, and the verdict for an input/output error, for no room, for any other error
TABLE = [
    ("write an entry", "pwrite segment", "unknown", "full", "refused"),
    *(("make a segment", call, *REFUSED) for call in MAKE),
    ("make a segment", "close segment", *HARMLESS),
    *(("use a spare", call, *REFUSED) for call in USE),
    ("use a spare", "close segment", *HARMLESS),
    *(("pass over a segment", call, *REFUSED) for call in MAKE),
    ("pass over a segment", "close segment", *HARMLESS),
    # Also the calls that make the next segment meanwhile.
    *(("release segments", call, *HARMLESS) for call in sorted({*RELEASE, *MAKE})),
    *(("recover", call, *["not opened"] * 3) for call in RECOVER),
    ("recover", "unlink spare", *HARMLESS),
    ("recover", "close segment", *HARMLESS),
]
ROWS = [
    (when, call, error, at_eio if error == EIO else no_room if error in NO_ROOM else other)
    for when, call, at_eio, no_room, other in TABLE
    for error in (ERRORS if when != "pass over a segment" else (EIO, ENOSPC, EMFILE))
]


def record(number: int, size: int) -> WriteBatch:
    return WriteBatch([(key(number), bytes(size))])


class Store:
    """A backend whose journal makes its calls through `calls`, and what was acknowledged."""

    def __init__(self, path: Path, calls: FailingOs) -> None:
        self.path, self.calls = path, calls
        self.acknowledged = 0
        self.backend = self.open(path)

    def open(self, path: Path) -> JournaledBackend:
        return JournaledBackend(path, background=False)

    def commit(self, size: int = SMALL) -> str:
        """The verdict."""
        try:
            self.backend.commit(record(self.acknowledged + 1, size))
        except BackendFull:
            return "full"
        except BackendRefused:
            return "refused"
        except CommitUncertain:
            return "unknown"
        self.acknowledged += 1
        return "done"

    def fill(self) -> None:
        """The next commit finds no room in the segment."""
        journal = self.backend._journal
        assert journal is not None
        while journal._active.end + LARGE + SMALL < 8192:
            assert self.commit(LARGE) == "done"

    def copies(self) -> int:
        """How many records a crash leaves."""
        self.calls.fail()
        copy = self.path.parent / "copy"
        shutil.copytree(self.path, copy)
        backend = self.open(copy)
        rows = dump(backend)[0]
        backend.close()
        shutil.rmtree(copy)
        assert [name for name, _ in rows] == [key(each + 1) for each in range(len(rows))]
        return len(rows)


def write_an_entry(store: Store) -> str:
    return store.commit()


def make_a_segment(store: Store) -> str:
    return store.commit(LARGE)


def pass_over_a_segment(store: Store) -> str:
    """The next one is there, and too small for the commit."""
    return store.commit(5 * LARGE)


def release_segments(store: Store) -> str:
    store.backend.checkpoint()
    return store.commit()


def recover(store: Store) -> str:
    crashed = store.path.parent / "crashed"
    shutil.rmtree(crashed, ignore_errors=True)
    shutil.copytree(store.path, crashed)
    try:
        backend = store.open(crashed)
    except OpenError:
        return "not opened"
    assert len(dump(backend)[0]) == store.acknowledged
    backend.close()
    return "done"


ACTIONS: dict[str, Callable[[Store], str]] = {
    "write an entry": write_an_entry,
    "make a segment": make_a_segment,
    "use a spare": make_a_segment,
    "pass over a segment": pass_over_a_segment,
    "release segments": release_segments,
    "recover": recover,
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    calls = FailingOs()
    for name in ("LEAST_SEGMENT_BYTES", "SEGMENT_BYTES"):
        monkeypatch.setattr(f"{JOURNAL}.{name}", 8192)
    monkeypatch.setattr(f"{JOURNAL}.SPARE_SEGMENTS", 2)
    monkeypatch.setattr("kvstore.backend.journal.disk.os", calls)
    monkeypatch.setattr("kvstore.backend.directory.os", calls)
    store = Store(tmp_path / "data", calls)
    store.commit()
    store.commit()
    return store


def prepare(store: Store, when: str) -> None:
    """Bring about what the action is to meet."""
    journal = store.backend._journal
    assert journal is not None
    if when in ("make a segment", "use a spare"):
        store.fill()
    if when in ("use a spare", "release segments", "recover"):
        for _ in range(3):
            assert store.commit(LARGE * 2) == "done"
    if when == "use a spare":
        store.backend.checkpoint()
        store.fill()
        assert store.commit(LARGE) == "done"  # into the segment that the checkpoint made
        store.fill()
        assert journal._spares
        assert not journal.is_prepared
    if when == "pass over a segment":
        journal.prepare()
    if when == "recover":
        store.backend.checkpoint()
        assert store.commit(LARGE) == "done"
        journal.prepare()  # a segment behind the last entry


@pytest.mark.parametrize(("when", "call", "error", "verdict"), ROWS)
def test_the_verdict_is_the_one_in_the_table(
    store: Store, when: str, call: str, error: int, verdict: str
) -> None:
    prepare(store, when)
    store.calls.fail(call, error=error)
    assert ACTIONS[when](store) == verdict
    assert call in store.calls.made
    store.calls.fail()
    there = store.copies()
    if verdict == "unknown":
        assert there in (store.acknowledged, store.acknowledged + 1)
        assert store.commit() == "unknown", "until it is opened again"
        store.backend.close()
        return
    assert there == store.acknowledged
    assert ACTIONS[when](store) == "done"
    for size in (SMALL, LARGE, 3 * LARGE, 5 * LARGE):
        assert store.commit(size) == "done"
    assert store.copies() == store.acknowledged
    store.backend.close()


@pytest.mark.parametrize("part", [1, 24, 60])
@pytest.mark.parametrize("error", ERRORS)
def test_a_part_of_an_entry_is_erased_or_the_outcome_is_unknown(
    store: Store, error: int, part: int
) -> None:
    store.calls.fail("pwrite segment", error=error, part=part)
    verdict = "unknown" if error == EIO else "full" if error in NO_ROOM else "refused"
    assert store.commit() == verdict
    store.calls.fail()
    assert store.copies() == store.acknowledged
    if error != EIO:
        store.calls.fail("pwrite segment", "erase segment", error=error, part=part)
        assert store.commit() == "unknown"
        store.calls.fail()
        assert store.copies() == store.acknowledged
    store.backend.close()


@pytest.mark.parametrize("when", ACTIONS)
def test_every_call_that_is_made_is_in_the_table(store: Store, when: str) -> None:
    prepare(store, when)
    store.calls.fail()
    ACTIONS[when](store)
    made = {call for call in store.calls.made if not call.endswith(" other")}
    store.backend.close()
    known = {call for row_when, call, *_ in TABLE if row_when in (when, "write an entry")}
    assert made - known == set()
