"""The engine's decisions as rows of a backend, and rows back as values.

table   key                              value
log     revision, 12 bytes               record (kvstore.core.mvcc.record)
lease   id, 8 bytes big-endian           msgpack [TTL in s], its checksum
meta    b"meta:format"                   msgpack format number, 3, and no checksum
        b"meta:compact"                  msgpack [scheduled revision, finished?], its checksum
        b"meta:write_index"              msgpack count of write requests, its checksum
        b"meta:identity"                 msgpack [member id, cluster id, raft term], its checksum
        b"meta:upgrade"                  where an upgrade from an older format stands

A checksum is the CRC-32 of the key and of what stands before it, uint32 little-endian.
"""

from __future__ import annotations

from struct import Struct
from typing import Any
from zlib import crc32

import msgpack

from kvstore.backend.interface import Backend, Snapshot, Table, WriteBatch
from kvstore.checksum import row_body, sealed_row
from kvstore.core.engine import Commit
from kvstore.core.mvcc.revision import to_bytes
from kvstore.errors import CorruptStore

__all__ = [
    "FORMAT",
    "FORMAT_KEY",
    "META_KEYS",
    "UPGRADE_KEY",
    "lease_key",
    "lease_row",
    "meta",
    "meta_put",
    "rows_of",
    "set_meta",
]

_WRITE_INDEX_KEY = b"meta:write_index"
_WRITE_INDEX_CRC = crc32(_WRITE_INDEX_KEY)
_pack_crc = Struct("<I").pack
FORMAT = 3
FORMAT_KEY = b"meta:format"
UPGRADE_KEY = b"meta:upgrade"
META_KEYS = frozenset(
    {FORMAT_KEY, UPGRADE_KEY, b"meta:compact", b"meta:write_index", b"meta:identity"}
)


def _unsealed(key: bytes, value: bytes) -> Any:
    """Raises CorruptStore."""
    body = row_body(key, value)
    if body is None:
        raise CorruptStore(
            f"the row {key!r} is damaged, its checksum is wrong: `kvstore check` says what else is"
        )
    return msgpack.unpackb(body)


def lease_key(lease_id: int) -> bytes:
    return lease_id.to_bytes(8, "big", signed=True)


def lease_row(key: bytes, value: bytes) -> tuple[int, int]:
    """(id, TTL in s). Raises CorruptStore."""
    (ttl_s,) = _unsealed(key, value)
    return int.from_bytes(key, "big", signed=True), int(ttl_s)


def meta(snapshot: Snapshot, name: str) -> Any:
    """A meta row's value; None when it is not there. Raises CorruptStore."""
    key = b"meta:" + name.encode()
    value = snapshot.get(Table.META, key)
    return None if value is None else _unsealed(key, value)


def meta_put(name: str, value: object) -> tuple[Table, bytes, bytes]:
    key = b"meta:" + name.encode()
    return Table.META, key, sealed_row(key, msgpack.packb(value))


def _write_index_put(write_index: int) -> tuple[Table, bytes, bytes]:
    """As `meta_put`, for what each commit has."""
    body = msgpack.packb(write_index)
    return Table.META, _WRITE_INDEX_KEY, body + _pack_crc(crc32(body, _WRITE_INDEX_CRC))


def set_meta(backend: Backend, name: str, value: object) -> None:
    """Commit one meta row by itself; only while no shell has the backend."""
    backend.commit(WriteBatch(puts=[meta_put(name, value)]))


def rows_of(commit: Commit) -> WriteBatch:
    appends = [
        (to_bytes(write.packed), write.record)
        for decision in commit.decisions
        for write in decision.writes
    ]
    puts = [_write_index_put(commit.write_index)]
    deletes: list[tuple[Table, bytes]] = []
    leases: dict[int, int | None] = {}
    for decision in commit.decisions:
        if decision.leases:
            leases.update(decision.leases)
        if decision.dropped:
            deletes += [(Table.LOG, to_bytes(packed)) for packed in sorted(decision.dropped)]
        if decision.compact is not None:
            puts.append(meta_put("compact", [decision.compact, False]))
        if decision.compacted is not None:
            puts.append(meta_put("compact", [decision.compacted, True]))
    for lease_id, ttl_s in leases.items():
        key = lease_key(lease_id)
        if ttl_s is None:
            deletes.append((Table.LEASE, key))
        else:
            puts.append((Table.LEASE, key, sealed_row(key, msgpack.packb([ttl_s]))))
    return WriteBatch(appends, puts, deletes)
