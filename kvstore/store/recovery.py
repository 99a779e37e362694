"""Open: read the rows of a backend into what the engine starts from. Nothing needs repair."""

from __future__ import annotations

from struct import Struct

from kvstore.backend.interface import Backend, Snapshot, Table
from kvstore.core.engine import Recovered
from kvstore.core.mvcc.key_index import Entry, KeyIndex
from kvstore.core.mvcc.record import HEAD_BYTES, is_whole, key_of
from kvstore.core.mvcc.revision import TOMBSTONE
from kvstore.core.mvcc.tree_index import TreeIndex
from kvstore.store.damage import damaged_record
from kvstore.store.format import check_format
from kvstore.store.rows import lease_row, meta

__all__ = ["recover"]

FIRST_REVISION = 1
"""Of an empty store; the first write gets 2."""
_numbers = Struct("<qqqq").unpack_from
_damaged = (0, -1, 0, 0)


def recover(backend: Backend) -> Recovered:
    """Scan the log once: O(records), about a microsecond each. Raises CorruptStore."""
    check_format(backend)
    snapshot = backend.snapshot()
    try:
        entries, leased, last = _scan(snapshot)
        compact, finished = meta(snapshot, "compact") or (-1, True)
        leases = [lease_row(key, value) for key, value in snapshot.rows(Table.LEASE)]
        write_index = meta(snapshot, "write_index") or 0
    finally:
        snapshot.close()
    backend.trim()
    return Recovered(
        index=TreeIndex(entries),
        revision=max(FIRST_REVISION, last >> 32, compact),
        compact_revision=compact,
        compaction_finished=finished,
        write_index=write_index,
        leases=leases,
        attached=list(leased.items()),
    )


def _scan(snapshot: Snapshot) -> tuple[dict[bytes, Entry], dict[bytes, int], int]:
    """(index entries, key -> lease, last packed revision)."""
    entries: dict[bytes, Entry] = {}
    leased: dict[bytes, int] = {}
    packed = 0
    size_at, key_at = HEAD_BYTES + 1, HEAD_BYTES + 2
    from_bytes = int.from_bytes
    for row_key, record in snapshot.rows(Table.LOG):
        packed = from_bytes(row_key, "big")
        create, mod, version, lease = _numbers(record) if is_whole(record) else _damaged
        if mod != packed >> 32 or (packed & TOMBSTONE) == (version > 0):
            raise damaged_record(packed)
        size = record[size_at]
        key = record[key_at : key_at + size] if size < 0x80 else key_of(record)
        entry = entries.get(key)
        if entry is None:
            entries[key] = packed if version == 1 else KeyIndex(create, version, [packed])
        else:
            if type(entry) is int:
                entry = entries[key] = KeyIndex(0, 0, [entry])
            entry.revs.append(packed)  # type: ignore[union-attr]  # type() is the fast test
            entry.create, entry.version = create, version  # type: ignore[union-attr]
        if lease:
            leased[key] = lease
        elif leased and key in leased:
            del leased[key]
    return entries, leased, packed
