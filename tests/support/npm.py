"""Packages of npm that tests need, installed once into `.cache/` by their lock file."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

__all__ = ["node_environment"]

_CACHE = Path(__file__).parents[2] / ".cache"
_FILES = ("package.json", "package-lock.json", ".npmrc")


@cache
def node_environment(source: Path, name: str) -> dict[str, str] | None:
    """The environment in which `node` finds the packages of `source`; None without Node and npm.

    A lock has parallel test processes install them once. Raises subprocess.CalledProcessError.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None
    place = _CACHE / name
    place.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = place / ".installed"
        newest = max((source / each).stat().st_mtime for each in _FILES)
        if not installed.exists() or installed.stat().st_mtime < newest:
            for each in _FILES:
                shutil.copy(source / each, place / each)
            subprocess.run([npm, "ci"], cwd=place, check=True, capture_output=True)
            installed.touch()
    return {**os.environ, "NODE_PATH": str(place / "node_modules")}
