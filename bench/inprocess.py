"""The embedded store, through the API its users call: kvstore.open and kvstore.aopen.

Rates and times are the best of a few rounds: what disturbs them on a busy machine only makes them
worse. Nothing here goes below the public API.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import kvstore
from bench.imports import imports
from bench.report import Result
from kvstore.embedded.ranges import Range

__all__ = ["WORKLOADS", "Sizes"]

VALUE = bytes(range(256))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of each; the targets hold for the defaults."""

    rounds: int = 3
    keys: int = 10_000
    gets: int = 150_000
    puts: int = 20_000
    writers: int = 64
    durable_s: float = 2.0
    listed: int = 100_000
    many: int = 1_000_000

    @classmethod
    def quick(cls) -> Sizes:
        return cls(rounds=2, gets=100_000, puts=10_000, durable_s=0.7, listed=20_000, many=100_000)


def get(directory: Path, sizes: Sizes) -> Iterator[Result]:
    with _unsynced(directory / "db") as db:
        keys = _fill(db, sizes.keys)
        chosen = random.Random(1).choices(keys, k=sizes.gets)

        def read() -> None:
            one = db.get
            for key in chosen:
                one(key)

        seconds = _best(read, sizes.rounds)
    yield _result("get", "get of one key, one thread", sizes.gets / seconds, "/s", 150_000)


def put(directory: Path, sizes: Sizes) -> Iterator[Result]:
    with _unsynced(directory / "db") as db:
        keys = _fill(db, sizes.keys)
        chosen = random.Random(2).choices(keys, k=sizes.puts)

        def write() -> None:
            one = db.put
            for key in chosen:
                one(key, VALUE)

        seconds = _best(write, sizes.rounds)
    what = 'put, one thread, durability="process-crash"'
    yield _result("put", what, sizes.puts / seconds, "/s", 20_000)


def durable_async(directory: Path, sizes: Sizes) -> Iterator[Result]:
    async def run() -> float:
        done = 0

        async def write(db: kvstore.AsyncStore, writer: int, until: float) -> None:
            nonlocal done
            number = 0
            while time.perf_counter() < until:
                await db.put(b"w%03d/%05d" % (writer, number % 1000), VALUE)
                number += 1
            done += number

        async with kvstore.aopen(directory / "db") as db:
            begin = time.perf_counter()
            until = begin + sizes.durable_s
            await asyncio.gather(*(write(db, each, until) for each in range(sizes.writers)))
            return done / (time.perf_counter() - begin)

    rate = max(asyncio.run(run()) for _ in range(sizes.rounds))
    what = f"durable put, {sizes.writers} asyncio writers"
    yield _result("durable-async", what, rate, "/s", 8_000)


def durable_threads(directory: Path, sizes: Sizes) -> Iterator[Result]:
    with kvstore.open(directory / "db") as db:
        counts = [0] * sizes.writers
        begin = time.perf_counter()

        def write(writer: int) -> None:
            while time.perf_counter() < begin + sizes.durable_s:
                db.put(b"w%03d/%05d" % (writer, counts[writer] % 1000), VALUE)
                counts[writer] += 1

        threads = [threading.Thread(target=write, args=(each,)) for each in range(sizes.writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = sum(counts) / (time.perf_counter() - begin)
    yield _result("durable-threads", f"durable put, {sizes.writers} threads", rate, "/s")


def ranges(directory: Path, sizes: Sizes) -> Iterator[Result]:
    with _unsynced(directory / "db") as db:
        _fill(db, sizes.listed)
        some = min(500, sizes.listed)

        def few() -> None:
            assert _look_at(db.range(prefix=b"key/", limit=some)) == some

        def all_keys() -> None:
            assert _look_at(db.range(prefix=b"key/")) == sizes.listed

        few_s, all_s = _best(few, 20 * sizes.rounds), _best(all_keys, sizes.rounds)
    what = f"range of {some} keys, every key and value looked at"
    yield _result("range", what, few_s * 1e3, "ms", 1.0)
    full = sizes.listed == Sizes().listed
    what = f"list of {sizes.listed:,} keys, every key and value looked at"
    yield _result("range", what, all_s, "s", 0.5 if full else None)


def many(directory: Path, sizes: Sizes) -> Iterator[Result]:
    full = sizes.many == Sizes().many
    begin = time.perf_counter()
    with _unsynced(directory / "db") as db:
        source = random.Random(3)
        wanted = b""
        for start in range(0, sizes.many, 100):
            keys = [source.randbytes(32) for _ in range(min(100, sizes.many - start))]
            db.txn(success=[kvstore.ops.put(key, VALUE) for key in keys])
            wanted = keys[0]
    rate = sizes.many / (time.perf_counter() - begin)
    count = f"{sizes.many:,} keys of 32 + 256 bytes"
    yield _result("many", f"{count}: build, 100 puts a txn, process-crash", rate, "puts/s")
    command = [sys.executable, "-m", "bench.reopen", str(directory / "db"), wanted.hex()]
    root = Path(kvstore.__file__).parents[1]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=root, timeout=120, check=True)
    said = json.loads(done.stdout)
    what = f"{count}: open in a fresh process to first read"
    yield _result("many", what, said["seconds"], "s", 4.0 if full else None)
    what = f"{count}: VmRSS then"
    note = f"{said['anonymous_mb']:.0f} MB without the mapped file"
    yield _result("many", what, said["rss_mb"], "MB", 450.0 if full else None, note)


def fresh_interpreter(directory: Path, sizes: Sizes) -> Iterator[Result]:
    yield from imports(directory, 5 * sizes.rounds)


WORKLOADS: dict[str, Callable[[Path, Sizes], Iterator[Result]]] = {
    "imports": fresh_interpreter,
    "get": get,
    "put": put,
    "durable-async": durable_async,
    "durable-threads": durable_threads,
    "range": ranges,
    "many": many,
}


def _result(
    workload: str, what: str, value: float, unit: str, target: float | None = None, note: str = ""
) -> Result:
    return Result(workload=workload, what=what, value=value, unit=unit, target=target, note=note)


def _unsynced(path: Path) -> kvstore.Store:
    return kvstore.open(path, durability="process-crash")


def _fill(db: kvstore.Store, count: int) -> list[bytes]:
    keys = [b"key/%024d" % number for number in range(count)]
    for begin in range(0, count, 100):
        db.txn(success=[kvstore.ops.put(key, VALUE) for key in keys[begin : begin + 100]])
    return keys


def _look_at(found: Range) -> int:
    count = size_bytes = 0
    for kv in found:
        size_bytes += len(kv.key) + len(kv.value)
        count += 1
    assert size_bytes == count * (28 + len(VALUE))
    return count


def _best(run: Callable[[], None], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)
