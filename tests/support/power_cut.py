"""A disk in RAM that can lose power, for the journal, and what LMDB's file may be like then.

What is modelled: a write that has returned is on the disk (the files are opened with O_DSYNC); of
one that has not, any of several parts may be. A change of a name is on the disk after
`sync_names`; of those before it any may be, in whatever selection. Of a commit of LMDB any
selection of its pages may be there, and the meta page after all of them, since it is written after
a sync; what it changes there is within one sector. The pages are told from the file before and
after the commit. Not modelled: the creation of LMDB's file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from kvstore.backend.interface import WriteBatch
from kvstore.backend.journal.disk import Disk
from kvstore.backend.lmdb import DATA_FILE, LmdbBackend

__all__ = ["CutDisk", "CutLmdb", "Files", "FullDisk", "Image"]

Files = tuple[tuple[str, bytes], ...]
"""(name, content), by name."""
PAGE = 4096
META_PAGES = 2


class Image(NamedTuple):
    """A directory as a power cut leaves it."""

    files: Files
    """Of the journal."""
    lmdb: bytes


class _Change(NamedTuple):
    number: int
    """Of the content: a name may have had another one before."""
    name: str
    """"" when it was made."""
    new_name: str
    """"" when it was removed."""


class CutDisk(Disk):
    """Keeps the files of a journal in RAM and tells `on_cut` each way in which power may go."""

    def __init__(
        self, directory: Path, files: Files, on_cut: Callable[[Files], None] = lambda files: None
    ) -> None:
        """`directory` is where LMDB's file is."""
        super().__init__(directory)
        self._on_cut = on_cut
        self._contents = {number: bytearray(data) for number, (_, data) in enumerate(files)}
        self._names = {name: number for number, (name, _) in enumerate(files)}
        self._synced = dict(self._names)
        self._changes: list[_Change] = []
        self._open: dict[int, int] = {}

    def names(self) -> list[str]:
        return sorted(self._names)

    def read(self, name: str, most: int = -1) -> bytes:
        content = self._contents[self._number(name)]
        return bytes(content if most < 0 else content[:most])

    def size(self, name: str) -> int:
        return len(self._contents[self._number(name)])

    def create(self, name: str, size_bytes: int) -> None:
        number = self._names.get(name, len(self._contents))
        self._contents[number] = bytearray(size_bytes // 2)
        self._names[name] = number
        self._changes.append(_Change(number, "", name))
        self._cut()
        self._contents[number] = bytearray(size_bytes)
        self._cut()

    def open(self, name: str) -> int:
        file = max(self._open, default=100) + 1
        self._open[file] = self._number(name)
        return file

    def write(self, file: int, data: bytes, at: int) -> None:
        content, middle = self._contents[self._open[file]], len(data) // 2
        before = bytes(content[at : at + len(data)])
        for begin, end in {(0, 12), (0, middle), (0, len(data) - 1), (middle, len(data))}:
            content[at + begin : at + end] = data[begin:end]
            self._cut()
            content[at : at + len(data)] = before
        content[at : at + len(data)] = data
        self._cut()

    def close(self, file: int) -> None:
        del self._open[file]

    def rename(self, name: str, new_name: str) -> None:
        number = self._names.pop(self._exists(name))
        self._names[new_name] = number
        self._changes.append(_Change(number, name, new_name))
        self._cut()

    def remove(self, name: str) -> None:
        number = self._names.pop(self._exists(name))
        self._changes.append(_Change(number, name, ""))
        self._cut()

    def sync_names(self) -> None:
        self._synced, self._changes = dict(self._names), []
        self._cut()

    def images(self) -> Iterator[Files]:
        """What the directory may hold if power goes now."""
        changes = self._changes
        sizes = range(len(changes) + 1) if len(changes) <= 4 else (0, 1, len(changes))
        for size in sizes:
            for some in combinations(changes, size):
                names = self._names_after(some)
                yield tuple(
                    (name, bytes(self._contents[number])) for name, number in sorted(names.items())
                )

    def _names_after(self, changes: tuple[_Change, ...]) -> dict[str, int]:
        names = dict(self._synced)
        for number, name, new_name in changes:
            if names.get(name) == number:
                del names[name]
            if new_name:
                names[new_name] = number
        return names

    def _cut(self) -> None:
        for files in self.images():
            self._on_cut(files)

    def _number(self, name: str) -> int:
        return self._names[self._exists(name)]

    def _exists(self, name: str) -> str:
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return name


class CutLmdb(LmdbBackend):
    """Tells `on_cut` what LMDB's file may be like if power goes during one of its commits."""

    on_cut: Callable[[bytes], None] = staticmethod(lambda data: None)
    chance = Random(1)

    def commit(self, batch: WriteBatch) -> None:
        before = self._file()
        super().commit(batch)
        self._cut(before)

    rewrite = commit

    def move(self, *args: Any) -> None:
        before = self._file()
        super().move(*args)
        self._cut(before)

    def _file(self) -> bytes:
        return (Path(self._dir) / DATA_FILE).read_bytes()

    def _cut(self, before: bytes) -> None:
        after = self._file()
        changed = [
            at
            for at in range(META_PAGES * PAGE, len(after), PAGE)
            if after[at : at + PAGE] != before[at : at + PAGE]
        ]
        half = self.chance.sample(changed, len(changed) // 2)
        for pages in (changed[:1], half, [at for at in changed if at not in half], changed):
            image = bytearray(before)
            for at in pages:
                image[len(image) : at] = bytes(max(at - len(image), 0))
                image[at : at + PAGE] = after[at : at + PAGE]
            self.on_cut(bytes(image))
        self.on_cut(after)


class FullDisk(Disk):
    """Refuses to create and to write while it `is_full` or `is_broken`.

    With `part`, the next write that fails leaves so many bytes, and what follows it goes through.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.is_full = self.is_broken = False
        self.part = 0

    def create(self, name: str, size_bytes: int) -> None:
        self._check()
        super().create(name, size_bytes)

    def write(self, file: int, data: bytes, at: int) -> None:
        if self.part:
            super().write(file, data[: self.part], at)
            code = errno.ENOSPC if self.is_full else errno.EIO
            self.part, self.is_full, self.is_broken = 0, False, False
            raise OSError(code, os.strerror(code))
        self._check()
        super().write(file, data, at)

    def _check(self) -> None:
        for is_so, code in ((self.is_full, errno.ENOSPC), (self.is_broken, errno.EIO)):
            if is_so:
                raise OSError(code, os.strerror(code))
