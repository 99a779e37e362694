"""Messages in the DATA of a stream: a flag, a length, the message (gRPC over HTTP/2).

offset  0            1               5
        compressed   length uint32   message, gzip when the flag is 1
"""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Final

from kvstore.server.status import Code, StatusError

__all__ = [
    "LARGEST_ZIPPED_BYTES",
    "PREFIX_BYTES",
    "MessageReader",
    "frame_message",
    "pack_prefix",
    "prefix_of",
]

PREFIX_BYTES: Final = 5
prefix_of: Final = Struct(">BI").unpack_from
"""(compressed flag, length)."""
pack_prefix: Final = Struct(">BI").pack
_NOTHING: Final = bytearray()
_GZIP: Final = 16 + zlib.MAX_WBITS
LARGEST_ZIPPED_BYTES: Final = 64 * 1024
"""A larger message is sent as it is, which every client has to take: packing it takes longer than
others should wait."""


class MessageReader:
    """Cuts what comes on one stream into messages of at most `max_bytes`, when they are asked for.

    So what a client sends ahead takes no more memory than its bytes, and no work.
    """

    __slots__ = ("_at", "_buffer", "_is_gzip", "_max_bytes", "left")

    def __init__(self, max_bytes: int, *, is_gzip: bool) -> None:
        self._max_bytes, self._is_gzip = max_bytes, is_gzip
        self._buffer = _NOTHING
        self._at = 0
        self.left = 0
        """Bytes that came and are in no message yet."""

    @property
    def has_whole(self) -> bool:
        """Is there a message to take, or one to complain of?"""
        if self.left < PREFIX_BYTES:
            return False
        _, size = prefix_of(self._buffer, self._at)
        return bool(size > self._max_bytes or self.left - PREFIX_BYTES >= size)

    @property
    def cut_text(self) -> str:
        """What grpc-go says of a stream that ends here, before a message does."""
        return "unexpected EOF" if self.left > PREFIX_BYTES else "EOF"

    def only(self, data: bytes) -> bytes | None:
        """The message that `data` is, when it is one and nothing came before it; else `feed` it."""
        size = len(data) - PREFIX_BYTES
        if self.left or not 0 <= size <= self._max_bytes or prefix_of(data) != (0, size):
            return None
        return data[PREFIX_BYTES:]

    def feed(self, data: bytes) -> None:
        if not self.left:
            self._buffer = bytearray(data)
        else:
            if self._at:
                del self._buffer[: self._at]
            self._buffer += data
        self._at = 0
        self.left += len(data)

    def take(self) -> tuple[int, bytes] | None:
        """The next message as (flag, bytes), for `plain`; None when none has come whole.

        Raises StatusError with the text of grpc-go.
        """
        buffer, at, left = self._buffer, self._at, self.left
        if left < PREFIX_BYTES:
            return None
        flag, size = prefix_of(buffer, at)
        if size > self._max_bytes:
            raise too_large(size, self._max_bytes)
        if left - PREFIX_BYTES < size:
            return None
        begin = at + PREFIX_BYTES
        end = begin + size
        message = bytes(buffer[begin:end])
        self.left, self._at = left - PREFIX_BYTES - size, end
        if not self.left:
            self._buffer = _NOTHING
        return flag, message

    def plain(self, flag: int, message: bytes) -> bytes:
        """The message without compression. Raises StatusError."""
        if not flag:
            return message
        if flag != 1:
            raise StatusError(Code.INTERNAL, f"grpc: received unexpected payload format {flag}")
        if not self._is_gzip:
            raise StatusError(
                Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding"
            )
        inflater = zlib.decompressobj(_GZIP)
        try:
            plain = inflater.decompress(message, self._max_bytes + 1)
        except zlib.error as error:
            raise StatusError(
                Code.INTERNAL, f"grpc: failed to decompress the received message: {error}"
            ) from None
        if len(plain) > self._max_bytes:
            raise StatusError(
                Code.RESOURCE_EXHAUSTED,
                f"grpc: received message after decompression larger than max {self._max_bytes}",
            )
        return plain


def too_large(size: int, max_bytes: int) -> StatusError:
    return StatusError(
        Code.RESOURCE_EXHAUSTED,
        f"grpc: received message larger than max ({size} vs. {max_bytes})",
    )


def frame_message(message: bytes, *, is_gzip: bool = False) -> bytes:
    if not is_gzip or len(message) > LARGEST_ZIPPED_BYTES:
        return pack_prefix(0, len(message)) + message
    deflater = zlib.compressobj(wbits=_GZIP)
    packed = deflater.compress(message) + deflater.flush()
    return pack_prefix(1, len(packed)) + packed
