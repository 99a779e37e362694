"""What a journal holds that LMDB lacks, read back after the end of a process.

A commit is written by one call and synced before the next begins, so a crash leaves at most one
entry that is not whole, and nothing behind it. Whatever else is wrong is damage:

    found                                            means
    an invalid entry, nothing valid behind it        the end; a commit that was never acknowledged
    an invalid entry, a valid one behind it          CorruptStore
    a sequence that is not the last plus one         CorruptStore
    a segment is missing, or its head is damaged     CorruptStore
    LMDB's last commit is not where the mark says    CorruptStore
    no segment at all, and the mark is closed        the journal was removed: nothing is lost
"""

from __future__ import annotations

from typing import NamedTuple

from kvstore.backend.interface import WriteBatch
from kvstore.backend.journal.disk import Disk
from kvstore.backend.journal.entry import ALIGNMENT, decode
from kvstore.backend.journal.mark import Mark
from kvstore.backend.journal.segment import FIRST_ENTRY, Head, live_name, number_of, read_head
from kvstore.errors import CorruptStore

__all__ = ["Replayed", "Tail", "replay"]


class Tail(NamedTuple):
    """Where the next entry goes."""

    number: int
    salt: bytes
    size_bytes: int
    at: int
    last: bytes
    """The last entry's bytes, which end there; b"" when none was read."""


class Replayed:
    __slots__ = ("batches", "live", "sequence", "tail", "unused")

    def __init__(self, sequence: int = 0, unused: list[int] | None = None) -> None:
        self.sequence = sequence
        """The last commit of all."""
        self.batches: list[tuple[int, int, int, int, WriteBatch]] = []
        """(sequence, segment, offset, size in bytes, batch) for what LMDB lacks, ascending."""
        self.tail: Tail | None = None
        self.live: list[int] = []
        """Segments up to the tail's that are needed."""
        self.unused = [] if unused is None else unused
        """Segments with a live name that are not."""


def replay(disk: Disk, mark: Mark | None) -> Replayed:
    """Reads only. Raises CorruptStore, OSError."""
    found = [number_of(name) for name in disk.names()]
    live = sorted(each[0] for each in found if each is not None and each[1])
    if mark is None:
        _check_unused(disk, live, "data.lmdb knows of no journal")
        return Replayed(unused=live)
    needed = [number for number in live if number >= mark.number]
    if not needed or needed[0] != mark.number:
        if mark.is_open:
            raise CorruptStore(
                f"{live_name(mark.number)} is missing: it may hold commits that data.lmdb lacks"
            )
        _check_unused(disk, needed, f"{live_name(mark.number)} is missing")
        return Replayed(mark.sequence, live)
    if needed[-1] - needed[0] != len(needed) - 1:
        raise CorruptStore(f"a segment between {needed[0]} and {needed[-1]} is missing")
    return _Reader(disk, mark).read(needed, [number for number in live if number < mark.number])


def _check_unused(disk: Disk, numbers: list[int], why: str) -> None:
    for number in numbers:
        data = disk.read(live_name(number))
        if decode(memoryview(data), FIRST_ENTRY, read_head(live_name(number), data).salt):
            raise CorruptStore(f"{why}, but {live_name(number)} holds commits")


class _Reader:
    def __init__(self, disk: Disk, mark: Mark) -> None:
        self._disk, self._mark = disk, mark
        self._replayed = Replayed(mark.sequence)

    def read(self, needed: list[int], below: list[int]) -> Replayed:
        replayed = self._replayed
        for number in needed:
            self._read_segment(number)
        assert replayed.tail is not None
        last = replayed.tail.number
        replayed.live = [number for number in needed if number <= last]
        replayed.unused = below + [number for number in needed if number > last]
        return replayed

    def _read_segment(self, number: int) -> None:
        name, replayed, mark = live_name(number), self._replayed, self._mark
        raw = self._disk.read(name)
        data, head = memoryview(raw), read_head(name, raw)
        if head.journal_id != mark.journal_id:
            raise CorruptStore(f"{name} belongs to another store")
        at, last_at = FIRST_ENTRY, 0
        if number == mark.number and mark.at:
            at, last_at = self._end_of_marked(name, data, head), mark.at
        while (entry := decode(data, at, head.salt)) is not None:
            if entry.sequence != replayed.sequence + 1:
                raise CorruptStore(
                    f"{name} goes on with commit {entry.sequence} after {replayed.sequence}"
                )
            replayed.batches.append((entry.sequence, number, at, entry.end - at, entry.batch))
            replayed.sequence = entry.sequence
            at, last_at = entry.end, at
        _check_tail(name, raw, at, head.salt)
        if last_at or number == mark.number:
            last = raw[last_at:at] if last_at else b""
            replayed.tail = Tail(number, head.salt, len(raw), at, last)

    def _end_of_marked(self, name: str, data: memoryview, head: Head) -> int:
        """Where the last entry ends that LMDB has."""
        mark = self._mark
        entry = decode(data, mark.at, head.salt)
        if entry is None or entry.sequence != mark.sequence:
            raise CorruptStore(
                f"{name} lacks commit {mark.sequence}, which data.lmdb has: "
                "it is damaged or of another time"
            )
        return entry.end


def _check_tail(name: str, raw: bytes, at: int, salt: bytes) -> None:
    """Nothing behind the end of a segment may be a valid entry. Raises CorruptStore."""
    found = raw.find(salt, at + 1)
    while found >= 0:
        if found % ALIGNMENT == 0 and decode(memoryview(raw), found, salt) is not None:
            raise CorruptStore(
                f"{name} is damaged at offset {at}: a valid commit follows at {found}"
            )
        found = raw.find(salt, found + 1)
