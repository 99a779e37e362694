"""CRC-32, as everything on disk is summed with."""

from __future__ import annotations

from struct import Struct
from zlib import crc32

__all__ = ["RESIDUE", "SMALL_BYTES", "checksum", "row_body", "sealed_row"]

_crc = Struct("<I").pack

RESIDUE = 0x2144DF1C
"""The sum of anything followed by its own sum in little-endian: one call verifies."""
SMALL_BYTES = 4096
"""zlib gives up the interpreter for more than 5 KiB, which costs more than the sum of a few."""
_MANY_SLICES_BYTES = 128 * 1024


def checksum(data: bytes | memoryview, start: int = 0) -> int:
    """`zlib.crc32`, without giving up the interpreter for less than 128 KiB."""
    if len(data) <= SMALL_BYTES or len(data) > _MANY_SLICES_BYTES:
        return crc32(data, start)
    for at in range(0, len(data), SMALL_BYTES):
        start = crc32(data[at : at + SMALL_BYTES], start)
    return start


def sealed_row(key: bytes, body: bytes) -> bytes:
    """The value of a small row: its body and the checksum of its key and its body."""
    return body + _crc(checksum(body, checksum(key)))


def row_body(key: bytes, value: bytes) -> bytes | None:
    """The body of a sealed row; None when its checksum is wrong."""
    return value[:-4] if checksum(value, checksum(key)) == RESIDUE and len(value) >= 4 else None
