"""What a journal holds that LMDB lacks, read back after the end of a process.

A commit is written by one call and synced before the next begins, so a crash leaves at most one
entry that is not whole, and nothing behind it. With m the segment of an open mark and t the one of
the last whole entry (m, if there is none behind the mark), a crash leaves of the live segments

    below m        any: LMDB has what they hold, and they lose their names in any order
    m to t         all
    above t        t+1, t+2, ... without a gap, none or some of them, no whole entry in any: made
                   ahead, or too small for the commit that was cut short. An opening retires them
                   from the highest down, each for good before the next, so that what is left when
                   it is cut short is again such a run.

Whatever else is wrong is damage:

    found                                            means
    an invalid entry, nothing valid behind it        the end; a commit that was never acknowledged
    an invalid entry, a valid one behind it          CorruptStore
    a sequence that is not the last plus one         CorruptStore
    a head that was written after a later commit     CorruptStore: commits are missing
    a segment is missing, or its head is damaged     CorruptStore
    a file whose size is not the one in its head     CorruptStore
    LMDB's last commit is not where the mark says    CorruptStore

After a closed mark LMDB has everything: the segments are not needed, and whatever is wrong with
them costs nothing. Only a commit that follows the mark is told, since data.lmdb is then too old.
"""

from __future__ import annotations

from kvstore.backend.interface import WriteBatch
from kvstore.backend.journal.disk import Disk
from kvstore.backend.journal.entry import ALIGNMENT, decode
from kvstore.backend.journal.mark import Mark
from kvstore.backend.journal.segment import CURRENT, FIRST_ENTRY, NOTHING, Head, Layout, Position
from kvstore.errors import CorruptStore

__all__ = ["Replayed", "Tail", "replay"]


class Tail:
    """Where the next entry goes."""

    __slots__ = ("at", "last", "number", "salt", "size_bytes")

    def __init__(self, number: int, salt: bytes, size_bytes: int, at: int, last: bytes) -> None:
        """`last` is the last entry's bytes, which end there; b"" when none was read."""
        self.number, self.salt, self.size_bytes = number, salt, size_bytes
        self.at, self.last = at, last


class Replayed:
    __slots__ = ("above", "batches", "last", "old", "tail", "unused")

    def __init__(self, last: Position = NOTHING, *, unused: list[int] | None = None) -> None:
        self.last = last
        """The last commit of all."""
        self.batches: list[tuple[Position, int, WriteBatch]] = []
        """(position, size in bytes, batch) for what LMDB lacks, ascending."""
        self.tail: Tail | None = None
        """None: no segment is gone on with."""
        self.old: dict[int, int] = {}
        """Segments below the tail's that are needed, with their sizes."""
        self.above: list[int] = []
        """Live segments behind the tail's, ascending: to be retired from the end."""
        self.unused = [] if unused is None else unused
        """Other live segments that are not needed."""


def replay(disk: Disk, mark: Mark | None, layout: Layout = CURRENT) -> Replayed:
    """Reads only. Raises CorruptStore, OSError."""
    live = layout.live_numbers(disk.names())
    if mark is None:
        _check_unused(disk, live, layout)
        return Replayed(unused=live)
    if not mark.is_open:
        _check_closed(disk, live, mark, layout)
        return Replayed(mark.position, unused=live)
    needed = [number for number in live if number >= mark.number]
    if not needed or needed[0] != mark.number:
        raise CorruptStore(
            f"{layout.live_name(mark.number)} is missing: it may hold commits that data.lmdb lacks"
        )
    if needed[-1] - needed[0] != len(needed) - 1:
        raise CorruptStore(f"a segment between {needed[0]} and {needed[-1]} is missing")
    replayed = _Reader(disk, mark, layout).read(needed)
    replayed.unused = [number for number in live if number < mark.number]
    return replayed


def _check_unused(disk: Disk, numbers: list[int], layout: Layout) -> None:
    for number in numbers:
        name = layout.live_name(number)
        data, head = _read(disk, name, layout)
        if decode(memoryview(data), FIRST_ENTRY, head.salt):
            raise CorruptStore(f"data.lmdb knows of no journal, but {name} holds commits")


def _check_closed(disk: Disk, numbers: list[int], mark: Mark, layout: Layout) -> None:
    for number in numbers:
        name = layout.live_name(number)
        try:
            data, head = _read(disk, name, layout)
        except CorruptStore:
            continue
        at, view = FIRST_ENTRY, memoryview(data)
        while (entry := decode(view, at, head.salt)) is not None:
            if head.journal_id != mark.journal_id:
                raise CorruptStore(f"{name} belongs to another store")
            if entry.sequence > mark.sequence:
                raise CorruptStore(
                    f"{name} holds commit {entry.sequence}, and data.lmdb was closed after "
                    f"commit {mark.sequence}: they are of different times"
                )
            at = entry.end


def _read(disk: Disk, name: str, layout: Layout) -> tuple[bytes, Head]:
    """The whole file, and its head before: a file that is longer than that says may be of any size.

    Raises CorruptStore, OSError.
    """
    head = layout.read_head(name, disk.read(name, FIRST_ENTRY), disk.size(name))
    return disk.read(name), head


class _Reader:
    def __init__(self, disk: Disk, mark: Mark, layout: Layout) -> None:
        self._disk, self._mark, self._layout = disk, mark, layout
        self._replayed = Replayed(mark.position)
        self._sizes: dict[int, int] = {}

    def read(self, needed: list[int]) -> Replayed:
        replayed = self._replayed
        for number in needed:
            self._read_segment(number)
        assert replayed.tail is not None
        last = replayed.tail.number
        replayed.old = {number: self._sizes[number] for number in needed if number < last}
        replayed.above = [number for number in needed if number > last]
        return replayed

    def _read_segment(self, number: int) -> None:
        name, replayed, mark = self._layout.live_name(number), self._replayed, self._mark
        raw, head = _read(self._disk, name, self._layout)
        data = memoryview(raw)
        self._sizes[number] = len(raw)
        if head.journal_id != mark.journal_id:
            raise CorruptStore(f"{name} belongs to another store")
        self._check_reached(name, head)
        at, last_at = FIRST_ENTRY, 0
        if number == mark.number and mark.at:
            at, last_at = self._end_of_marked(name, data, head), mark.at
        while (entry := decode(data, at, head.salt)) is not None:
            if entry.sequence != replayed.last.sequence + 1:
                raise CorruptStore(
                    f"{name} goes on with commit {entry.sequence} after {replayed.last.sequence}"
                )
            replayed.last = Position(entry.sequence, number, at)
            replayed.batches.append((replayed.last, entry.end - at, entry.batch))
            at, last_at = entry.end, at
        _check_tail(name, raw, at, head.salt)
        if last_at or number == mark.number:
            last = raw[last_at:at] if last_at else b""
            replayed.tail = Tail(number, head.salt, len(raw), at, last)

    def _check_reached(self, name: str, head: Head) -> None:
        """All commits are there that were when a later segment's head was written."""
        found, after = self._replayed.last, head.after
        if found.sequence < after.sequence:
            raise CorruptStore(
                f"{name} was made after commit {after.sequence}, at offset {after.at} of segment "
                f"{after.number}, and the journal ends with commit {found.sequence}, at offset "
                f"{found.at} of segment {found.number}: what is between them is missing"
            )

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
