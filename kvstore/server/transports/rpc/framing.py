"""Messages in the DATA of a stream: a flag, a length, the message (gRPC over HTTP/2).

offset  0            1               5
        compressed   length uint32   message, gzip when the flag is 1
"""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Final

from kvstore.server.status import Code, StatusError

__all__ = ["PREFIX_BYTES", "MessageReader", "frame_message", "pack_prefix", "prefix_of"]

PREFIX_BYTES: Final = 5
prefix_of: Final = Struct(">BI").unpack_from
"""(compressed flag, length)."""
pack_prefix: Final = Struct(">BI").pack
_GZIP: Final = 16 + zlib.MAX_WBITS


class MessageReader:
    """Cuts what comes on one stream into messages of at most `max_bytes`."""

    __slots__ = ("_buffer", "_is_gzip", "_max_bytes")

    def __init__(self, max_bytes: int, *, is_gzip: bool) -> None:
        self._max_bytes, self._is_gzip = max_bytes, is_gzip
        self._buffer = bytearray()

    @property
    def is_empty(self) -> bool:
        """Nothing is left of a message that did not come whole."""
        return not self._buffer

    @property
    def cut_text(self) -> str:
        """What grpc-go says of a stream that ends here, before a message does."""
        return "unexpected EOF" if len(self._buffer) > PREFIX_BYTES else "EOF"

    def feed(self, data: bytes, most: int | None = None) -> list[bytes]:
        """The messages that are whole with `data`, at most so many: the rest stays for the next.

        Raises StatusError with the texts of grpc-go.
        """
        buffer = self._buffer
        if most != 0 and not buffer and len(data) >= PREFIX_BYTES:  # one whole message, mostly
            flag, size = prefix_of(data)
            if size == len(data) - PREFIX_BYTES and size <= self._max_bytes:
                return [self.plain(flag, data[PREFIX_BYTES:])]
        buffer += data
        messages: list[bytes] = []
        at, end = 0, len(buffer)
        while end - at >= PREFIX_BYTES and len(messages) != most:
            flag, size = prefix_of(buffer, at)
            if size > self._max_bytes:
                raise too_large(size, self._max_bytes)
            body = at + PREFIX_BYTES
            if end - body < size:
                break
            at = body + size
            messages.append(self.plain(flag, bytes(buffer[body:at])))
        if at:
            del buffer[:at]
        return messages

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
    if not is_gzip:
        return pack_prefix(0, len(message)) + message
    deflater = zlib.compressobj(wbits=_GZIP)
    packed = deflater.compress(message) + deflater.flush()
    return pack_prefix(1, len(packed)) + packed
