"""The segments of a journal: entries are appended to the active one, the next one is made ahead.

    spare-N ──head, name──▶ next ──the active is full──▶ active ──▶ old ──LMDB has it──▶ spare-N

A commit that finds the next segment ready costs one write, also when it goes into a new segment.
"""

from __future__ import annotations

import contextlib
import threading
from itertools import count
from typing import NamedTuple, NoReturn

from kvstore.backend.interface import BackendFull, CommitUncertain
from kvstore.backend.journal.disk import OUT_OF_SPACE, Disk
from kvstore.backend.journal.entry import HEAD_BYTES, padded, seal
from kvstore.backend.journal.replay import Replayed, Tail
from kvstore.backend.journal.segment import (
    FIRST_ENTRY,
    live_name,
    number_of,
    pack_head,
    spare_name,
)
from kvstore.limits import LEAST_SEGMENT_BYTES, SEGMENT_BYTES, SPARE_SEGMENTS

__all__ = ["Journal", "Position"]


class Position(NamedTuple):
    sequence: int
    number: int
    at: int


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
        Raises OSError.
        """
        self._disk, self.journal_id = disk, journal_id
        self._next_bytes = LEAST_SEGMENT_BYTES
        self._lock = threading.Lock()
        self._next: _Segment | None = None
        self._old: list[int] = []
        self._spares: dict[str, int] = {}
        self._retire(replayed.unused)
        self._last_number = 0
        for name in disk.names():
            number, is_live = number_of(name) or (0, True)
            self._last_number = max(self._last_number, number)
            if not is_live and disk.size(name) < LEAST_SEGMENT_BYTES:
                disk.remove(name)  # a crash cut its making short
            elif not is_live:
                self._spares[name] = disk.size(name)
        tail = replayed.tail
        if tail is not None:
            self._last_number = tail.number
        self.sequence = replayed.sequence
        self._old = replayed.live[:-1]
        self._active = self._make(0) if tail is None else self._resume(tail)

    def __repr__(self) -> str:
        return (
            f"Journal(sequence={self.sequence}, segment={self._active.number}, "
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

        Raises BackendFull (nothing of it is on the disk), CommitUncertain.
        """
        size = padded(len(body))
        segment = self._active
        if segment.end + size > segment.size_bytes:
            segment = self._rotate(size)
        sequence, at = self.sequence + 1, segment.end
        data = seal(body, segment.salt, sequence)
        try:
            self._disk.write(segment.file, data, at)
        except OSError as error:
            self._take_back(segment, at, error)
        segment.end = at + size
        self.sequence = sequence
        return Position(sequence, segment.number, at)

    def prepare(self) -> None:
        """Make the next segment, unless it is there. Any thread. Raises as `append`."""
        with self._lock:
            if self._next is None:
                self._next = self._make_or_refuse(0)

    def release(self, number: int) -> None:
        """LMDB has everything below this segment. Raises OSError."""
        with self._lock:
            covered = [old for old in self._old if old < number]
            self._old = [old for old in self._old if old >= number]
            sizes = [self._disk.size(live_name(old)) for old in covered]
            self._retire(covered)
            self._spares.update(zip(map(spare_name, covered), sizes, strict=True))
            self._shed(SPARE_SEGMENTS)

    def shed(self) -> None:
        """Give the disk back what waits for its next use. Raises OSError."""
        with self._lock:
            self._shed(0)

    def close(self) -> None:
        for segment in (self._active, self._next):
            if segment is not None:
                self._disk.close(segment.file)

    def _rotate(self, entry_bytes: int) -> _Segment:
        with self._lock:
            while self._active.end + entry_bytes > self._active.size_bytes:
                if self._next is None:
                    self._next = self._make_or_refuse(FIRST_ENTRY + entry_bytes)
                full, self._active, self._next = self._active, self._next, None
                self._old.append(full.number)
                self._disk.close(full.file)
        return self._active

    def _take_back(self, segment: _Segment, at: int, error: OSError) -> NoReturn:
        """No part of a failed entry may ever look valid."""
        if error.errno in OUT_OF_SPACE:
            with contextlib.suppress(OSError):
                self._disk.write(segment.file, bytes(HEAD_BYTES), at)
                raise BackendFull(f"the disk is full: {error}") from error
        raise CommitUncertain(f"the journal could not be written: {error}") from error

    # -- files; with the lock held -----------------------------------------------------------------

    def _make_or_refuse(self, least_bytes: int) -> _Segment:
        try:
            return self._make(least_bytes)
        except OSError as error:
            if error.errno in OUT_OF_SPACE:
                raise BackendFull(f"no room for the journal: {error}") from error
            raise CommitUncertain(f"the journal could not be written: {error}") from error

    def _make(self, least_bytes: int) -> _Segment:
        """A live segment without entries, from a spare or a new file. Raises OSError."""
        name, size = self._spare(least_bytes)
        number = self._last_number + 1
        head, salt = pack_head(self.journal_id, number)
        file = self._disk.open(name)
        try:
            self._disk.write(file, head, 0)
            del self._spares[name]
            self._disk.rename(name, live_name(number))
            self._disk.sync_names()
        except BaseException:
            self._disk.close(file)
            raise
        self._last_number = number
        self._next_bytes = 2 * size
        return _Segment(number, salt, size, file)

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
                with contextlib.suppress(FileNotFoundError):
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
        for number in numbers:
            self._disk.rename(live_name(number), spare_name(number))
        if numbers:
            self._disk.sync_names()

    def _shed(self, keep: int) -> None:
        """Remove the smallest spares."""
        by_size = sorted(self._spares, key=self._spares.__getitem__, reverse=True)
        for name in by_size[keep:]:
            self._disk.remove(name)
            del self._spares[name]

    def _resume(self, tail: Tail) -> _Segment:
        self._next_bytes = 2 * tail.size_bytes
        file = self._disk.open(live_name(tail.number))
        segment = _Segment(tail.number, tail.salt, tail.size_bytes, file, tail.at)
        end = bytes(min(HEAD_BYTES, tail.size_bytes - tail.at))
        if tail.last or end:
            self._disk.write(file, tail.last + end, tail.at - len(tail.last))
        return segment
