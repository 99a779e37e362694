"""What a program pays before its first key: the CPU time of the imports of an opened store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import kvstore
from bench.report import Result

__all__ = ["LIBRARIES", "imports"]

LIBRARIES = ("lmdb", "msgpack", "sortedcontainers", "logging", "dataclasses", "typing")
"""What a store on LMDB cannot do without, and the modules that many programs load anyway."""

_LIBRARIES = f"""
import time
begin = time.thread_time()
import {", ".join(LIBRARIES)}
print(time.thread_time() - begin)
"""
_STORE = """
import sys, time
def opening():
    begin = time.thread_time()
    import kvstore
    with kvstore.open(sys.argv[1]):
        return time.thread_time() - begin
first = opening()
print(first - opening())
"""
"""What the first opening takes in a process that the second does not."""


@dataclass(frozen=True, slots=True)
class _Interpreter:
    """Starts Pythons that find bytecode in `cache`, as an installation has it."""

    cache: Path

    def seconds(self, program: str, directory: Path) -> float:
        """What a program prints, in a process that has loaded nothing yet."""
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(self.cache)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment.pop("KVSTORE_VERIFY", None)
        root = Path(kvstore.__file__).parents[1]
        done = subprocess.run(
            [sys.executable, "-c", program, str(directory)],
            env=environment,
            cwd=root,
            stdout=subprocess.PIPE,
            timeout=60,
            check=True,
        )
        return float(done.stdout)


def imports(directory: Path, rounds: int) -> Iterator[Result]:
    """By turns, and the least of `rounds`: what disturbs them only makes them longer."""
    python = _Interpreter(directory / "bytecode")
    times = {program: float("inf") for program in (_LIBRARIES, _STORE)}
    for program in times:
        python.seconds(program, directory / "db")
    for _ in range(rounds):
        for program in times:
            times[program] = min(times[program], python.seconds(program, directory / "db"))
    what = "first opening of a store in a process: its imports, CPU"
    yield Result(workload="imports", what=what, value=times[_STORE] * 1e3, unit="ms")
    yield Result(
        workload="imports",
        what="the same beside LMDB's and the like",
        value=times[_STORE] / times[_LIBRARIES],
        unit="x",
        target=1.5,
        note=f"{', '.join(LIBRARIES)}: {times[_LIBRARIES] * 1e3:.0f} ms",
    )
