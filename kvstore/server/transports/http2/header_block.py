"""Header blocks of one connection, decoded (RFC 7541) and checked (RFC 9113, section 8).

A client sends the same block again and again, because what repeats stands in its dynamic table. So
what a block means is remembered by its bytes, for as long as decoding leaves the table as it is:
then the same bytes mean the same fields, and decoding them would change nothing.

Blocks that are sent use no table at all: an answer is the same bytes on every connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar, cast

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from kvstore.server.transports.http2.errors import ConnectionFault, StreamFault
from kvstore.server.transports.http2.frames import ErrorCode

__all__ = ["Fields", "HeaderBlocks", "check_request", "check_trailers", "encode_fields"]

Fields = list[tuple[bytes, bytes]]
"""Header fields in order, pseudo-header fields among them."""

T = TypeVar("T")

_REMEMBERED: Final = 64
_REQUEST_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)
_UPPER_CASE: Final = frozenset(range(ord("A"), ord("Z") + 1))


class HeaderBlocks(Generic[T]):
    """Turns the blocks of one connection into what `understand` makes of their fields."""

    def __init__(self, understand: Callable[[Fields], T], max_list_bytes: int) -> None:
        """`understand` may raise StreamFault; then nothing is remembered."""
        self._understand = understand
        self._decoder = Decoder(max_list_bytes)
        self.known: dict[bytes, T] = {}
        """What blocks mean while the dynamic table stays as it is; look here before `request`."""
        self._is_stable = False

    def __repr__(self) -> str:
        return f"HeaderBlocks({len(self.known)} known, {self._decoder.header_table!r})"

    def fields(self, block: bytes) -> Fields:
        """Decode a block. Raises ConnectionFault: the tables of both sides are apart then."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        before = (len(entries), entries[0] if entries else None, table.maxsize)
        try:
            fields = cast("Fields", self._decoder.decode(block, raw=True))
        except OversizedHeaderListError:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header list too large") from None
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        entries = table.dynamic_entries
        first = entries[0] if entries else None
        if len(entries) != before[0] or first is not before[1] or table.maxsize != before[2]:
            self.known.clear()
            self._is_stable = False
        else:
            self._is_stable = True
        return fields

    def request(self, block: bytes) -> T:
        """What a block means that is not in `known`. Raises ConnectionFault, StreamFault."""
        fields = self.fields(block)
        check_request(fields)
        meaning = self._understand(fields)
        if self._is_stable:
            if len(self.known) >= _REMEMBERED:
                self.known.clear()
            self.known[block] = meaning
        return meaning


def check_request(fields: Fields) -> None:
    """Raises StreamFault for a malformed request."""
    seen: set[bytes] = set()
    in_pseudo = True
    for name, value in fields:
        if name[:1] == b":":
            if not in_pseudo or name in seen or name not in _REQUEST_PSEUDO:
                raise _malformed(f"pseudo-header field {name!r} is misplaced")
            seen.add(name)
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
    if not name or not _UPPER_CASE.isdisjoint(name):
        raise _malformed(f"{name!r} is not a field name")
    if name in _CONNECTION_FIELDS or (name == b"te" and value != b"trailers"):
        raise _malformed(f"{name!r} concerns a connection")


def _malformed(why: str) -> StreamFault:
    return StreamFault(ErrorCode.PROTOCOL_ERROR, why)


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
    """A block of literals without indexing, but for `:status: 200` (RFC 7541, 6.1 and 6.2.2)."""
    return b"".join(
        _STATUS_200
        if (name, value) == (b":status", b"200")
        else b"\x00" + _string(name) + _string(value)
        for name, value in fields
    )
