"""Header blocks of one connection, decoded (RFC 7541) and checked (RFC 9113, section 8).

A client sends the same block again and again, because what repeats stands in its dynamic table. So
what a block means is remembered by its bytes, for as long as decoding leaves the table as it is:
then the same bytes mean the same fields, and decoding them would change nothing. What fields mean
is remembered as well, but for the one that varies. Both are bounded in bytes: a list may have a
megabyte, and nobody needs such a one twice.

Blocks that are sent use no table at all: an answer is the same bytes on every connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Generic, Protocol, TypeVar

from kvstore.server.transports.http2.errors import StreamFault
from kvstore.server.transports.http2.frames import ErrorCode
from kvstore.server.transports.http2.hpack_decoder import Field, HpackDecoder

__all__ = [
    "REMEMBERED_BYTES",
    "Fields",
    "HeaderBlocks",
    "Kept",
    "Meaning",
    "check_request",
    "check_trailers",
    "encode_fields",
]

Fields = list[Field]
"""Header fields in order, pseudo-header fields among them."""

REMEMBERED_BYTES: Final = 256 * 1024
"""Of what one connection's blocks and fields mean; at the bound all is forgotten."""
_LARGEST_REMEMBERED_BYTES: Final = REMEMBERED_BYTES // 8
_MEANING_BYTES: Final = 1024
"""What is kept of any request, however short."""
_FIELD_BYTES: Final = 320
"""What is kept of a field besides its name and its value, both of which are there twice."""
_REQUEST_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE: Final = re.compile(rb"[\0\r\n]")


class Kept(Protocol):
    """What fields mean; it is kept while it is remembered, and by each open stream."""

    kept_bytes: int
    """What it takes, set by HeaderBlocks."""


T = TypeVar("T", bound=Kept)


class Meaning(Protocol[T]):
    """What a sink makes of header fields."""

    def understand(self, fields: Fields) -> T:
        """Raises StreamFault; then nothing is remembered."""
        ...

    varying: bytes
    """A field that changes from call to call, though all others are the same."""

    def vary(self, meaning: T, value: bytes) -> T:
        """The same, with the varying field."""
        ...


class HeaderBlocks(Generic[T]):
    """Turns the blocks of one connection into what a sink makes of their fields."""

    def __init__(self, sink: Meaning[T], max_list_bytes: int) -> None:
        self._sink = sink
        self._decoder = HpackDecoder(max_list_bytes)
        self._by_fields: dict[tuple[Field, ...], T] = {}
        self._fields_bytes = self._known_bytes = 0
        self.known: dict[bytes, T] = {}
        """What blocks mean while the dynamic table stays as it is; look here before `request`."""

    def __repr__(self) -> str:
        return f"HeaderBlocks({len(self.known)} known, {self._decoder!r})"

    def fields(self, block: bytes) -> Fields:
        """Decode a block. Raises ConnectionFault: the tables of both sides are apart then."""
        changes = self._decoder.changes
        fields = self._decoder.decode(block)
        if self._decoder.changes != changes:
            self._forget_blocks()
        return fields

    def request(self, block: bytes) -> T:
        """What a block means that is not in `known`. Raises ConnectionFault, StreamFault."""
        changes = self._decoder.changes
        fields = self.fields(block)
        meaning = self._meaning(fields)
        if self._decoder.changes == changes:
            size = len(block) + meaning.kept_bytes
            if size <= _LARGEST_REMEMBERED_BYTES:
                if self._known_bytes + size > REMEMBERED_BYTES // 2:
                    self._forget_blocks()
                self._known_bytes += size
                self.known[block] = meaning
        return meaning

    def _forget_blocks(self) -> None:
        self.known.clear()
        self._known_bytes = 0

    def _meaning(self, fields: Fields) -> T:
        varying = self._sink.varying
        value = None
        for at, (name, text) in enumerate(fields):
            if name == varying:
                value = text
                del fields[at]
                break
        key = tuple(fields)
        meaning = self._by_fields.get(key)
        if meaning is None:
            check_request(fields)
            meaning = self._sink.understand(fields)
            size = meaning.kept_bytes = _kept_bytes(fields)
            if size <= _LARGEST_REMEMBERED_BYTES:
                if self._fields_bytes + size > REMEMBERED_BYTES // 2:
                    self._by_fields.clear()
                    self._fields_bytes = 0
                self._fields_bytes += size
                self._by_fields[key] = meaning
        return meaning if value is None else self._sink.vary(meaning, value)


def _kept_bytes(fields: Fields) -> int:
    size = _MEANING_BYTES + _FIELD_BYTES * len(fields)
    return size + 2 * sum(len(name) + len(value) for name, value in fields)


def check_request(fields: Fields) -> None:
    """Raises StreamFault for a malformed request."""
    seen: set[bytes] = set()
    in_pseudo = True
    for name, value in fields:
        if name[:1] == b":":
            if not in_pseudo or name in seen or name not in _REQUEST_PSEUDO:
                raise _malformed(f"pseudo-header field {name!r} is misplaced")
            seen.add(name)
            if _BAD_VALUE.search(value):
                raise _malformed(f"the value of {name!r} has a character that no value has")
        else:
            in_pseudo = False
            _check_field(name, value)
    if not seen >= {b":method", b":scheme", b":path"}:
        raise _malformed("a pseudo-header field is missing")
    if (b":path", b"") in fields:
        raise _malformed("the path is empty")


def check_trailers(fields: Fields) -> None:
    """Raises StreamFault for malformed trailers."""
    for name, value in fields:
        if name[:1] == b":":
            raise _malformed("a pseudo-header field in trailers")
        _check_field(name, value)


def _check_field(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise _malformed(f"{name!r} is not a field name")
    if _BAD_VALUE.search(value):
        raise _malformed(f"the value of {name!r} has a character that no value has")
    if name == b"content-length" and not (value.isascii() and value.isdigit()):
        raise _malformed("content-length is not a number")
    if name in _CONNECTION_FIELDS or (name == b"te" and value != b"trailers"):
        raise _malformed(f"{name!r} concerns a connection")


def _malformed(why: str) -> StreamFault:
    return StreamFault(ErrorCode.PROTOCOL_ERROR, why)


_NO_TABLE: Final = b"\x20"
_STATUS_200: Final = b"\x88"  # entry 8 of the static table


def _string(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    out = bytearray((127,))
    size -= 127
    while size > 127:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out) + text


def encode_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A block of literals without indexing, but for `:status: 200` (RFC 7541, 6.1 and 6.2.2).

    It begins by setting the size of the table to 0: a client that has made it smaller must be told
    so in the next block (section 4.2), and so may be told in every one.
    """
    return _NO_TABLE + b"".join(
        _STATUS_200
        if (name, value) == (b":status", b"200")
        else b"\x00" + _string(name) + _string(value)
        for name, value in fields
    )
