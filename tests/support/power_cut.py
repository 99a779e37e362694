"""Images of a data directory as a power cut would leave it, at each step of writing a journal."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from kvstore.backend.journal.disk import Disk

__all__ = ["FullDisk", "ImagedDisk"]


class ImagedDisk(Disk):
    """Works as a disk does, and calls `on_image` with a directory for each way to lose power.

    Before each operation there is an image; for a write there is one for each of several parts of
    it that may have reached the disk, and each image comes twice when names have changed since
    they were last synced: with the new names and with the old ones. LMDB's file is copied as it
    is, since its own commits are not under way meanwhile.
    """

    def __init__(self, directory: Path, images: Path, on_image: Callable[[Path], None]) -> None:
        super().__init__(directory)
        self._images, self._on_image = images, on_image
        self._renamed: list[tuple[str, str]] = []
        self._names: dict[int, str] = {}
        self.count = 0

    def create(self, name: str, size_bytes: int) -> None:
        self._image()
        super().create(name, size_bytes)
        self._image(lambda image: os.truncate(image / name, size_bytes // 2))

    def open(self, name: str) -> int:
        file = super().open(name)
        self._names[file] = name
        return file

    def write(self, file: int, data: bytes, at: int) -> None:
        middle = len(data) // 2
        for begin, end in ((0, 0), (0, 12), (0, middle), (0, len(data) - 1), (middle, len(data))):

            def tear(image: Path, begin: int = begin, end: int = end) -> None:
                with open(image / self._names[file], "r+b") as torn:
                    torn.seek(at + begin)
                    torn.write(data[begin:end])

            self._image(tear)
        super().write(file, data, at)
        self._image()

    def close(self, file: int) -> None:
        super().close(file)
        del self._names[file]

    def rename(self, name: str, new_name: str) -> None:
        super().rename(name, new_name)
        self._renamed.append((name, new_name))
        for file, known in self._names.items():
            if known == name:
                self._names[file] = new_name
        self._image()

    def remove(self, name: str) -> None:
        super().remove(name)
        self._image()

    def sync_names(self) -> None:
        self._image()
        super().sync_names()
        self._renamed.clear()
        self._image()

    def _image(self, change: Callable[[Path], None] = lambda image: None) -> None:
        for names_are_old in (False, True) if self._renamed else (False,):
            image = self._images / str(self.count)
            self.count += 1
            image.mkdir()
            for name in self.names():
                shutil.copyfile(self.directory / name, image / name)
            change(image)
            for name, new_name in reversed(self._renamed) if names_are_old else ():
                os.rename(image / new_name, image / name)
            try:
                self._on_image(image)
            except Exception as error:  # it is not the disk's error
                raise AssertionError(f"an image is not sound: {error!r}") from error
            shutil.rmtree(image)


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
