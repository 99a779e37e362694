"""The segments of a journal: entries are appended to the active one, the next one is made ahead.

    spare-N ──head, name──▶ next ──the active is full──▶ active ──▶ old ──LMDB has it──▶ spare-N

A commit that finds the next segment ready costs one write, also when it goes into a new segment.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
from itertools import count
from typing import NoReturn

from kvstore.backend.interface import BackendFull, BackendRefused, CommitUncertain
from kvstore.backend.journal.disk import OUT_OF_SPACE, Disk
from kvstore.backend.journal.entry import HEAD_BYTES, padded, seal
from kvstore.backend.journal.replay import Replayed, Tail
from kvstore.backend.journal.segment import (
    CURRENT,
    FIRST_ENTRY,
    Position,
    live_name,
    pack_head,
    spare_name,
    spare_number,
)
from kvstore.limits import LEAST_SEGMENT_BYTES, SEGMENT_BYTES, SPARE_SEGMENTS

__all__ = ["Journal"]

log = logging.getLogger(__name__)
_PASSING = OUT_OF_SPACE | {
    errno.EINTR,
    errno.EAGAIN,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
}
"""What says of a write that it was refused, not that the disk failed while it was under way."""


class _Segment:
    __slots__ = ("end", "file", "number", "salt", "size_bytes")

    def __init__(
        self, number: int, salt: bytes, size_bytes: int, file: int, end: int = FIRST_ENTRY
    ) -> None:
        self.number, self.salt, self.size_bytes = number, salt, size_bytes
        self.file, self.end = file, end


class Journal:
    def __init__(self, disk: Disk, journal_id: bytes, replayed: Replayed) -> None:
        """What was read is taken over: the next entry goes behind the last one.

        The last entry may be in the kernel's cache and not on the disk, so it is written once
        more before anybody sees it; what a torn write left behind it is made invalid for good.
        Raises OSError; then it may be tried again.
        """
        self._disk, self.journal_id = disk, journal_id
        self._next_bytes = LEAST_SEGMENT_BYTES
        self._lock = threading.Lock()
        self._next: _Segment | None = None
        self._old = dict(replayed.old)
        self._spares: dict[str, int] = {}
        self.last = replayed.last
        """The last commit that is durable."""
        self._names_are_synced = False
        self._retire_from_the_end(replayed.above)
        self._retire(replayed.unused)
        self._last_number = self._take_stock()
        tail = replayed.tail
        if tail is not None:
            self._last_number = tail.number
        self._active = self._make(0) if tail is None else self._resume(tail)

    def __repr__(self) -> str:
        return (
            f"Journal(sequence={self.last.sequence}, segment={self._active.number}, "
            f"{len(self._old)} old, {len(self._spares)} spare)"
        )

    @property
    def number(self) -> int:
        """The active segment's."""
        return self._active.number

    @property
    def is_prepared(self) -> bool:
        return self._next is not None

    def append(self, body: bytes) -> Position:
        """Durable on return. One thread at a time.

        Raises BackendRefused, BackendFull (nothing of it is on the disk), CommitUncertain.
        """
        size = padded(len(body))
        segment = self._active
        if segment.end + size > segment.size_bytes:
            segment = self._rotate(size)
        sequence, at = self.last.sequence + 1, segment.end
        try:
            data = seal(body, segment.salt, sequence)
        except MemoryError as error:
            raise BackendRefused("there is no memory to write a commit") from error
        try:
            self._disk.write(segment.file, data, at)
        except OSError as error:
            self._take_back(segment, at, error)
        segment.end = at + size
        self.last = last = Position(sequence, segment.number, at)
        return last

    def prepare(self) -> None:
        """Make the next segment, unless it is there. Any thread.

        Raises BackendRefused, BackendFull.
        """
        with self._lock:
            if self._next is None:
                self._next = self._make_or_refuse(0)

    def release(self, number: int) -> None:
        """LMDB has everything below this segment. What the system refuses is done next time."""
        with self._lock:
            try:
                for old in [old for old in self._old if old < number]:
                    self._rename(live_name(old), spare_name(old))
                    self._spares[spare_name(old)] = self._old.pop(old)
                self._sync_names()
            except OSError as error:
                log.warning("a segment of the journal could not be released yet: %s", error)
            self._shed(SPARE_SEGMENTS)

    def shed(self) -> None:
        """Give the disk back what waits for its next use."""
        with self._lock:
            self._shed(0)

    def close(self) -> None:
        for segment in (self._active, self._next):
            if segment is not None:
                self._close(segment.file)

    def _rotate(self, entry_bytes: int) -> _Segment:
        with self._lock:
            while self._active.end + entry_bytes > self._active.size_bytes:
                if self._next is None:
                    self._next = self._make_or_refuse(FIRST_ENTRY + entry_bytes)
                full, self._active, self._next = self._active, self._next, None
                self._old[full.number] = full.size_bytes
                self._close(full.file)
        return self._active

    def _take_back(self, segment: _Segment, at: int, error: OSError) -> NoReturn:
        """No part of a failed entry may ever look valid."""
        if error.errno in _PASSING:
            with contextlib.suppress(OSError):
                self._disk.write(segment.file, bytes(HEAD_BYTES), at)
                raise _refusal("the journal could not be written", error)
        raise CommitUncertain(f"the journal could not be written: {error}") from error

    # -- files; with the lock held -----------------------------------------------------------------

    def _make_or_refuse(self, least_bytes: int) -> _Segment:
        """Whatever fails here, nothing of an entry was written."""
        try:
            return self._make(least_bytes)
        except OSError as error:
            raise _refusal("the next segment of the journal could not be made", error) from error

    def _make(self, least_bytes: int) -> _Segment:
        """A live segment without entries, from a spare or a new file.

        Raises OSError; it may be tried again: the same number is then given to another file, whose
        name replaces that of one that may have been made.
        """
        name, size = self._spare(least_bytes)
        self._sync_names()  # or a head that is cut short could yet have a live name
        number = self._last_number + 1
        head, salt = pack_head(self.journal_id, number, size, self.last)
        try:
            file = self._disk.open(name)
        except FileNotFoundError:  # somebody removed it
            del self._spares[name]
            raise
        try:
            self._write_head(name, file, head)
            self._rename(name, live_name(number))
            del self._spares[name]
            self._sync_names()
        except BaseException:
            self._close(file)
            raise
        self._last_number = number
        self._next_bytes = 2 * size
        return _Segment(number, salt, size, file)

    def _write_head(self, name: str, file: int, head: bytes) -> None:
        try:
            self._disk.write(file, head, 0)
        except OSError:
            self._drop(name)  # another file may lie on a better place of the disk
            raise

    def _spare(self, least_bytes: int) -> tuple[str, int]:
        """(name, size) of a spare file; made, twice as large as the active one, if it must be."""
        wanted = max(least_bytes, min(self._next_bytes, SEGMENT_BYTES))
        largest = max(self._spares, key=self._spares.__getitem__, default="")
        if largest and self._spares[largest] >= wanted:
            return largest, self._spares[largest]
        size = wanted
        while True:
            name = next(name for name in map(spare_name, count()) if name not in self._spares)
            try:
                self._disk.create(name, size)
            except OSError as error:
                with contextlib.suppress(OSError):
                    self._disk.remove(name)
                if error.errno not in OUT_OF_SPACE:
                    raise
                if largest and self._spares[largest] >= least_bytes:
                    return largest, self._spares[largest]
                if size == max(least_bytes, LEAST_SEGMENT_BYTES):
                    raise
                size = max(least_bytes, LEAST_SEGMENT_BYTES, size // 2)
                continue
            self._spares[name] = size
            return name, size

    def _retire(self, numbers: list[int]) -> None:
        """A live name goes before the file is written again, so that no live head is ever torn."""
        there = CURRENT.live_numbers(self._disk.names())
        for number in numbers:
            if number in there:
                self._rename(live_name(number), spare_name(number))
        self._sync_names()

    def _retire_from_the_end(self, numbers: list[int]) -> None:
        """Each for good before the next: whatever cuts this short, no number is left out."""
        for number in reversed(numbers):
            self._retire([number])

    def _take_stock(self) -> int:
        """Note which spares there are; returns the highest number of any file, 0 for none."""
        names = self._disk.names()
        numbers = CURRENT.live_numbers(names)
        for name in names:
            number = spare_number(name)
            if number is not None:
                numbers.append(number)
                self._spares[name] = self._disk.size(name)
                if self._spares[name] < LEAST_SEGMENT_BYTES:  # a crash cut its making short
                    self._drop(name)
        return max(numbers, default=0)

    def _shed(self, keep: int) -> None:
        """Remove the smallest spares, as far as the system lets us."""
        by_size = sorted(self._spares, key=self._spares.__getitem__, reverse=True)
        for name in by_size[keep:]:
            self._drop(name)

    def _drop(self, name: str) -> None:
        """Forget a spare. If it cannot be removed, the next opening finds it."""
        del self._spares[name]
        with contextlib.suppress(OSError):
            self._disk.remove(name)

    def _rename(self, name: str, new_name: str) -> None:
        self._disk.rename(name, new_name)
        self._names_are_synced = False

    def _sync_names(self) -> None:
        if not self._names_are_synced:
            self._disk.sync_names()
            self._names_are_synced = True

    def _close(self, file: int) -> None:
        with contextlib.suppress(OSError):  # each write was synced by itself
            self._disk.close(file)

    def _resume(self, tail: Tail) -> _Segment:
        self._next_bytes = 2 * tail.size_bytes
        file = self._disk.open(live_name(tail.number))
        segment = _Segment(tail.number, tail.salt, tail.size_bytes, file, tail.at)
        end = bytes(min(HEAD_BYTES, tail.size_bytes - tail.at))
        try:
            if tail.last or end:
                self._disk.write(file, tail.last + end, tail.at - len(tail.last))
        except BaseException:
            self._close(file)
            raise
        return segment


def _refusal(what: str, error: OSError) -> BackendRefused:
    if error.errno in OUT_OF_SPACE:
        return BackendFull(f"{what}: {error}")
    return BackendRefused(f"{what}: {error}")
