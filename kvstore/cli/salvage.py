"""`kvstore salvage DIR NEWDIR`: what is whole of a damaged directory, as a new store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kvstore.cli.failure import describe, report
from kvstore.cli.output import say
from kvstore.errors import StoreError

__all__ = ["salvage"]

_USAGE = "usage: kvstore salvage DIR NEWDIR"
_HELP = f"""\
{_USAGE}

Takes out of the damaged data directory DIR all that is provably whole and makes
the store NEWDIR of it, which passes `kvstore check`. DIR stays as it is. What
is missing is printed, and each key whose newest value may be among it: NEWDIR
has such a key as it was last known.

Exit status: 0 nothing is missing; 3 something is missing; 1 nothing could be
salvaged, or NEWDIR cannot be made; 2 bad usage.
"""


def salvage(argv: Sequence[str]) -> int:
    """Salvage as `argv` says; returns the exit status above."""
    if list(argv) in (["-h"], ["--help"]):
        say(_HELP, end="")
        return 0
    if len(argv) != 2 or any(each.startswith("-") for each in argv):
        report(_USAGE)
        return 2
    source, target = map(Path, argv)
    if not source.is_dir():
        report(f"{source}: {'not a directory' if os.path.exists(source) else 'no such directory'}")
        return 1
    try:
        return _run(source, target)
    except (StoreError, OSError) as error:
        report(describe(error))
        return 1


def _run(source: Path, target: Path) -> int:
    from kvstore.store import salvage as salvaging
    from kvstore.store.salvaged import write_salvaged

    made = salvaging.salvage(source)
    if not made.records and not made.leases:
        for what in made.missing:
            say(f"missing: {what}")
        report(f"there is nothing in {source} that could be salvaged")
        return 1
    write_salvaged(made, target)
    say(
        f"{target}: revision {made.head}, {made.keys} keys, {len(made.records)} records, "
        f"{len(made.leases)} leases, history from revision {max(made.compact, 1) + 1} on"
    )
    damaged = "damaged" if made.missing else "damaged, but nothing is lost by it"
    for what in made.notes:
        say(f"{damaged}: {what}")
    for what in made.missing:
        say(f"missing: {what}")
    for key, revision, is_deleted in made.uncertain:
        state = "was deleted" if is_deleted else "is as it was"
        say(f"uncertain: {_text(key)} {state} at revision {revision}")
    if not made.missing:
        say("nothing is missing")
        return 0
    report(f"something is missing; {len(made.uncertain)} keys may have had a newer value")
    return 3


def _text(key: bytes) -> str:
    """In double quotes, what is not printable as in Python."""
    return '"' + repr(key)[2:-1].replace('"', '\\"') + '"'
