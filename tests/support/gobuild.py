"""Programs of the tests that are written in Go, built from their modules once into `.cache/`."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from functools import cache
from pathlib import Path

__all__ = ["go_binary"]

_CACHE = Path(__file__).parents[2] / ".cache"


@cache
def go_binary(source: Path, name: str) -> Path | None:
    """`.cache/name`, built from the module in `source` when that is newer; None without Go.

    A binary that was built is used without Go too. A lock has parallel test processes build it
    once. Raises subprocess.CalledProcessError when Go is there and the build fails.
    """
    built = _CACHE / name
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        return built if built.exists() else None
    _CACHE.mkdir(exist_ok=True)
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = max(each.stat().st_mtime for each in source.iterdir())
        if not built.exists() or built.stat().st_mtime < newest:
            command = [go, "build", "-buildvcs=false", "-o", str(built), "."]
            subprocess.run(command, cwd=source, check=True, capture_output=True)
            built.touch()
    return built
