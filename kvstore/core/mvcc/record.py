"""A stored record: what the log holds of one write.

    offset  0         8         16        24      32         36                          -4
            create    mod       version   lease   value_at   mvccpb.KeyValue, protobuf   CRC-32
            int64 LE  int64 LE  int64 LE  int64   uint32 LE                              uint32 LE

The message is the KeyValue exactly as a response carries it, fields in ascending order and zero
fields absent, so that a server splices it and never encodes it again. The head repeats its numbers
at fixed places, because decoding varints in Python costs more than all the rest of a read;
`value_at` is where the value's tag stands (the end of the version field). A tombstone is a record
with zeros in its head, but for mod, and only the key in its message, as in etcd. The checksum is of
all before it and stands last, so that one call sums it up together with the record: a whole record
sums to a constant.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final, Generic, TypeVar, overload
from zlib import crc32

from kvstore.checksum import RESIDUE, SMALL_BYTES, checksum
from kvstore.types import KeyValue

__all__ = [
    "CRC_BYTES",
    "HEAD_BYTES",
    "KeyRecords",
    "Records",
    "WireSequence",
    "are_whole",
    "decode",
    "encode",
    "encode_tombstone",
    "is_whole",
    "key_of",
    "lease_of",
    "numbers_of",
    "sealed",
    "varint",
    "wire",
]

HEAD: Final = Struct("<qqqqI")
HEAD_BYTES: Final = HEAD.size
CRC_BYTES: Final = 4
_pack, _unpack = HEAD.pack, HEAD.unpack_from
_pack_crc: Final = Struct("<I").pack
_KEY_AT: Final = HEAD_BYTES + 1
_TABLED: Final = 2048
_REMEMBERED: Final = 8192
_MASK: Final = (1 << 64) - 1

T_co = TypeVar("T_co", covariant=True)


def _long_varint(number: int) -> bytes:
    number &= _MASK
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_FIRST: Final = tuple(bytes((low | 0x80,)) for low in range(0x80))
_LAST: Final = tuple(bytes((high,)) for high in range(0x80))
_SHORT: Final = (
    *_LAST,
    *(low + high for high in _LAST[1 : _TABLED >> 7] for low in _FIRST),
)
_rest: Final = lru_cache(_REMEMBERED)(_long_varint)


def varint(number: int) -> bytes:
    """The protobuf varint of an int64; a negative number takes ten bytes."""
    if 0 <= number < _TABLED:
        return _SHORT[number]
    if number > 0:  # a revision, mostly: its neighbours have all but the first byte in common
        return _FIRST[number & 0x7F] + _rest(number >> 7)
    return _long_varint(number)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(the number, the offset after it)."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def encode(
    key: bytes, value: bytes, create_revision: int, mod_revision: int, version: int, lease: int
) -> bytes:
    # What is small nearly always is looked up here: calling `varint` costs more than its look-up.
    key_bytes, value_bytes = len(key), len(value)
    head = b"\x0a%b%b\x10%b\x18%b\x20%b" % (
        _SHORT[key_bytes] if key_bytes < _TABLED else varint(key_bytes),
        key,
        varint(create_revision),
        varint(mod_revision),
        _SHORT[version] if version < _TABLED else varint(version),
    )
    numbers = _pack(create_revision, mod_revision, version, lease, HEAD_BYTES + len(head))
    if not value_bytes:
        return sealed(b"%b%b\x30%b" % (numbers, head, varint(lease)) if lease else numbers + head)
    size = _SHORT[value_bytes] if value_bytes < _TABLED else varint(value_bytes)
    if lease:
        return sealed(b"%b%b\x2a%b%b\x30%b" % (numbers, head, size, value, varint(lease)))
    record = b"%b%b\x2a%b%b" % (numbers, head, size, value)
    return record + _pack_crc(crc32(record)) if value_bytes < SMALL_BYTES else sealed(record)


def encode_tombstone(key: bytes, mod_revision: int) -> bytes:
    body = b"\x0a%b%b" % (varint(len(key)), key)
    return sealed(_pack(0, mod_revision, 0, 0, HEAD_BYTES + len(body)) + body)


def sealed(record: bytes) -> bytes:
    """A record that lacks its checksum, with it."""
    return record + _pack_crc(checksum(record))


def is_whole(record: bytes) -> bool:
    """Is the checksum right?"""
    return (crc32(record) if len(record) < SMALL_BYTES else checksum(record)) == RESIDUE


def are_whole(records: Sequence[bytes]) -> bool:
    """Are they all? A fifth of a microsecond for each of 100 bytes."""
    return all(map(RESIDUE.__eq__, map(crc32, records)))


def key_of(record: bytes) -> bytes:
    size = record[_KEY_AT]
    if size < 0x80:
        return record[_KEY_AT + 1 : _KEY_AT + 1 + size]
    size, at = _read_varint(record, _KEY_AT)
    return record[at : at + size]


def lease_of(record: bytes) -> int:
    lease: int = _unpack(record)[3]
    return lease


def numbers_of(record: bytes) -> tuple[int, int, int, int]:
    """(create_revision, mod_revision, version, lease)."""
    create, mod, version, lease, _ = _unpack(record)
    return create, mod, version, lease


def _value(record: bytes, at: int) -> bytes:
    if at == len(record) - CRC_BYTES or record[at] != 0x2A:
        return b""
    size, start = _read_varint(record, at + 1)
    return record[start : start + size]


def decode(record: bytes) -> KeyValue:
    """The KeyValue of a record; of a tombstone, one with only key and mod_revision."""
    create, mod, version, lease, at = _unpack(record)
    size = record[_KEY_AT]
    key = record[_KEY_AT + 1 : _KEY_AT + 1 + size] if size < 0x80 else key_of(record)
    if lease or at == len(record) - CRC_BYTES:
        value = _value(record, at)
    elif record[at + 1] < 0x80:
        value = record[at + 2 : -CRC_BYTES]
    elif record[at + 2] < 0x80:
        value = record[at + 3 : -CRC_BYTES]
    else:
        value = _value(record, at)
    return KeyValue(key, value, create, mod, version, lease)


def _decode_key_only(record: bytes) -> KeyValue:
    create, mod, version, _, _ = _unpack(record)
    return KeyValue(key_of(record), b"", create, mod, version, 0)


def wire(record: bytes) -> bytes:
    """The protobuf body of the mvccpb.KeyValue."""
    return record[HEAD_BYTES:-CRC_BYTES]


def _wire_key_only(record: bytes) -> bytes:
    return record[HEAD_BYTES : _unpack(record)[4]]


class WireSequence(Sequence[T_co], Generic[T_co]):
    """A sequence of values whose protobuf bodies are at hand without encoding."""

    __slots__ = ()

    @abstractmethod
    def wire(self) -> list[bytes]:
        """The encoded message body of each element, in order."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (WireSequence, list, tuple)):
            return NotImplemented
        return len(self) == len(other) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # a sequence of values, compared as a list is

    def __repr__(self) -> str:
        return repr(list(self))


class Records(WireSequence[KeyValue]):
    """Records seen as KeyValues, decoded when looked at."""

    __slots__ = ("records",)
    _decode: Callable[[bytes], KeyValue] = staticmethod(decode)
    _wire: Callable[[bytes], bytes] = staticmethod(wire)

    def __init__(self, records: list[bytes]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> KeyValue: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[KeyValue]: ...
    def __getitem__(self, index: int | slice) -> KeyValue | Sequence[KeyValue]:
        if isinstance(index, slice):
            return type(self)(self.records[index])
        return self._decode(self.records[index])

    def __iter__(self) -> Iterator[KeyValue]:
        return map(self._decode, self.records)

    def wire(self) -> list[bytes]:
        return list(map(self._wire, self.records))


class KeyRecords(Records):
    """The same for a keys-only read: neither value nor lease (as etcd 3.7 answers)."""

    __slots__ = ()
    _decode = staticmethod(_decode_key_only)
    _wire = staticmethod(_wire_key_only)
