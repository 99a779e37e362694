"""Ways to damage a data directory, and a store to damage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from kvstore.backend.interface import Table
from kvstore.backend.journaled import JournaledBackend
from kvstore.core.mvcc.revision import bound, to_bytes
from kvstore.keys import ALL_KEYS, KeyRange
from kvstore.store.threads import ThreadStore
from kvstore.types import DeleteRangeOp, PutOp, RangeOp, Txn
from tests.store.formats.content import content_of

__all__ = ["KINDS", "build", "damage"]

PAGE = 4096
WRITES = 300


def build(path: Path, *, is_closed: bool, seed: int = 1) -> dict[str, Any]:
    """A store with all that a store can have; returns what it holds.

    {"content": as `content_of`, "keys": {revision: [[key, value]...]} of each revision, "records":
    {revision, packed: record} of all that were ever written}. Unless it `is_closed`, the directory
    is as the end of its process leaves it: about half of the commits are in the journal alone.
    """
    random = Random(seed)
    live = path.with_suffix(".live")
    backend = JournaledBackend(live, background=False)
    store = ThreadStore.open(backend)
    keys: dict[int, list[list[str]]] = {}
    records: dict[str, str] = {}
    snapshot = backend.snapshot()
    for lease in range(1, 6):
        store.lease_grant(10_000_000 + lease, lease)
    for number in range(WRITES):
        first = to_bytes(bound(store.revision))
        _write(store, random, number)
        snapshot.refresh()
        for row, record in snapshot.scan(Table.LOG, first, 1000):
            records[str(int.from_bytes(row, "big"))] = record.hex()
        keys[store.revision] = [
            [kv.key.hex(), kv.value.hex()] for kv in store.range(RangeOp(ALL_KEYS)).kvs
        ]
        if number == WRITES // 3:
            store.compact(store.revision - 20, physical=True)
        if number == WRITES // 2:
            backend.checkpoint()
    snapshot.close()
    truth = {"content": content_of(store), "keys": keys, "records": records}
    if not is_closed:
        shutil.copytree(live, path)
    store.close()
    if is_closed:
        shutil.copytree(live, path)
    shutil.rmtree(live)
    return truth


def _write(store: ThreadStore, random: Random, number: int) -> None:
    def put() -> PutOp:
        size = random.choice([0, 10, 100, 400]) if random.random() < 0.95 else 9000
        lease = random.choice([0, 0, 0, 1, 2, 3])
        return PutOp(b"key/%03d" % random.randrange(80), random.randbytes(size), lease)

    if number % 10 == 9:
        first = b"key/%03d" % random.randrange(80)
        store.txn(Txn(success=(DeleteRangeOp(KeyRange(first, first[:-1] + b":")),)))
    elif number % 7 == 6:
        by_key = {op.key: op for op in (put() for _ in range(4))}
        store.txn(Txn(success=tuple(by_key.values())))
    else:
        store.txn(Txn(success=(put(),)))


def _cut(path: Path, random: Random) -> str:
    size = path.stat().st_size
    at = random.choice([random.randrange(size), random.randrange(size // PAGE) * PAGE])
    os.truncate(path, at)
    return f"cut to {at} of {size} bytes"


def _over(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _page(path: Path, random: Random) -> int:
    return random.randrange(max(1, path.stat().st_size // PAGE)) * PAGE


def _zero_page(path: Path, random: Random) -> str:
    at = _page(path, random)
    _over(path, at, bytes(PAGE))
    return f"page at {at} zeroed"


def _zero_sector(path: Path, random: Random) -> str:
    at = random.randrange(max(1, path.stat().st_size // 512)) * 512
    _over(path, at, bytes(512))
    return f"sector at {at} zeroed"


def _garbage(path: Path, random: Random) -> str:
    size = random.choice([1, 8, 512, PAGE])
    at = random.randrange(max(1, path.stat().st_size // size)) * size
    _over(path, at, random.randbytes(size))
    return f"{size} random bytes at {at}"


def _flip(path: Path, random: Random) -> str:
    at, bit = random.randrange(path.stat().st_size), random.randrange(8)
    with path.open("rb") as file:
        file.seek(at)
        (byte,) = file.read(1)
    _over(path, at, bytes([byte ^ 1 << bit]))
    return f"bit {bit} of byte {at} flipped"


def _flip_in_head(path: Path, random: Random) -> str:
    """Where LMDB's own numbers are: a head of a page, offsets, the head of a row."""
    at = _page(path, random) + random.choice([random.randrange(16), random.randrange(40)])
    _over(path, at, random.randbytes(1))
    return f"byte {at} changed"


def _flip_in_row(path: Path, random: Random) -> str:
    """The head of one row of a page: its size, flags or the size of its key."""
    page = _page(path, random)
    with path.open("rb") as file:
        file.seek(page)
        data = file.read(PAGE)
    count = min(max(0, int.from_bytes(data[12:14], "little") - 16) // 2, 1000)
    if not count:
        return _flip(path, random)
    offset = 16 + 2 * random.randrange(count)
    row = int.from_bytes(data[offset : offset + 2], "little") % (PAGE - 8)
    at = page + row + random.randrange(20)
    _over(path, at, random.randbytes(1))
    return f"byte {at} of a row changed"


def _swap(path: Path, random: Random) -> str:
    first, second = _page(path, random), _page(path, random)
    data = path.read_bytes()
    _over(path, first, data[second : second + PAGE])
    _over(path, second, data[first : first + PAGE])
    return f"pages at {first} and {second} swapped"


def _double(path: Path, random: Random) -> str:
    first, second = _page(path, random), _page(path, random)
    _over(path, first, path.read_bytes()[second : second + PAGE])
    return f"page at {second} copied to {first}"


def _grow(path: Path, random: Random) -> str:
    size = path.stat().st_size
    _over(path, size, random.randbytes(random.randrange(1, 3 * PAGE)))
    return "random bytes behind its end"


def _remove(path: Path, random: Random) -> str:
    path.unlink()
    return "removed"


def _empty(path: Path, random: Random) -> str:
    os.truncate(path, 0)
    return "emptied"


KINDS: dict[str, Callable[[Path, Random], str]] = {
    "cut": _cut,
    "zero page": _zero_page,
    "zero sector": _zero_sector,
    "garbage": _garbage,
    "flip": _flip,
    "flip in head": _flip_in_head,
    "flip in row": _flip_in_row,
    "swap": _swap,
    "double": _double,
    "grow": _grow,
    "remove": _remove,
    "empty": _empty,
}


def damage(directory: Path, random: Random) -> tuple[str, str]:
    """Damage one file, once or twice; returns (its name, what was done)."""
    files = sorted(each.name for each in directory.iterdir() if each.stat().st_size)
    files = [name for name in files if name == "data.lmdb" or name.startswith("segment")]
    name = random.choice([*files, "data.lmdb"])
    kind = random.choice(list(KINDS))
    done = KINDS[kind](directory / name, random)
    return name, done
