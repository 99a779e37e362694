"""System calls that fail as told: which call, on which kind of file, with which error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__all__ = ["FailingOs"]


class FailingOs:
    """Stands in for the `os` that a module has; only the calls that it makes through it fail.

    A call is named by its function and what it is about: `spare`, `segment`, `directory`;
    a write of zeros alone to a segment is `erase segment`. One that closes a file fails after it
    has closed it, as close(2) does, any other before it has done a thing, unless `part` bytes are
    to be written first.
    """

    def __init__(self) -> None:
        self.made: list[str] = []
        self._error, self._calls, self._part = 0, frozenset[str](), 0
        self._paths: dict[int, str | Path] = {}

    def fail(self, *calls: str, error: int = 0, part: int = 0) -> None:
        """Each such call from now on; without arguments none."""
        self._calls, self._error, self._part = frozenset(calls), error, part
        self.made.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: str | Path, flags: int, mode: int = 0o777) -> int:
        self._check("open", path)
        file = os.open(path, flags, mode)
        self._paths[file] = path
        return file

    def close(self, file: int) -> None:
        os.close(file)
        self._check("close", self._paths.pop(file))

    def pwrite(self, file: int, data: bytes, at: int) -> int:
        path = self._paths[file]
        if self._part and f"pwrite {_kind(path)}" in self._calls:
            self._part, part = 0, self._part
            return os.pwrite(file, data[:part], at)
        self._check("pwrite" if any(data) or _kind(path) == "spare" else "erase", path)
        return os.pwrite(file, data, at)

    def fsync(self, file: int) -> None:
        self._check("fsync", self._paths[file])
        os.fsync(file)

    def fchmod(self, file: int, mode: int) -> None:
        self._check("fchmod", self._paths[file])
        os.fchmod(file, mode)

    def posix_fallocate(self, file: int, at: int, size: int) -> None:
        self._check("posix_fallocate", self._paths[file])
        os.posix_fallocate(file, at, size)

    def rename(self, path: str | Path, new_path: str | Path) -> None:
        self._check("rename", path)
        os.rename(path, new_path)
        for file, known in self._paths.items():
            if known == path:
                self._paths[file] = new_path

    def unlink(self, path: str | Path) -> None:
        self._check("unlink", path)
        os.unlink(path)

    def stat(self, path: str | Path) -> os.stat_result:
        self._check("stat", path)
        return os.stat(path)

    def listdir(self, path: str | Path) -> list[str]:
        self._check("listdir", path)
        return os.listdir(path)

    def _check(self, function: str, path: str | Path) -> None:
        call = f"{function} {_kind(path)}"
        self.made.append(call)
        if call in self._calls:
            raise OSError(self._error, os.strerror(self._error))


def _kind(where: str | Path) -> str:
    path = Path(where)
    for kind in ("spare", "segment"):
        if path.name.startswith(kind):
            return kind
    return "directory" if path.is_dir() else "other"
