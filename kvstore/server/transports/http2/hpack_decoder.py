"""Decodes header blocks (RFC 7541): the static and the dynamic table, and the five representations.

    1.......  indexed field                  01......  literal, added to the table
    001.....  new size of the table          0000.... and 0001....  literal, not added

Our own because it is on the hot path: a client of grpc-go adds its `grpc-timeout` to the table
with every call, which moves all other indices, so that no block is like the one before. The static
entries and Huffman's code are those of the `hpack` package.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from kvstore.server.transports.http2.errors import ConnectionFault
from kvstore.server.transports.http2.frames import ErrorCode

__all__ = ["Field", "HpackDecoder"]

Field = tuple[bytes, bytes]

_STATIC: Final[tuple[Field, ...]] = ((b"", b""), *HeaderTable.STATIC_TABLE)
_FIRST_DYNAMIC: Final = len(_STATIC)
_ENTRY_BYTES: Final = 32
"""What an entry counts besides its name and value (section 4.1)."""
_CACHED_STRINGS: Final = 4096
_CACHED_STRING_BYTES: Final = 256
_MAX_INTEGER: Final = 1 << 28


class HpackDecoder:
    def __init__(self, max_list_bytes: int, max_table_bytes: int = 4096) -> None:
        """`max_table_bytes` is what our SETTINGS allow; the client may choose less."""
        self._max_list_bytes, self._allowed_bytes = max_list_bytes, max_table_bytes
        self._max_bytes = max_table_bytes
        self._entries: list[Field] = []  # the newest last
        self._bytes = 0
        self.changes = 0
        """Grows with every change of the table."""

    def __repr__(self) -> str:
        return f"HpackDecoder({len(self._entries)} entries, {self._bytes} bytes)"

    def decode(self, block: bytes) -> list[Field]:
        """All fields, in order. Raises ConnectionFault: the tables are apart then."""
        fields: list[Field] = []
        at, end, size = 0, len(block), 0
        try:
            while at < end:
                byte = block[at]
                if byte >= 0x80:
                    index = byte & 0x7F
                    at += 1
                    if index == 0x7F:
                        index, at = _integer(block, at, 0x7F)
                    field = self._field(index)
                elif byte >= 0x40:
                    field, at = self._literal(block, at, 0x3F)
                    self._add(field)
                elif byte >= 0x20:
                    at = self._resize(block, at, is_first=not fields)
                    continue
                else:
                    field, at = self._literal(block, at, 0x0F)
                size += len(field[0]) + len(field[1]) + _ENTRY_BYTES
                if size > self._max_list_bytes:
                    raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header list too large")
                fields.append(field)
        except IndexError:
            raise _error("a header block is cut off") from None
        return fields

    def _field(self, index: int) -> Field:
        if index < _FIRST_DYNAMIC:
            if not index:
                raise _error("index 0")
            return _STATIC[index]
        at = index - _FIRST_DYNAMIC
        if at >= len(self._entries):
            raise _error(f"index {index} is not in the table")
        return self._entries[-1 - at]

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[Field, int]:
        index = block[at] & mask
        at += 1
        if index == mask:
            index, at = _integer(block, at, mask)
        if index:
            name = self._field(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        return (name, value), at

    def _resize(self, block: bytes, at: int, *, is_first: bool) -> int:
        if not is_first:
            raise _error("a new size of the table after fields")
        size = block[at] & 0x1F
        at += 1
        if size == 0x1F:
            size, at = _integer(block, at, 0x1F)
        if size > self._allowed_bytes:
            raise _error("a table larger than was allowed")
        self._max_bytes = size
        self.changes += 1
        self._evict()
        return at

    def _add(self, field: Field) -> None:
        self._entries.append(field)
        self._bytes += len(field[0]) + len(field[1]) + _ENTRY_BYTES
        self.changes += 1
        if self._bytes > self._max_bytes:
            self._evict()

    def _evict(self) -> None:
        entries, gone = self._entries, 0
        while self._bytes > self._max_bytes:
            name, value = entries[gone]
            self._bytes -= len(name) + len(value) + _ENTRY_BYTES
            gone += 1
        del entries[:gone]


def _integer(block: bytes, at: int, number: int) -> tuple[int, int]:
    """(the number, the offset after it) of one that did not fit into its prefix (section 5.1)."""
    shift = 0
    while True:
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if number > _MAX_INTEGER or shift > 28:
            raise _error("an integer is too large")
        if byte < 0x80:
            return number, at
        shift += 7


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    byte = block[at]
    size = byte & 0x7F
    at += 1
    if size == 0x7F:
        size, at = _integer(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise _error("a string is cut off")
    text = block[at:end]
    if byte < 0x80:
        return text, end
    return (_plain(text) if size <= _CACHED_STRING_BYTES else _decode_huffman(text)), end


def _decode_huffman(text: bytes) -> bytes:
    try:
        return decode_huffman(text)
    except HPACKDecodingError as error:
        raise _error(str(error)) from None


_plain: Final = lru_cache(_CACHED_STRINGS)(_decode_huffman)


def _error(why: str) -> ConnectionFault:
    return ConnectionFault(ErrorCode.COMPRESSION_ERROR, why)
