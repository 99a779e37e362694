"""What the journal asks of a file system; a test puts a failing one in its place."""

from __future__ import annotations

import errno
import os

from kvstore.backend.directory import StrPath, make_file

__all__ = ["OUT_OF_SPACE", "Disk"]

OUT_OF_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ZEROS = bytes(1 << 20)


def _open_at_once(path: str, flags: int) -> int:
    """A pipe in the place of a file would keep a plain open waiting for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


class Disk:
    """The files of one directory, by their names. Everything raises OSError."""

    def __init__(self, directory: StrPath) -> None:
        self.directory = directory

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.directory))

    def read(self, name: str, most: int = -1) -> bytes:
        """All of it, or `most` bytes from its beginning."""
        with open(self._path(name), "rb", opener=_open_at_once) as opened:
            return opened.read(most)

    def size(self, name: str) -> int:
        return os.stat(self._path(name)).st_size

    def create(self, name: str, size_bytes: int) -> None:
        """Make a file full of zeros, on the disk on return.

        Zeros are written, not only allocated, so that a later write changes neither the size nor
        the extents of the file and its sync need not wait for the file system's own journal.
        """
        file = make_file(self._path(name))
        try:
            os.posix_fallocate(file, 0, size_bytes)
            for at in range(0, size_bytes, len(_ZEROS)):
                self._write_all(file, _ZEROS[: size_bytes - at], at)
            os.fsync(file)
        finally:
            os.close(file)

    def open(self, name: str) -> int:
        """A descriptor whose writes are on the disk when they return."""
        return os.open(self._path(name), os.O_RDWR | os.O_DSYNC | os.O_CLOEXEC)

    def write(self, file: int, data: bytes, at: int) -> None:
        """Durable on return. One call into the kernel, unless it takes less than all."""
        written = os.pwrite(file, data, at)
        if written != len(data):
            self._write_all(file, data[written:], at + written)

    def close(self, file: int) -> None:
        os.close(file)

    def rename(self, name: str, new_name: str) -> None:
        """Durable after `sync_names`."""
        os.rename(self._path(name), self._path(new_name))

    def remove(self, name: str) -> None:
        """Durable after `sync_names`."""
        os.unlink(self._path(name))

    def sync_names(self) -> None:
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    @staticmethod
    def _write_all(file: int, data: bytes, at: int) -> None:
        while data:
            written = os.pwrite(file, data, at)
            if written == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data, at = data[written:], at + written
