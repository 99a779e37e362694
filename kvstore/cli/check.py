"""`kvstore check DIR`: says whether the data in a directory is sound."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kvstore.cli.failure import describe, report
from kvstore.cli.output import say
from kvstore.errors import StoreError

__all__ = ["check"]

_USAGE = "usage: kvstore check DIR"
_HELP = f"""\
{_USAGE}

Reads all data in DIR and prints a sentence for whatever is wrong. What a crash
left in the journal is moved to its place first, unless the data file is
damaged.

Exit status: 0 everything is sound; 1 something is wrong, or DIR cannot be read;
2 bad usage.
"""


def check(argv: Sequence[str]) -> int:
    """Check the directory that `argv` names; returns 0 if sound, 1 if not, 2 for bad usage."""
    if list(argv) in (["-h"], ["--help"]):
        say(_HELP, end="")
        return 0
    if len(argv) != 1 or argv[0].startswith("-"):
        report(_USAGE)
        return 2
    path = argv[0]
    if not os.path.isdir(path):
        report(f"{path}: {'not a directory' if os.path.exists(path) else 'no such directory'}")
        return 1
    from kvstore.store.apart import check_apart

    try:
        problems = check_apart(path)
    except (StoreError, OSError) as error:
        report(describe(error))
        return 1
    if not problems:
        say(f"ok: {path} is sound")
        return 0
    say("\n".join(problems))
    report(f"restore a copy of {path}, or take out what is whole: kvstore salvage {path} NEWDIR")
    return 1
