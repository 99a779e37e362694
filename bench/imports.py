"""What a program pays before its first key: the CPU time of the imports of an opened store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import kvstore
from bench.report import Result

__all__ = ["LIBRARIES", "imports"]

LIBRARIES = ("lmdb", "msgpack", "sortedcontainers", "logging", "dataclasses", "typing")
"""What a store on LMDB cannot do without, and the modules that many programs load anyway."""

_USE = """
import sys
before = set(sys.modules)
import kvstore
with kvstore.open(sys.argv[1]) as db, db.lease(ttl_s=10) as lease:
    db.put("k", "v", lease=lease)
    with db.watch(since=1) as watch:
        next(watch)
    loaded = [name for name in sys.modules if name not in before]
print(*loaded)
"""
_IMPORT = """
import sys, time
begin = time.process_time()
for name in sys.argv[1:]:
    __import__(name)
print(time.process_time() - begin)
"""


@dataclass(frozen=True, slots=True)
class _Interpreter:
    """Starts Pythons that find bytecode in `cache`, as an installation has it."""

    cache: Path

    def run(self, program: str, *arguments: str) -> str:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(self.cache)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment.pop("KVSTORE_VERIFY", None)
        command = [sys.executable, "-c", program, *arguments]
        root = Path(kvstore.__file__).parents[1]
        done = subprocess.run(
            command, env=environment, cwd=root, stdout=subprocess.PIPE, timeout=60, check=True
        )
        return done.stdout.decode()

    def import_s(self, names: Sequence[str]) -> float:
        """CPU seconds, in a process that has loaded nothing yet."""
        return float(self.run(_IMPORT, *names))


def imports(directory: Path, rounds: int) -> Iterator[Result]:
    """The modules that a durable store has loaded after a put, a watch and a lease; the least of
    `rounds`, taken by turns, since what disturbs them only makes them longer."""
    python = _Interpreter(directory / "bytecode")
    loaded = python.run(_USE, str(directory / "db")).split()
    python.import_s(LIBRARIES)
    ours_s = theirs_s = float("inf")
    for _ in range(rounds):
        theirs_s = min(theirs_s, python.import_s(LIBRARIES))
        ours_s = min(ours_s, python.import_s(loaded))
    what = "imports of a store that is open, CPU"
    yield Result(workload="imports", what=what, value=ours_s * 1e3, unit="ms")
    yield Result(
        workload="imports",
        what="imports of a store, beside LMDB's and the like",
        value=ours_s / theirs_s,
        unit="x",
        target=1.5,
        note=f"{', '.join(LIBRARIES)}: {theirs_s * 1e3:.0f} ms",
    )
