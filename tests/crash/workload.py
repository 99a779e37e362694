"""What a writer does until it is stopped, and what it tells of every acknowledged write."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from kvstore.errors import Compacted, FutureRevision, LeaseExists, LeaseNotFound
from kvstore.keys import KeyRange
from kvstore.store.interface import StoreProtocol
from kvstore.types import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeOp,
    DeleteRangeResult,
    PutOp,
    RangeOp,
    RangeResult,
    Txn,
)

__all__ = ["KEYS", "LEASE_TTL_S", "WRITERS", "Acknowledged", "Writer"]

WRITERS = 16
LEASE_TTL_S = 100_000
KEYS = [b"k%02d" % n for n in range(24)]


class Acknowledged(NamedTuple):
    """One answered request of one writer.

    `writes` are the events it must have made, in order, each with its new value, None for a
    deletion. `kind` is write, compact (`revision` is where), grant or revoke (of `lease`).
    """

    kind: str
    writer: int
    revision: int
    writes: tuple[tuple[bytes, bytes | None], ...] = ()
    lease: int = 0

    def line(self) -> bytes:
        writes = [[k.decode(), v if v is None else v.decode()] for k, v in self.writes]
        return (
            json.dumps([self.kind, self.writer, self.revision, writes, self.lease]).encode() + b"\n"
        )

    @classmethod
    def parse(cls, line: bytes) -> Acknowledged:
        kind, writer, revision, writes, lease = json.loads(line)
        pairs = tuple((k.encode(), None if v is None else v.encode()) for k, v in writes)
        return cls(kind, writer, revision, pairs, lease)


class Writer:
    """One seeded client. Every value it writes is its own, never written before."""

    def __init__(
        self,
        store: StoreProtocol,
        number: int,
        seed: int,
        report: Callable[[Acknowledged], None],
        *,
        compacts: bool = True,
    ) -> None:
        self.store, self.number, self.report = store, number, report
        self.random = Random(f"{seed}/{number}")
        self.tag = f"{seed}/{number}"
        self.count = 0
        self.revision = 1
        self.leases: list[int] = []
        steps: list[tuple[Callable[[], None], int]] = [
            (self.put, 8),
            (self.txn, 4),
            (self.update, 4),
            (self.delete, 2),
            (self.grant, 1),
            (self.revoke, 1),
            (self.compact, 1 if compacts else 0),
        ]
        self.steps, self.weights = zip(*steps, strict=True)

    def step(self) -> None:
        """One request, chosen at random."""
        self.random.choices(self.steps, self.weights)[0]()

    def put(self) -> None:
        key, value = self._key(), self._value()
        self._wrote(self.store.txn(Txn(success=(PutOp(key, value),))).revision, (key, value))

    def delete(self) -> None:
        key = self._key()
        result = self.store.txn(Txn(success=(DeleteRangeOp(KeyRange(key)),)))
        deleted = result.responses[0]
        assert isinstance(deleted, DeleteRangeResult)
        self._wrote(result.revision, *[(key, None)] * deleted.deleted)

    def txn(self) -> None:
        """Two puts and the deletion of an interval that holds neither, in one revision."""
        first, second, third = self.random.sample(KEYS, 3)
        puts = [(first, self._value()), (second, self._value())]
        lease = self.random.choice([0, *self.leases])
        delete = DeleteRangeOp(KeyRange(third), prev_kv=True)
        ops = (PutOp(*puts[0], lease), delete, PutOp(*puts[1], lease))
        result = self.store.txn(Txn(success=ops))
        deleted = result.responses[1]
        assert isinstance(deleted, DeleteRangeResult)
        gone = [(kv.key, None) for kv in deleted.prev_kvs]
        self._wrote(result.revision, puts[0], *gone, puts[1])

    def update(self) -> None:
        """Read, then write only if nobody else did in between."""
        key, value = self._key(), self._value()
        read = self.store.range(RangeOp(KeyRange(key)))
        self._saw(read.revision)
        mod = read.kvs[0].mod_revision if read.kvs else 0
        same = Compare(KeyRange(key), CompareTarget.MOD, CompareResult.EQUAL, mod)
        look = RangeOp(KeyRange(key))
        result = self.store.txn(Txn((same,), (PutOp(key, value),), (look,)))
        if result.succeeded:
            self._wrote(result.revision, (key, value))
        else:
            found = result.responses[0]
            assert isinstance(found, RangeResult)
            assert not found.kvs or found.kvs[0].mod_revision != mod

    def grant(self) -> None:
        lease_id = 1 + self.random.randrange(2**40) * WRITERS + self.number
        try:
            lease = self.store.lease_grant(LEASE_TTL_S, lease_id)
        except LeaseExists:
            return
        self.leases.append(lease.id)
        self.report(Acknowledged("grant", self.number, lease.revision, lease=lease.id))

    def revoke(self) -> None:
        if not self.leases:
            return
        lease_id = self.leases.pop(self.random.randrange(len(self.leases)))
        try:
            revision = self.store.lease_revoke(lease_id)
        except LeaseNotFound as error:
            raise AssertionError(f"the acknowledged lease {lease_id} is gone") from error
        self._saw(revision)
        self.report(Acknowledged("revoke", self.number, revision, lease=lease_id))

    def compact(self) -> None:
        revision = max(1, self.revision - self.random.choice((0, 30, 100, 400)))
        try:
            result = self.store.compact(revision, physical=self.random.random() < 0.2)
        except Compacted:
            return
        except FutureRevision as error:
            raise AssertionError(f"{revision} was seen and is said not to exist") from error
        self._saw(result.revision)
        self.report(Acknowledged("compact", self.number, revision))

    def _key(self) -> bytes:
        return self.random.choice(KEYS)

    def _value(self) -> bytes:
        self.count += 1
        return f"{self.tag}/{self.count}".encode()

    def _saw(self, revision: int) -> None:
        """No answer may come from before one that this client already has."""
        assert revision >= self.revision, f"the header fell from {self.revision} to {revision}"
        self.revision = revision

    def _wrote(self, revision: int, *writes: tuple[bytes, Any]) -> None:
        self._saw(revision)
        if writes:
            self.report(Acknowledged("write", self.number, revision, writes))
