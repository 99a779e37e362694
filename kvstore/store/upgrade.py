"""The upgrade of a directory of an older format: each row gets its checksum, in slices.

Formats 1 and 2 had the same rows and no checksums (what differs between their journals is the
backend's matter). The first slice marks the directory with this format, so that no older version
opens it any more, and each slice says in its own commit how far it came: a crash at any point
leaves what the next opening goes on with.
"""

from __future__ import annotations

import logging
import time

import msgpack

from kvstore.backend.interface import Backend, BackendFull, MapFull, Row, Table, WriteBatch
from kvstore.checksum import sealed_row
from kvstore.core.mvcc.record import sealed
from kvstore.errors import OpenError
from kvstore.limits import UPGRADE_SCAN_ROWS, UPGRADE_SLICE_BYTES, UPGRADE_SLICE_ROWS
from kvstore.store.rows import FORMAT, FORMAT_KEY, META_KEYS, UPGRADE_KEY

__all__ = ["upgrade"]

log = logging.getLogger(__name__)


class _Progress:
    """The rows of `table` from `key` on, and of the tables after it, are as they were."""

    __slots__ = ("key", "table")

    def __init__(self, table: bytes, key: bytes) -> None:
        self.table, self.key = table, key


def upgrade(backend: Backend, found: int, rows: dict[bytes, bytes]) -> None:
    """From format `found`, or on from where it was cut short; `rows` are all of META.

    O(rows), with a commit for each slice of them. Raises OpenError.
    """
    started_s, count = time.monotonic(), 0
    progress = _begin(backend, found, rows)
    tables = [Table.LOG, Table.LEASE]
    for table in tables[tables.index(Table(progress.table)) :]:
        first = progress.key if table.value == progress.table else b""
        while some := _slice(backend, table, first):
            first = some[-1][0] + b"\0"
            done = _progress_put(_Progress(table.value, first))
            _commit(backend, WriteBatch(puts=[*_sealed_rows(table, some), done]))
            count += len(some)
    _commit(backend, WriteBatch(deletes=[(Table.META, UPGRADE_KEY)]))
    log.info("upgraded %d rows in %.1f s", count, time.monotonic() - started_s)


def _begin(backend: Backend, found: int, rows: dict[bytes, bytes]) -> _Progress:
    if UPGRADE_KEY in rows:
        log.info("the upgrade to format %d goes on", FORMAT)
        return _Progress(*msgpack.unpackb(rows[UPGRADE_KEY]))
    log.info("upgrading from format %d to format %d: every row gets a checksum", found, FORMAT)
    progress = _Progress(Table.LOG.value, b"")
    puts = [
        (Table.META, key, sealed_row(key, value))
        for key, value in rows.items()
        if key in META_KEYS and key != FORMAT_KEY
    ]
    mark = (Table.META, FORMAT_KEY, msgpack.packb(FORMAT))
    _commit(backend, WriteBatch(puts=[*puts, mark, _progress_put(progress)]))
    return progress


def _slice(backend: Backend, table: Table, first: bytes) -> list[Row]:
    rows: list[Row] = []
    size = 0
    snapshot = backend.snapshot()
    try:
        while size < UPGRADE_SLICE_BYTES and len(rows) < UPGRADE_SLICE_ROWS:
            some = snapshot.scan(table, first, UPGRADE_SCAN_ROWS)
            if not some:
                break
            rows += some
            size += sum(len(value) for _, value in some)
            first = some[-1][0] + b"\0"
    finally:
        snapshot.close()
    return rows


def _sealed_rows(table: Table, rows: list[Row]) -> list[tuple[Table, bytes, bytes]]:
    if table is Table.LOG:
        return [(table, key, sealed(record)) for key, record in rows]
    return [(table, key, sealed_row(key, value)) for key, value in rows]


def _progress_put(progress: _Progress) -> tuple[Table, bytes, bytes]:
    return Table.META, UPGRADE_KEY, msgpack.packb((progress.table, progress.key))


def _commit(backend: Backend, batch: WriteBatch) -> None:
    while True:
        try:
            backend.rewrite(batch)
            return
        except MapFull:
            backend.grow()
        except BackendFull as error:
            raise OpenError(f"no room to upgrade the store to format {FORMAT}: {error}") from error
