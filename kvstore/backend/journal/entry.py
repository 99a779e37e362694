"""One commit as the bytes of one journal entry, and back.

    offset  bytes
    0       8      salt of the segment
    8       8      sequence, uint64 little-endian
    16      4      length of the body, uint32 little-endian
    20      4      CRC-32 (zlib) of the twenty bytes before and of the body
    24             body: msgpack [appends, puts, deletes], zero bytes up to a multiple of 8

Each segment has its own random salt, so what an earlier use of the file left behind, or zeros,
never look like an entry of it.
"""

from __future__ import annotations

import zlib
from struct import Struct

import msgpack

from kvstore.backend.interface import BackendError, Table, WriteBatch
from kvstore.checksum import checksum
from kvstore.errors import CorruptStore

__all__ = ["ALIGNMENT", "HEAD_BYTES", "Entry", "decode", "encode_body", "padded", "seal"]

ALIGNMENT = 8
HEAD_BYTES = 24
_SALT_BYTES = 8
_fields = Struct("<8sQI")
_crc = Struct("<I")
_CODES = {Table.LEASE: 1, Table.META: 2}
_DELETE_CODES = {Table.LOG: 0, **_CODES}
_TABLES = {code: table for table, code in _DELETE_CODES.items()}
_RESERVED = {3: "user", 4: "role", 5: "alarm", 6: "sample", 7: "member"}
"""Tables that a later version of this format may have."""


class Entry:
    __slots__ = ("batch", "end", "sequence")

    def __init__(self, sequence: int, batch: WriteBatch, end: int) -> None:
        """`end` is where the next entry begins."""
        self.sequence, self.batch, self.end = sequence, batch, end


def encode_body(batch: WriteBatch) -> bytes:
    """Raises BackendError for rows that cannot be put: the log is only appended to."""
    try:
        puts = [(_CODES[table], key, value) for table, key, value in batch.puts]
    except KeyError as error:
        raise BackendError("rows of the log are appended, not put") from error
    deletes = [(_DELETE_CODES[table], key) for table, key in batch.deletes]
    body: bytes = msgpack.packb((batch.appends, puts, deletes))
    return body


def padded(body_bytes: int) -> int:
    """The size of an entry with a body of so many bytes."""
    return HEAD_BYTES + body_bytes + -body_bytes % ALIGNMENT


def seal(body: bytes, salt: bytes, sequence: int) -> bytes:
    """The entry, to be written in one piece."""
    fields = _fields.pack(salt, sequence, len(body))
    crc = _crc.pack(checksum(body, zlib.crc32(fields)))
    return b"".join((fields, crc, body, bytes(-len(body) % ALIGNMENT)))


def decode(data: memoryview, at: int, salt: bytes) -> Entry | None:
    """The entry at an offset; None when there is no whole and valid one.

    Raises CorruptStore when the sum is right and the body is not: it was written so.
    """
    begin = at + HEAD_BYTES
    if begin > len(data):
        return None
    found, sequence, size = _fields.unpack_from(data, at)
    if found != salt or begin + size > len(data):
        return None
    body = data[begin : begin + size]
    if _crc.unpack_from(data, at + _fields.size)[0] != zlib.crc32(
        body, zlib.crc32(data[at : at + _fields.size])
    ):
        return None
    return Entry(sequence, _decode_body(body, sequence), at + padded(size))


def _table(code: int, sequence: int) -> Table:
    table = _TABLES.get(code)
    if table is None:
        raise CorruptStore(
            f"journal entry {sequence} has rows of the table {_RESERVED.get(code, code)!r}, "
            "which this version does not know"
        )
    return table


def _decode_body(body: memoryview, sequence: int) -> WriteBatch:
    try:
        appends, puts, deletes = msgpack.unpackb(body, use_list=False)
        return WriteBatch(
            appends,
            [(_table(code, sequence), key, value) for code, key, value in puts],
            [(_table(code, sequence), key) for code, key in deletes],
        )
    except CorruptStore:
        raise
    except Exception as error:
        raise CorruptStore(f"journal entry {sequence} cannot be read: {error}") from error
