"""Where LMDB stands in the journal: a row of LMDB, committed together with what it speaks of."""

from __future__ import annotations

from typing import NamedTuple

import msgpack

from kvstore.backend.interface import Table
from kvstore.errors import CorruptStore

__all__ = ["MARK_KEY", "Mark", "pack_mark", "unpack_mark"]

MARK_KEY = b"journal"


class Mark(NamedTuple):
    journal_id: bytes
    sequence: int
    """The last commit that LMDB has."""
    number: int
    """The segment of that commit."""
    at: int
    """Where its entry begins; 0: no entry was written yet, the first goes into that segment."""
    is_open: bool
    """May the journal have more? Then it must be there."""


def pack_mark(mark: Mark) -> tuple[Table, bytes, bytes]:
    """As a put of a batch."""
    return Table.META, MARK_KEY, msgpack.packb(tuple(mark))


def unpack_mark(row: bytes | None) -> Mark | None:
    """Raises CorruptStore."""
    if row is None:
        return None
    try:
        return Mark(*msgpack.unpackb(row))
    except Exception as error:
        raise CorruptStore(f"the row about the journal cannot be read: {error}") from error
