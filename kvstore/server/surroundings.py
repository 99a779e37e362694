"""What a server looks at and sets of the process and the machine around it, before it starts."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from typing import Final

__all__ = ["permission_warnings", "raise_file_limit"]

_PRIVATE: Final = 0o700


def permission_warnings(directory: str) -> Iterator[str]:
    """One line, in etcd's words, when `directory` is there and others may look into it.

    Facts: etcd client/pkg/fileutil (CheckDirPermission).
    """
    try:
        mode = os.stat(directory).st_mode
    except OSError:  # it is made, or what is wrong with it is said when it is opened
        return
    if stat.S_ISDIR(mode) and stat.S_IMODE(mode) & 0o777 != _PRIVATE:
        yield (
            f'check file permission: directory "{directory}" exist, but the permission is '
            f'"{stat.filemode(mode)}". The recommended permission is "-rwx------" to prevent '
            "possible unprivileged access to the data"
        )


def raise_file_limit() -> None:
    """Allow as many open files as the hard limit does: Go's runtime does so for etcd."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # a system with a lower bound of its own
            return
