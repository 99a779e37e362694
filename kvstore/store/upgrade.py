"""The format of a directory: marked in a new one, upgraded in an old one, refused otherwise.

    found                            what is done
    no format, an empty log          it is marked with this format
    1 or 2                           each row gets its checksum, in slices
    3 and how far an upgrade came    the upgrade goes on
    3                                nothing
    anything else                    CorruptStore
    a table or row nobody knows      CorruptStore that names it

Formats 1 and 2 had the same rows and no checksums (what differs between their journals is the
backend's matter). The first slice marks the directory with this format, so that no older version
opens it any more, and each slice says in its own commit how far it came: a crash at any point
leaves what the next opening goes on with.
"""

import logging
import time
from typing import NamedTuple

import msgpack

from kvstore.backend.interface import Backend, BackendFull, MapFull, Row, Table, WriteBatch
from kvstore.backend.journal.mark import MARK_KEY
from kvstore.checksum import sealed_row
from kvstore.core.mvcc.record import sealed
from kvstore.errors import CorruptStore, OpenError
from kvstore.limits import UPGRADE_SCAN_ROWS, UPGRADE_SLICE_BYTES, UPGRADE_SLICE_ROWS
from kvstore.store.rows import FORMAT_KEY, META_KEYS, UPGRADE_KEY

__all__ = ["FORMAT", "check_format"]

FORMAT = 3
_KNOWN = META_KEYS | {MARK_KEY, Table.LOG.value, Table.LEASE.value}
log = logging.getLogger(__name__)


class _Progress(NamedTuple):
    """The rows of `table` from `key` on, and of the tables after it, are as they were."""

    table: bytes
    key: bytes


def check_format(backend: Backend) -> None:
    """Leave the backend with rows of this format. Nothing may have been committed to it.

    Raises CorruptStore, OpenError. An upgrade is O(rows), with a commit for each slice of them.
    """
    snapshot = backend.snapshot()
    try:
        rows = dict(snapshot.rows(Table.META))
        is_empty = not snapshot.scan(Table.LOG, b"", 1)
    finally:
        snapshot.close()
    found = _format_of(rows)
    if found is not None and not 1 <= found <= FORMAT:
        raise CorruptStore(
            f"the store has format {found}, this version reads formats 1 to {FORMAT}"
        )
    _refuse_unknown(rows)
    if found is None:
        if not is_empty:
            raise CorruptStore("the log has records and no row says which format they have")
        backend.commit(WriteBatch(puts=[(Table.META, FORMAT_KEY, msgpack.packb(FORMAT))]))
    elif found < FORMAT or UPGRADE_KEY in rows:
        _upgrade(backend, found, rows)


def _format_of(rows: dict[bytes, bytes]) -> int | None:
    row = rows.get(FORMAT_KEY)
    if row is None:
        return None
    try:
        return int(msgpack.unpackb(row))
    except Exception as error:
        raise CorruptStore(f"the row about the format cannot be read: {error}") from error


def _refuse_unknown(rows: dict[bytes, bytes]) -> None:
    unknown = sorted(rows.keys() - _KNOWN)
    if unknown:
        names = ", ".join(repr(name.decode(errors="replace")) for name in unknown[:5])
        raise CorruptStore(
            f"the store has tables or rows that this version does not know: {names}; "
            "open it with the version that wrote them, or a newer one"
        )


# -- the upgrade -----------------------------------------------------------------------------------


def _upgrade(backend: Backend, found: int, rows: dict[bytes, bytes]) -> None:
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
    return Table.META, UPGRADE_KEY, msgpack.packb(tuple(progress))


def _commit(backend: Backend, batch: WriteBatch) -> None:
    while True:
        try:
            backend.rewrite(batch)
            return
        except MapFull:
            backend.grow()
        except BackendFull as error:
            raise OpenError(f"no room to upgrade the store to format {FORMAT}: {error}") from error
