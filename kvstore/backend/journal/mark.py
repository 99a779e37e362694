"""Where LMDB stands in the journal: a row of LMDB, committed together with what it speaks of.

The value is msgpack [journal id, sequence, segment, offset, is open, position in a replicated log]
and a checksum. The last is nil: nothing writes it yet, and what says otherwise is refused.
"""

from __future__ import annotations

import msgpack

from kvstore.backend.interface import Table
from kvstore.backend.journal.segment import Position
from kvstore.checksum import row_body, sealed_row
from kvstore.errors import CorruptStore

__all__ = ["MARK_KEY", "Mark", "pack_mark", "unpack_mark"]

MARK_KEY = b"mark"


class Mark:
    __slots__ = ("at", "is_open", "journal_id", "number", "sequence")

    def __init__(
        self, journal_id: bytes, sequence: int, number: int, at: int, is_open: bool
    ) -> None:
        self.journal_id = journal_id
        self.sequence = sequence
        """The last commit that LMDB has."""
        self.number = number
        """The segment of that commit."""
        self.at = at
        """Where its entry begins; 0: no entry was written yet, the first goes into that segment."""
        self.is_open = is_open
        """May the journal have more? Then it must be there."""

    @property
    def position(self) -> Position:
        return Position(self.sequence, self.number, self.at)


def pack_mark(mark: Mark) -> tuple[Table, bytes, bytes]:
    """As a put of a batch."""
    fields = (mark.journal_id, mark.sequence, mark.number, mark.at, mark.is_open, None)
    return Table.META, MARK_KEY, sealed_row(MARK_KEY, msgpack.packb(fields))


def unpack_mark(row: bytes | None) -> Mark | None:
    """Raises CorruptStore."""
    if row is None:
        return None
    body = row_body(MARK_KEY, row)
    if body is None:
        raise CorruptStore("the row about the journal is damaged: its checksum is wrong")
    try:
        *fields, log_position = msgpack.unpackb(body)
        mark = Mark(*fields)
    except Exception as error:
        raise CorruptStore(f"the row about the journal cannot be read: {error}") from error
    if log_position is not None:
        raise CorruptStore("the store follows a replicated log, which this version does not know")
    return mark
