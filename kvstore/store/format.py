"""The format of a directory: marked in a new one, upgraded in an old one, refused otherwise.

found                            what is done
no format, an empty log          it is marked with this format
1 or 2                           each row gets its checksum (kvstore.store.upgrade)
3 and how far an upgrade came    the upgrade goes on
3                                nothing
anything else                    CorruptStore
a table or row nobody knows      CorruptStore that names it
"""

from __future__ import annotations

import msgpack

from kvstore.backend.interface import Backend, Table, WriteBatch
from kvstore.backend.journal.mark import MARK_KEY
from kvstore.errors import CorruptStore
from kvstore.store.rows import FORMAT, FORMAT_KEY, META_KEYS, UPGRADE_KEY

__all__ = ["check_format"]

_KNOWN = META_KEYS | {MARK_KEY, Table.LOG.value, Table.LEASE.value}


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
        from kvstore.store.upgrade import upgrade  # few openings need it

        upgrade(backend, found, rows)


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
