"""Reads one key again and again until stdin ends, then says how long reads took, in seconds.

python -m bench.waiting HOST:PORT PID

It says "ready" when it begins. `waits` runs it beside something and has what it said. The kernel
tells how long it and the first thread of the server could have run and had no core: on a machine
with few cores that is most of the longest waits, and nothing that the server did.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.servers import Running
from kvstore.bench.awaited import connect, unary
from kvstore.bench.http2 import Method
from kvstore.client.messages import range_request
from kvstore.keys import KeyRange
from kvstore.types import RangeOp

__all__ = ["Waits", "main", "waits"]

ROOT = Path(__file__).parents[1]

_PAUSE_S = 0.001
"""Between two reads, so that waiting does not cost the server a core."""


class Waits:
    """How long the reads of another client took."""

    longest_s = 0.0
    p99_s = 0.0
    longest_on_core_s = 0.0
    """The longest without the time in which either side waited for a core; a server of many threads
    has more of it than this knows."""


@contextmanager
def waits(server: Running) -> Iterator[Waits]:
    """Another client, in a process of its own, while the block runs; it is filled at the end."""
    found = Waits()
    command = [sys.executable, "-m", "bench.waiting", server.target, str(server.pid)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield found
        process.stdin.close()
        said = map(float, process.stdout.readline().split())
        found.longest_s, found.p99_s, found.longest_on_core_s = said


async def main(target: str, pid: int) -> tuple[float, float, float]:
    """The longest, the 99th of a hundred, and the longest while both sides had a core."""
    connection = await connect(target)
    request = range_request(RangeOp(KeyRange(b"waiting"))).SerializeToString()
    range_method = Method("/etcdserverpb.KV/Range")
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    took_s: list[float] = []
    on_core_s = 0.0
    await unary(connection, range_method, request)
    threads = [os.open(f"/proc/{each}/schedstat", os.O_RDONLY) for each in (pid, os.getpid())]
    print("ready", flush=True)
    while not ended.is_set():
        begin, had_waited_s = time.monotonic(), _waited_s(threads)
        await unary(connection, range_method, request)
        took_s.append(time.monotonic() - begin)
        on_core_s = max(on_core_s, took_s[-1] - (_waited_s(threads) - had_waited_s))
        await asyncio.sleep(_PAUSE_S)
    connection.close()
    took_s.sort()
    return (took_s[-1], took_s[len(took_s) * 99 // 100], on_core_s) if took_s else (0.0, 0.0, 0.0)


def _waited_s(threads: Sequence[int]) -> float:
    """How long they waited for a core up to now (Documentation/scheduler/sched-stats.rst)."""
    return sum(int(os.pread(thread, 100, 0).split()[1]) for thread in threads) / 1e9


if __name__ == "__main__":
    print(*asyncio.run(main(sys.argv[1], int(sys.argv[2]))))
