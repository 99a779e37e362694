"""The header blocks and whole answers of a gRPC server, as bytes that never change.

The blocks use no table of HPACK, so that they are the same on every connection.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Final

from kvstore.server.status import Code
from kvstore.server.transports.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS
from kvstore.server.transports.http2.header_block import encode_fields

__all__ = ["OK_TRAILERS", "head_block", "percent_encode", "refusal_block", "status_block", "whole"]

_MAX_MESSAGE_BYTES: Final = 4096
"""Of a status text on the wire, so that its block fits into one frame."""
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - {0x25}

OK_TRAILERS: Final = encode_fields([(b"grpc-status", b"0"), (b"grpc-message", b"")])


def percent_encode(text: str) -> bytes:
    """A status text as `grpc-message` carries it."""
    data = text.encode("utf-8", "surrogateescape")[:_MAX_MESSAGE_BYTES]
    return b"".join(bytes((c,)) if c in _PLAIN else b"%%%02X" % c for c in data)


@lru_cache(16)
def head_block(content_type: bytes, *, is_gzip: bool) -> bytes:
    """What comes before the messages of an answer."""
    fields = [(b":status", b"200"), (b"content-type", content_type)]
    if is_gzip:
        fields.append((b"grpc-encoding", b"gzip"))
    return encode_fields(fields)


def status_block(code: Code, message: str) -> bytes:
    """The trailers of an answer that has begun."""
    return encode_fields(
        [(b"grpc-status", b"%d" % code), (b"grpc-message", percent_encode(message))]
    )


def refusal_block(
    code: Code,
    message: str,
    *,
    http_status: int = 200,
    content_type: bytes = b"application/grpc",
) -> bytes:
    """An answer that is only trailers."""
    return encode_fields(
        [
            (b":status", b"%d" % http_status),
            (b"content-type", content_type),
            (b"grpc-status", b"%d" % code),
            (b"grpc-message", percent_encode(message)),
        ]
    )


def _whole(block: bytes) -> Callable[[int, bytes], tuple[bytes, bytes]]:
    """Makes the frames before and after the message of a small successful answer."""
    size = len(block)
    pack_before = Struct(f">HBBBI{size}sHBBBIBI").pack
    end = len(OK_TRAILERS)
    pack_after = Struct(f">HBBBI{end}s").pack

    def frames(stream_id: int, message: bytes) -> tuple[bytes, bytes]:
        length = len(message)
        framed = length + 5
        return (
            pack_before(
                size >> 8,
                size & 0xFF,
                HEADERS,
                END_HEADERS,
                stream_id,
                block,
                framed >> 8,
                framed & 0xFF,
                DATA,
                0,
                stream_id,
                0,
                length,
            ),
            pack_after(
                end >> 8,
                end & 0xFF,
                HEADERS,
                END_HEADERS | END_STREAM,
                stream_id,
                OK_TRAILERS,
            ),
        )

    return frames


whole: Final = _whole(head_block(b"application/grpc", is_gzip=False))
"""(before, after) of a message that fits into one frame: HEADERS and the head of DATA; trailers."""
