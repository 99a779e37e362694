"""The header blocks and whole answers of a gRPC server, as bytes that never change.

The blocks use no table of HPACK, so that they are the same on every connection.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Final

from kvstore.server.status import Code
from kvstore.server.transports.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, frame
from kvstore.server.transports.http2.header_block import encode_fields
from kvstore.server.transports.rpc.framing import PREFIX_BYTES

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
    first = frame(HEADERS, END_HEADERS, 0, block)[:5]  # up to the id of the stream
    last = frame(HEADERS, END_HEADERS | END_STREAM, 0, OK_TRAILERS)[:5]
    # HEADERS; the head of DATA, whose length of 24 bits and type make one number; that of a message
    pack_before = Struct(f">{len(first)}sI{len(block)}sIxIxI").pack
    pack_after = Struct(f">{len(last)}sI{len(OK_TRAILERS)}s").pack

    def frames(stream_id: int, message: bytes) -> tuple[bytes, bytes]:
        size = len(message)
        return (
            pack_before(first, stream_id, block, size + PREFIX_BYTES << 8 | DATA, stream_id, size),
            pack_after(last, stream_id, OK_TRAILERS),
        )

    return frames


whole: Final = _whole(head_block(b"application/grpc", is_gzip=False))
"""(before, after) of a message that fits into one frame: HEADERS and the head of DATA; trailers."""
