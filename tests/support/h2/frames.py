"""Frames of RFC 9113: their numbers, builders for each kind, and a received one.

A builder returns the bytes of whole frames and checks nothing, so that a test can be wrong on
purpose. `frame` builds what has no builder.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum, IntFlag
from typing import NamedTuple

__all__ = [
    "PREFACE",
    "ErrorCode",
    "Flag",
    "Frame",
    "FrameType",
    "Setting",
    "continuation",
    "data",
    "frame",
    "goaway",
    "headers",
    "padded",
    "ping",
    "priority",
    "rst_stream",
    "settings",
    "settings_ack",
    "window_update",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class FrameType(IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntFlag):
    NONE = 0
    ACK = 0x01
    END_STREAM = 0x01
    END_HEADERS = 0x04
    PADDED = 0x08
    PRIORITY = 0x20


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Frame(NamedTuple):
    """A frame as it was received; `type` is the number when it is not one of FrameType."""

    type: int
    flags: int
    stream_id: int
    payload: bytes

    def __repr__(self) -> str:
        name = FrameType(self.type).name if self.type in set(FrameType) else str(self.type)
        shown = self.payload if len(self.payload) < 80 else self.payload[:80] + b"..."
        return f"<{name} flags={self.flags:#x} stream={self.stream_id} {shown!r}>"

    def has(self, flag: Flag) -> bool:
        return bool(self.flags & flag)

    @property
    def end_stream(self) -> bool:
        return self.type in (FrameType.DATA, FrameType.HEADERS) and self.has(Flag.END_STREAM)

    @property
    def error_code(self) -> int:
        """The code of a RST_STREAM or a GOAWAY."""
        at = {FrameType.RST_STREAM: 0, FrameType.GOAWAY: 4}[FrameType(self.type)]
        return int.from_bytes(self.payload[at : at + 4], "big")

    @property
    def last_stream_id(self) -> int:
        """The last stream that a GOAWAY says was taken."""
        return int.from_bytes(self.payload[:4], "big") & 0x7FFF_FFFF

    @property
    def debug_data(self) -> bytes:
        """What else a GOAWAY says."""
        return self.payload[8:]

    @property
    def increment(self) -> int:
        """By how much a WINDOW_UPDATE opens the window."""
        return int.from_bytes(self.payload, "big") & 0x7FFF_FFFF

    @property
    def settings(self) -> dict[int, int]:
        """The values of a SETTINGS by identifier."""
        return dict(struct.iter_unpack(">HI", self.payload))


def frame(type_: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    """Any frame, right or wrong."""
    return (
        struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", type_, flags, stream_id) + payload
    )


def data(stream_id: int, payload: bytes = b"", *, end_stream: bool = False) -> bytes:
    return frame(FrameType.DATA, Flag.END_STREAM if end_stream else 0, stream_id, payload)


def headers(
    stream_id: int, block: bytes, *, end_stream: bool = False, end_headers: bool = True
) -> bytes:
    """A header block that is already coded."""
    flags = (Flag.END_STREAM if end_stream else 0) | (Flag.END_HEADERS if end_headers else 0)
    return frame(FrameType.HEADERS, flags, stream_id, block)


def continuation(stream_id: int, block: bytes, *, end_headers: bool = False) -> bytes:
    return frame(FrameType.CONTINUATION, Flag.END_HEADERS if end_headers else 0, stream_id, block)


def padded(payload: bytes, padding: int) -> bytes:
    """The payload of a DATA or HEADERS frame with the flag PADDED and so many zero bytes."""
    return bytes([padding]) + payload + bytes(padding)


def priority(stream_id: int, depends_on: int = 0, weight: int = 15) -> bytes:
    return frame(FrameType.PRIORITY, 0, stream_id, struct.pack(">IB", depends_on, weight))


def rst_stream(stream_id: int, code: int = ErrorCode.CANCEL) -> bytes:
    return frame(FrameType.RST_STREAM, 0, stream_id, struct.pack(">I", code))


def settings(values: Mapping[int, int] | None = None) -> bytes:
    packed = b"".join(struct.pack(">HI", *each) for each in (values or {}).items())
    return frame(FrameType.SETTINGS, 0, 0, packed)


def settings_ack() -> bytes:
    return frame(FrameType.SETTINGS, Flag.ACK)


def ping(opaque: bytes = bytes(8), *, ack: bool = False) -> bytes:
    return frame(FrameType.PING, Flag.ACK if ack else 0, 0, opaque)


def goaway(last_stream_id: int = 0, code: int = ErrorCode.NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(FrameType.GOAWAY, 0, 0, struct.pack(">II", last_stream_id, code) + debug)


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(FrameType.WINDOW_UPDATE, 0, stream_id, struct.pack(">I", increment))
