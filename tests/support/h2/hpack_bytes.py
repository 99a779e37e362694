"""Header fields in each of the representations of RFC 7541, byte by byte.

`hpack` chooses a representation itself; these are for tests that want a certain one. Strings are
raw unless `huffman` is set.
"""

from __future__ import annotations

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

__all__ = [
    "huffman_string",
    "incremental",
    "indexed",
    "integer",
    "literal",
    "never_indexed",
    "string",
    "table_size",
]

_HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def integer(value: int, prefix_bits: int, first: int = 0) -> bytes:
    """5.1: `value` with a prefix of so many bits, the bits above it being those of `first`."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([first | value])
    coded = bytearray([first | limit])
    value -= limit
    while value >= 0x80:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    coded.append(value)
    return bytes(coded)


def string(text: str | bytes) -> bytes:
    """5.2: a string literal as it is."""
    raw = text.encode() if isinstance(text, str) else text
    return integer(len(raw), 7) + raw


def huffman_string(text: str) -> bytes:
    """5.2: a string literal in the static Huffman code."""
    coded = bytes(_HUFFMAN.encode(text.encode()))
    return integer(len(coded), 7, 0x80) + coded


def indexed(index: int) -> bytes:
    """6.1: a field of the static table (1 to 61) or of the dynamic table (62 is the newest)."""
    return integer(index, 7, 0x80)


def incremental(name: str | int, value: str, *, huffman: bool = False) -> bytes:
    """6.2.1: a literal that is added to the dynamic table; the name may be an index."""
    return _literal(name, value, 6, 0x40, huffman)


def literal(name: str | int, value: str, *, huffman: bool = False) -> bytes:
    """6.2.2: a literal without indexing."""
    return _literal(name, value, 4, 0, huffman)


def never_indexed(name: str | int, value: str, *, huffman: bool = False) -> bytes:
    """6.2.3: a literal that no intermediary may index."""
    return _literal(name, value, 4, 0x10, huffman)


def table_size(size: int) -> bytes:
    """6.3: the dynamic table gets this size."""
    return integer(size, 5, 0x20)


def _literal(name: str | int, value: str, prefix_bits: int, first: int, huffman: bool) -> bytes:
    code = huffman_string if huffman else string
    if isinstance(name, int):
        return integer(name, prefix_bits, first) + code(value)
    return bytes([first]) + code(name) + code(value)
