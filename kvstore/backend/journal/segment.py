"""A segment: one file of the journal, of a fixed size.

    offset  bytes
    0       8      magic, b"kvjourn1"
    8       16     journal id, the same in all segments and in LMDB
    24      8      number of the segment, uint64 little-endian
    32      8      salt of its entries, random
    40      4      CRC-32 (zlib) of the forty bytes before
    4096           entries, one behind the other

`journal-NUMBER` is a live segment: its head is on the disk before the file gets that name, so a
live segment with a head that cannot be read is damage, never a crash. `spare-NUMBER` is a file that
waits for its next use; what it holds means nothing.
"""

from __future__ import annotations

import os
import zlib
from struct import Struct
from typing import NamedTuple

from kvstore.errors import CorruptStore

__all__ = ["FIRST_ENTRY", "Head", "live_name", "number_of", "pack_head", "read_head", "spare_name"]

FIRST_ENTRY = 4096
"""A block of its own for the head, so that no entry's write touches the head's."""
_LIVE, _SPARE = "journal-", "spare-"
_MAGIC = b"kvjourn1"
_fields = Struct("<8s16sQ8s")
_crc = Struct("<I")


class Head(NamedTuple):
    journal_id: bytes
    number: int
    salt: bytes


def live_name(number: int) -> str:
    return f"{_LIVE}{number:012}"


def spare_name(number: int) -> str:
    return f"{_SPARE}{number:012}"


def number_of(name: str) -> tuple[int, bool] | None:
    """(number, is it live) of a file name; None for other files."""
    for prefix in (_LIVE, _SPARE):
        digits = name.removeprefix(prefix)
        if digits != name and digits.isdecimal():
            return int(digits), prefix == _LIVE
    return None


def pack_head(journal_id: bytes, number: int) -> tuple[bytes, bytes]:
    """(the head with a new salt, that salt)."""
    salt = os.urandom(8)
    fields = _fields.pack(_MAGIC, journal_id, number, salt)
    return fields + _crc.pack(zlib.crc32(fields)), salt


def read_head(name: str, data: bytes) -> Head:
    """Raises CorruptStore."""
    if len(data) < FIRST_ENTRY:
        raise CorruptStore(f"{name} is cut short: it has {len(data)} bytes")
    magic, journal_id, number, salt = _fields.unpack_from(data)
    if magic != _MAGIC or _crc.unpack_from(data, _fields.size)[0] != zlib.crc32(
        data[: _fields.size]
    ):
        raise CorruptStore(f"the head of {name} is damaged")
    if name != live_name(number):
        raise CorruptStore(f"{name} is segment {number} of a journal: the file was renamed")
    return Head(journal_id, number, salt)
