"""A body in chunks (RFC 9112, section 7.1), with the errors and the bounds of Go's reader."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from kvstore.server.transports.http1.head import parse_fields

__all__ = ["ChunkError", "ChunkReader"]

_MAX_LINE_BYTES: Final = 4096
_MAX_TRAILER_BYTES: Final = 4096
_MAX_EXCESS_BYTES: Final = 16 * 1024
"""Of what is no data, beyond 16 bytes for each chunk and twice the data."""
_SIZE: Final = re.compile(rb"[0-9A-Fa-f]*")
_EMPTY_LINE: Final = re.compile(rb"\n\r?\n")


class ChunkError(Exception):
    """The chunks are malformed; the text is Go's."""


class _State(Enum):
    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILER = "trailer"
    DONE = "done"


class ChunkReader:
    def __init__(self) -> None:
        self._state = _State.SIZE
        self._left = self._excess = self._scanned = 0

    def __repr__(self) -> str:
        return f"<ChunkReader {self._state.value}, {self._left} bytes left>"

    @property
    def is_done(self) -> bool:
        return self._state is _State.DONE

    def read(self, buffer: bytearray) -> bytes | None:
        """Take the next data, or the end, out of the front of the buffer.

        Returns data; None when more has to come, or when it is done. Raises ChunkError.
        """
        while True:
            match self._state:
                case _State.SIZE:
                    if not self._read_size(buffer):
                        return None
                case _State.DATA:
                    data = bytes(buffer[: self._left])
                    del buffer[: len(data)]
                    self._left -= len(data)
                    if not self._left:
                        self._state = _State.DATA_END
                    return data or None
                case _State.DATA_END:
                    if len(buffer) < 2:
                        return None
                    if buffer[:2] != b"\r\n":
                        raise ChunkError("malformed chunked encoding")
                    del buffer[:2]
                    self._state = _State.SIZE
                case _State.TRAILER:
                    if not self._read_trailer(buffer):
                        return None
                case _State.DONE:
                    return None

    def _read_size(self, buffer: bytearray) -> bool:
        end = buffer.find(b"\n", self._scanned, _MAX_LINE_BYTES)
        if end < 0:
            self._scanned = min(len(buffer), _MAX_LINE_BYTES)
            if len(buffer) >= _MAX_LINE_BYTES:
                raise ChunkError("header line too long")
            return False
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        self._scanned = 0
        self._left = self._size_of(line)
        self._excess = max(self._excess + len(line) + 1 - 16 - 2 * self._left, 0)
        if self._excess > _MAX_EXCESS_BYTES:
            raise ChunkError("chunked encoding contains too much non-data")
        self._state = _State.DATA if self._left else _State.TRAILER
        return True

    def _size_of(self, line: bytes) -> int:
        if b"\r" not in line:
            raise ChunkError("chunked line ends with bare LF")
        if line.index(b"\r") != len(line) - 1:
            raise ChunkError("invalid CR in chunked line")
        digits = line[:-1].rstrip(b" \t").partition(b";")[0]
        if not digits:
            raise ChunkError("empty hex number for chunk length")
        if len(digits) > 16 and _SIZE.fullmatch(digits[:16]):
            raise ChunkError("http chunk length too large")
        if not _SIZE.fullmatch(digits):
            raise ChunkError("invalid byte in chunk length")
        return int(digits, 16)

    def _read_trailer(self, buffer: bytearray) -> bool:
        """Fields that nobody asks for, up to an empty line; they are checked and dropped."""
        if len(buffer) < 2:
            return False
        if buffer[:2] == b"\r\n":
            end = 0
        else:
            end = buffer.find(b"\r\n\r\n", 0, _MAX_TRAILER_BYTES)
            if end < 0:
                if len(buffer) >= _MAX_TRAILER_BYTES:
                    raise ChunkError("http: suspiciously long trailer after chunked body")
                return False
            end += 2
            lines = bytes(buffer[:end])
            if _EMPTY_LINE.search(lines) or lines[:1] == b"\n" or parse_fields(lines) is None:
                raise ChunkError("malformed MIME header line")
        del buffer[: end + 2]
        self._state = _State.DONE
        return True
