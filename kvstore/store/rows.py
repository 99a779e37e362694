"""The engine's decisions as rows of a backend, and rows back as values.

table   key                              value
log     revision, 12 bytes               record (kvstore.core.mvcc.record)
lease   id, 8 bytes big-endian           msgpack [TTL in s]
meta    b"meta:format"                   msgpack format number, 2
        b"meta:compact"                  msgpack [scheduled revision, finished?]
        b"meta:write_index"              msgpack count of write requests
        b"meta:identity"                 msgpack [member id, cluster id, raft term]
"""

from __future__ import annotations

from typing import Any

import msgpack

from kvstore.backend.interface import Backend, Snapshot, Table, WriteBatch
from kvstore.core.engine import Batch
from kvstore.core.mvcc.revision import to_bytes
from kvstore.errors import CorruptStore

__all__ = ["FORMAT", "check_format", "lease_key", "lease_row", "meta", "set_meta", "to_write_batch"]

FORMAT = 2
"""1 had no journal: a version that knows only 1 must not open what the journal completes."""


def lease_key(lease_id: int) -> bytes:
    return lease_id.to_bytes(8, "big", signed=True)


def lease_row(key: bytes, value: bytes) -> tuple[int, int]:
    """(id, TTL in s)."""
    (ttl_s,) = msgpack.unpackb(value)
    return int.from_bytes(key, "big", signed=True), int(ttl_s)


def meta(snapshot: Snapshot, name: str) -> Any:
    """A meta row's value; None when it is not there."""
    value = snapshot.get(Table.META, b"meta:" + name.encode())
    return None if value is None else msgpack.unpackb(value)


def meta_put(name: str, value: object) -> tuple[Table, bytes, bytes]:
    return Table.META, b"meta:" + name.encode(), msgpack.packb(value)


def set_meta(backend: Backend, name: str, value: object) -> None:
    """Commit one meta row by itself; only while no shell has the backend."""
    backend.commit(WriteBatch(puts=[meta_put(name, value)]))


def check_format(backend: Backend) -> None:
    """Mark a new store, or one of format 1, with this format. Raises CorruptStore for others.

    It is the first commit of an opening, which the backend keeps out of its journal.
    """
    snapshot = backend.snapshot()
    found = meta(snapshot, "format")
    snapshot.close()
    if found is None or found == 1:
        set_meta(backend, "format", FORMAT)
    elif found != FORMAT:
        raise CorruptStore(
            f"the store has format {found}, this version reads formats 1 to {FORMAT}"
        )


def to_write_batch(batch: Batch) -> WriteBatch:
    appends = [
        (to_bytes(write.packed), write.record)
        for decision in batch.decisions
        for write in decision.writes
    ]
    puts = [meta_put("write_index", batch.write_index)]
    deletes: list[tuple[Table, bytes]] = []
    leases: dict[int, int | None] = {}
    for decision in batch.decisions:
        if decision.leases:
            leases.update(decision.leases)
        if decision.dropped:
            deletes += [(Table.LOG, to_bytes(packed)) for packed in sorted(decision.dropped)]
        if decision.compact is not None:
            puts.append(meta_put("compact", [decision.compact, False]))
        if decision.compacted is not None:
            puts.append(meta_put("compact", [decision.compacted, True]))
    for lease_id, ttl_s in leases.items():
        if ttl_s is None:
            deletes.append((Table.LEASE, lease_key(lease_id)))
        else:
            puts.append((Table.LEASE, lease_key(lease_id), msgpack.packb([ttl_s])))
    return WriteBatch(appends, puts, deletes)
