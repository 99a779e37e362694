"""`kvstore check DIR`: says whether the data in a directory is sound."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kvstore.cli.failure import describe, report
from kvstore.errors import StoreError

__all__ = ["check"]

_USAGE = "usage: kvstore check DIR"


def check(argv: Sequence[str]) -> int:
    """Check the directory that `argv` names; returns 0 if sound, 1 if not, 2 for bad usage."""
    if list(argv) in (["-h"], ["--help"]):
        print(f"{_USAGE}\n\nReads all data in DIR and prints a sentence for whatever is wrong.")
        return 0
    if len(argv) != 1 or argv[0].startswith("-"):
        report(_USAGE)
        return 2
    path = argv[0]
    if not os.path.isdir(path):
        report(f"{path}: {'not a directory' if os.path.exists(path) else 'no such directory'}")
        return 1
    from kvstore.store.checker import check_directory

    try:
        problems = check_directory(path)
    except (StoreError, OSError) as error:
        report(describe(error))
        return 1
    print("\n".join(problems) if problems else f"ok: {path} is sound")
    return 1 if problems else 0
