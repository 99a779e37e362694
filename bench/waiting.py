"""Reads one key again and again until stdin ends, then says how long reads took, in seconds.

python -m bench.waiting HOST:PORT

It says "ready" when it begins. `waits` runs it beside something and has what it said.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def waits(target: str) -> Iterator[Waits]:
    """Another client, in a process of its own, while the block runs; it is filled at the end."""
    found = Waits()
    command = [sys.executable, "-m", "bench.waiting", target]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield found
        process.stdin.close()
        found.longest_s, found.p99_s = map(float, process.stdout.readline().split())


async def main(target: str) -> tuple[float, float]:
    """The longest, and the 99th of a hundred."""
    connection = await connect(target)
    request = range_request(RangeOp(KeyRange(b"waiting"))).SerializeToString()
    range_method = Method("/etcdserverpb.KV/Range")
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    took_s: list[float] = []
    await unary(connection, range_method, request)
    print("ready", flush=True)
    while not ended.is_set():
        begin = time.monotonic()
        await unary(connection, range_method, request)
        took_s.append(time.monotonic() - begin)
        await asyncio.sleep(_PAUSE_S)
    connection.close()
    took_s.sort()
    return (took_s[-1], took_s[len(took_s) * 99 // 100]) if took_s else (0.0, 0.0)


if __name__ == "__main__":
    print(*asyncio.run(main(sys.argv[1])))
