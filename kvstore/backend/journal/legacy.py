"""The journal of format 2: read for the last time, moved into LMDB, removed.

Its segments are `journal-NUMBER`, without their size and without a commit that came before:

    offset  bytes
    0       8      magic, b"kvjourn1"
    8       16     journal id
    24      8      number of the segment, uint64 little-endian
    32      8      salt of its entries
    40      4      CRC-32 (zlib) of the forty bytes before
    4096           entries, as they are now

Its mark is the row `journal`, msgpack [journal id, sequence, segment, offset, is open].
"""

from __future__ import annotations

import zlib
from struct import Struct

import msgpack

from kvstore.backend.journal.disk import Disk
from kvstore.backend.journal.mark import Mark
from kvstore.backend.journal.segment import FIRST_ENTRY, NOTHING, Head, Layout
from kvstore.errors import CorruptStore

__all__ = ["FORMAT_2", "OLD_MARK_KEY", "remove_segments", "unpack_old_mark"]

OLD_MARK_KEY = b"journal"
_MAGIC = b"kvjourn1"
_fields = Struct("<8s16sQ8s")
_crc = Struct("<I")


def _read_head(name: str, data: bytes, size_bytes: int) -> Head:
    if len(data) < FIRST_ENTRY:
        raise CorruptStore(f"{name} is cut short: it has {size_bytes} bytes")
    magic, journal_id, number, salt = _fields.unpack_from(data)
    crc = _crc.unpack_from(data, _fields.size)[0]
    if magic != _MAGIC or crc != zlib.crc32(data[: _fields.size]):
        raise CorruptStore(f"the head of {name} is damaged")
    if name != FORMAT_2.live_name(number):
        raise CorruptStore(f"{name} is segment {number} of a journal: the file was renamed")
    return Head(journal_id, number, salt, size_bytes, NOTHING)


FORMAT_2 = Layout("journal-", _read_head)


def unpack_old_mark(row: bytes | None) -> Mark | None:
    """Raises CorruptStore."""
    try:
        return None if row is None else Mark(*msgpack.unpackb(row))
    except Exception as error:
        raise CorruptStore(f"the row about the journal cannot be read: {error}") from error


def remove_segments(disk: Disk) -> None:
    """When LMDB has what they held. Raises OSError."""
    numbers = FORMAT_2.live_numbers(disk.names())
    for number in numbers:
        disk.remove(FORMAT_2.live_name(number))
    if numbers:
        disk.sync_names()
