"""A check in a process of its own, which LMDB may end as it likes.

LMDB believes what it maps: a damaged file makes it end its process with a signal. That of a child
is a sentence like all others. The child writes a line of JSON for each step and one for the result.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

from kvstore.backend.damage import UNREADABLE
from kvstore.errors import StoreError
from kvstore.store.checker import check_directory

__all__ = ["CheckFailed", "check_apart"]


class CheckFailed(StoreError):
    """The check did not come to its end; the text says why."""


def check_apart(path: str) -> list[str]:
    """What is wrong in a data directory; [] when it is sound. As `check_directory` otherwise.

    Raises CheckFailed when the directory cannot be opened, OSError.
    """
    # The child finds this package where this process found it, and nothing in its own directory.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.run(
        [sys.executable, "-P", "-m", "kvstore.store.apart", path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        check=False,
    )
    said: list[dict[str, Any]] = [json.loads(line) for line in child.stdout.splitlines()]
    result = said[-1] if said else {}
    if "wrong" in result:
        return list(result["wrong"])
    if "error" in result:
        raise CheckFailed(result["error"])
    return [_describe(path, result.get("step", "starting"), child)]


def _describe(path: str, step: str, child: subprocess.CompletedProcess[bytes]) -> str:
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        return f"{path} is damaged: LMDB ended with {name} while {step}"
    last = child.stderr.decode(errors="replace").strip().rpartition("\n")[2] or "no message"
    return f"{path} cannot be checked: the check ended with {child.returncode} while {step}: {last}"


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def _check(path: str) -> None:
    try:
        _say(wrong=check_directory(path, lambda step: _say(step=step)))
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        _say(error=f"{where}{error.strerror or error}")
    except StoreError as error:
        _say(error=str(error))
    except UNREADABLE as error:
        _say(wrong=[f"{path} is damaged: it cannot be read: {error!r}"])


if __name__ == "__main__":
    _check(sys.argv[1])
