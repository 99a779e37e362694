"""Commits by the number, and what a backend holds after each of them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from kvstore.backend.interface import Backend, Table, WriteBatch
from kvstore.backend.memory import MemoryBackend

__all__ = ["State", "commits", "dump", "key", "states_of"]

State = tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]], bytes | None]


def key(number: int) -> bytes:
    return number.to_bytes(12, "big")


def commits(
    count: int, seed: int = 1, *, sizes: Sequence[int] = (5, 300, 2500)
) -> list[WriteBatch]:
    """Appends, drops of old records, leases that come and go, and a meta row."""
    chance, last, alive, made = Random(seed), 0, list[int](), []
    for number in range(count):
        new = range(last + 1, last + 1 + chance.choice((0, 1, 1, 1, 3)))
        last = max(new, default=last)
        dropped = chance.sample(alive, k=min(len(alive), chance.choice((0, 0, 1, 3))))
        alive = [each for each in alive if each not in dropped] + list(new)
        appends = [(key(each), chance.randbytes(chance.choice(sizes))) for each in new]
        lease = b"lease%d" % chance.randrange(4)
        puts = [(Table.META, b"m", b"%d" % number)]
        deletes = [(Table.LOG, key(each)) for each in sorted(dropped)]
        if chance.random() < 0.5:
            puts.append((Table.LEASE, lease, b"%d" % number))
        else:
            deletes.append((Table.LEASE, lease))
        made.append(WriteBatch(appends, puts, deletes))
    return made


def dump(backend: Backend) -> State:
    snapshot = backend.snapshot()
    try:
        return (
            list(snapshot.rows(Table.LOG)),
            list(snapshot.rows(Table.LEASE)),
            snapshot.get(Table.META, b"m"),
        )
    finally:
        snapshot.close()


def states_of(batches: list[WriteBatch]) -> list[State]:
    """Before the first commit, and after each."""
    backend = MemoryBackend()
    states = [dump(backend)]
    for batch in batches:
        backend.commit(batch)
        states.append(dump(backend))
    return states
