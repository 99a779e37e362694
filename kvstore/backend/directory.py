"""A data directory and what lies in it: who holds it, with which modes, and when names are durable.

Modes are etcd's and do not depend on the umask: 0700 for every directory that is made, ancestors
too, 0600 for files (etcd client/pkg/fileutil: PrivateDirMode, PrivateFileMode).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from errno import ENOTDIR

from kvstore.errors import DirectoryLocked

__all__ = [
    "LOCK_FILE",
    "DirectoryLock",
    "StrPath",
    "make_directory",
    "make_file",
    "parent",
    "plain",
    "sync_path",
]

StrPath = str | os.PathLike[str]
"""Taken as either and kept as text: pathlib would be a fifth of the imports of a store."""
LOCK_FILE = "LOCK"
_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600


def plain(path: StrPath) -> str:
    """As text, without slashes at the end; "." for an empty one."""
    text = os.fspath(path)
    return text.rstrip("/") or text[:1] or "."


def parent(path: StrPath) -> str:
    """The directory that holds `path`; of the root itself."""
    return os.path.dirname(plain(path)) or "."


def make_directory(path: StrPath) -> None:
    """Make a directory and its ancestors, unless it is there; the new names are on the disk.

    Raises OSError.
    """
    if os.path.isdir(path):
        return
    above = parent(path)
    if above != plain(path):
        make_directory(above)
    try:
        os.mkdir(path, _DIRECTORY_MODE)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(path)) from None
        return
    os.chmod(path, _DIRECTORY_MODE)  # mkdir leaves out what the umask forbids
    sync_path(above)


def make_file(path: StrPath) -> int:
    """A new empty file, opened for reading and writing; what was there before is removed.

    Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    try:
        os.fchmod(file, _FILE_MODE)
    except BaseException:
        os.close(file)
        raise
    return file


def sync_path(path: StrPath) -> None:
    """Have a file, or the names in a directory, on the disk. Raises OSError.

    A directory that may be searched but not read cannot be synced; that is its owner's affair.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        os.fsync(file)
    finally:
        os.close(file)


class DirectoryLock:
    """A directory held by this process, until `release` or its end; never by a forked child.

    The lock belongs to an open file, which a forked child has, too: without the handler below it
    would keep the directory for as long as it lives, though its parent had closed the store.
    """

    def __init__(self, directory: StrPath) -> None:
        """Raises DirectoryLocked, OSError."""
        path = os.path.join(directory, LOCK_FILE)
        is_new = not os.path.exists(path)
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        try:
            if is_new:
                os.fchmod(self._file, _FILE_MODE)
            self._take(self._file, directory)
        except BaseException:
            self._close()
            raise
        _held.add(self)

    def _take(self, file: int, directory: StrPath) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryLocked(_describe(directory, _read(file))) from None
        self.was_left = bool(_read(file))
        """Did the last process that held it end without a release?"""
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d" % os.getpid(), 0)

    def release(self, *, is_clean: bool = True) -> None:
        """Give the directory back; not `is_clean`: `was_left` for the next process."""
        if self._file is not None:
            if is_clean:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, 0)
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @staticmethod
    def close_in_child() -> None:
        for lock in list(_held):
            lock._close()
        _held.clear()


_held: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()
os.register_at_fork(after_in_child=DirectoryLock.close_in_child)


def _read(file: int) -> str:
    return os.pread(file, 32, 0).decode(errors="replace").strip()


def _describe(directory: StrPath, holder: str) -> str:
    if holder == str(os.getpid()):
        return f"{directory} is open in this process already: close that store, or share it"
    by = f" (process {holder})" if holder else ""
    return f"{directory} is in use by another process{by}"
