"""Header blocks of the load benchmark's connections (RFC 7541), and what they say of a call.

A block is decoded once and remembered by its bytes, for as long as decoding leaves the table as it
is: then the same bytes mean the same, and decoding them again would change nothing. When the table
changes everything is forgotten. The same holds for the blocks that are sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, cast
from urllib.parse import unquote

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hpack.table import HeaderTable

__all__ = ["CODES", "OK", "ReceivedBlocks", "SentBlocks", "Status", "failed", "unavailable"]

CODES: Final = (
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
)
"""The names of gRPC's codes, by number."""

_MOST_BYTES: Final = 1 << 20
_REMEMBERED: Final = 256


class Status(NamedTuple):
    """How a call ended: the name of the code, and the text that came with it."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}" if self.text else self.code


OK: Final = Status("OK", "")
"""Compare with `is`: a call that ended well has this very object."""


def unavailable(text: str) -> Status:
    return Status("Unavailable", text)


def failed(text: str) -> Status:
    """For an answer that came and is wrong."""
    return Status("Unknown", text)


def _mark(table: HeaderTable) -> tuple[int, object, int]:
    entries = table.dynamic_entries
    return len(entries), entries[0] if entries else None, table.maxsize


def _is_unchanged(table: HeaderTable, mark: tuple[int, object, int]) -> bool:
    size, first, maxsize = mark
    now = _mark(table)
    return now[0] == size and now[1] is first and now[2] == maxsize


class ReceivedBlocks:
    """What the blocks of a server mean on one connection."""

    def __init__(self) -> None:
        self._decoder = Decoder(_MOST_BYTES)
        self.known: dict[bytes, Status] = {}
        """Look here before `status`."""

    def status(self, block: bytes) -> Status:
        """OK for the headers of a good answer and for `grpc-status: 0`, else what went wrong.

        Raises ValueError for a block that cannot be decoded: the connection is of no use then.
        """
        table = self._decoder.header_table
        mark = _mark(table)
        try:
            fields = cast("Sequence[tuple[bytes, bytes]]", self._decoder.decode(block, raw=True))
        except (HPACKError, IndexError) as error:
            raise ValueError(str(error) or type(error).__name__) from None
        status = _status(dict(fields))
        if not _is_unchanged(table, mark) or len(self.known) >= _REMEMBERED:
            self.known.clear()
        if _is_unchanged(table, mark):
            self.known[block] = status
        return status


def _status(fields: dict[bytes, bytes]) -> Status:
    number = fields.get(b"grpc-status")
    if number is None:
        http = fields.get(b":status", b"200")
        if http != b"200":
            return Status(_HTTP_CODES.get(http, "Unknown"), f"HTTP status {http.decode('latin-1')}")
        kind = fields.get(b"content-type")
        if kind is not None and not kind.startswith(b"application/grpc"):
            return failed(f"the content-type of the answer is {kind.decode('latin-1')}")
        return OK
    if number == b"0":
        return OK
    code = CODES[int(number)] if number.isdigit() and int(number) < len(CODES) else "Unknown"
    return Status(code, unquote(fields.get(b"grpc-message", b"").decode("latin-1")))


_HTTP_CODES: Final = {
    b"400": "Internal",
    b"401": "Unauthenticated",
    b"403": "PermissionDenied",
    b"404": "Unimplemented",
    b"429": "Unavailable",
    b"502": "Unavailable",
    b"503": "Unavailable",
    b"504": "Unavailable",
}
"""As gRPC says what an answer of something that is no gRPC server means."""


class SentBlocks:
    """Makes the blocks of a client on one connection."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        self._is_first = True

    def set_table_size(self, size: int) -> None:
        """The most that the server wants to remember; the next block tells that it was heard."""
        self._encoder.header_table_size = min(size, 4096)
        self._is_first = True

    def block(self, fields: Sequence[tuple[str, str]]) -> tuple[bytes, bool]:
        """The bytes, and whether they can be sent again for the same fields."""
        table = self._encoder.header_table
        mark = _mark(table)
        made = self._encoder.encode(fields, huffman=False)
        is_stable = _is_unchanged(table, mark) and not self._is_first
        self._is_first = False
        return made, is_stable
