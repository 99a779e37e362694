"""A segment: one file of the journal, of a fixed size.

    offset  bytes
    0       8      magic, b"kvjourn3"
    8       16     journal id, the same in all segments and in LMDB
    24      8      number of the segment, uint64 little-endian
    32      8      salt of its entries, random
    40      8      size of the file, uint64
    48      24     the last commit that was durable when the head was written: its sequence, the
                   segment and the offset where its entry begins, three uint64
    72      4      CRC-32 (zlib) of the bytes before
    4096           entries, one behind the other

`segment-NUMBER` is a live segment: its head is on the disk before the file gets that name, so a
live segment with a head that cannot be read is damage, never a crash. `spare-NUMBER` is a file that
waits for its next use; what it holds means nothing.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from struct import Struct

from kvstore.errors import CorruptStore

__all__ = [
    "CURRENT",
    "FIRST_ENTRY",
    "NOTHING",
    "Head",
    "Layout",
    "Position",
    "live_name",
    "pack_head",
    "spare_name",
    "spare_number",
]

FIRST_ENTRY = 4096
"""A block of its own for the head, so that no entry's write touches the head's."""
_LIVE, _SPARE = "segment-", "spare-"
_MAGIC = b"kvjourn3"
_fields = Struct("<8s16sQ8sQQQQ")
_crc = Struct("<I")


class Position:
    """Of a commit in the journal."""

    __slots__ = ("at", "number", "sequence")

    def __init__(self, sequence: int, number: int, at: int) -> None:
        """`number` is its segment's, `at` where its entry begins."""
        self.sequence, self.number, self.at = sequence, number, at


NOTHING = Position(0, 0, 0)
"""Before the first commit."""


class Head:
    __slots__ = ("after", "journal_id", "number", "salt", "size_bytes")

    def __init__(
        self, journal_id: bytes, number: int, salt: bytes, size_bytes: int, after: Position
    ) -> None:
        """`after` is a commit that was durable when the head was written."""
        self.journal_id, self.number, self.salt = journal_id, number, salt
        self.size_bytes, self.after = size_bytes, after


class Layout:
    """How the segments of one format are named, and how their heads are read."""

    __slots__ = ("prefix", "read_head")

    def __init__(self, prefix: str, read_head: Callable[[str, bytes, int], Head]) -> None:
        """(name, the first `FIRST_ENTRY` bytes of the file, its size) -> head.

        It raises CorruptStore.
        """
        self.prefix, self.read_head = prefix, read_head

    def live_name(self, number: int) -> str:
        return f"{self.prefix}{number:012}"

    def live_numbers(self, names: list[str]) -> list[int]:
        """Ascending."""
        numbers = (_number(name, self.prefix) for name in names)
        return sorted(number for number in numbers if number is not None)


def _number(name: str, prefix: str) -> int | None:
    digits = name.removeprefix(prefix)
    return int(digits) if digits != name and digits.isdecimal() else None


def spare_name(number: int) -> str:
    return f"{_SPARE}{number:012}"


def spare_number(name: str) -> int | None:
    """None for other files."""
    return _number(name, _SPARE)


def pack_head(
    journal_id: bytes, number: int, size_bytes: int, after: Position
) -> tuple[bytes, bytes]:
    """(the head with a new salt, that salt)."""
    salt = os.urandom(8)
    last = (after.sequence, after.number, after.at)
    fields = _fields.pack(_MAGIC, journal_id, number, salt, size_bytes, *last)
    return fields + _crc.pack(zlib.crc32(fields)), salt


def _read_head(name: str, data: bytes, size_bytes: int) -> Head:
    if len(data) < FIRST_ENTRY:
        raise CorruptStore(f"{name} is cut short: it has {size_bytes} bytes")
    magic, journal_id, number, salt, size, *after = _fields.unpack_from(data)
    if magic != _MAGIC or _crc.unpack_from(data, _fields.size)[0] != zlib.crc32(
        data[: _fields.size]
    ):
        raise CorruptStore(f"the head of {name} is damaged")
    if name != live_name(number):
        raise CorruptStore(f"{name} is segment {number} of a journal: the file was renamed")
    if size != size_bytes:
        how = "cut short" if size_bytes < size else "longer than it was made"
        raise CorruptStore(f"{name} is {how}: it has {size_bytes} bytes, its head says {size}")
    return Head(journal_id, number, salt, size, Position(*after))


CURRENT = Layout(_LIVE, _read_head)
live_name = CURRENT.live_name
