"""What the header fields of a call say (gRPC over HTTP/2), as grpc-go's server reads them.

One `CallHead` stands for all calls with the same fields; it is made once and remembered with them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from kvstore.server.method import Call, Kind, Method, MethodTable, unknown_method
from kvstore.server.stats import CallStats, MethodStats
from kvstore.server.status import Code
from kvstore.server.transports.http2.header_block import Fields

__all__ = ["CallHead", "Refusal", "understand"]

_GRPC: Final = "application/grpc"
_NOT_METADATA: Final = frozenset(
    (b"content-type", b"te", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding")
)
_UNIT_S: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)


class Refusal(NamedTuple):
    """How a call is answered that no handler sees."""

    code: Code
    message: str
    http_status: int = 200


class CallHead:
    """`method` is None exactly when there is a `refusal`."""

    __slots__ = (
        "call",
        "content_length",
        "content_type",
        "handler",
        "is_gzip",
        "is_whole",
        "method",
        "parse",
        "refusal",
        "shortcut",
        "stats",
        "timeout_s",
    )

    def __init__(self) -> None:
        self.method: Method | None = None
        self.stats: MethodStats | None = None
        self.call = Call()
        self.content_type = b"application/grpc"
        self.content_length: int | None = None
        self.is_gzip = False
        self.is_whole = False
        self.timeout_s: float | None = None
        self.refusal: Refusal | None = None
        self.parse: Callable[[bytes], Message] | None = None
        self.handler: Callable[[Any, Call], Any] | None = None
        self.shortcut: Callable[[bytes], bytes | None] | None = None

    def with_timeout(self, text: str) -> CallHead:
        """The same with a `grpc-timeout`."""
        head = CallHead.__new__(CallHead)  # copy() of an object with slots takes five times as long
        for name in CallHead.__slots__:
            setattr(head, name, getattr(self, name))
        head.timeout_s = parse_timeout_s(text)
        # Only a wrong content type is told before a wrong timeout.
        if head.timeout_s is None and (self.refusal is None or self.refusal.http_status != 415):
            head.refusal = Refusal(Code.INTERNAL, _bad_timeout(text), 400)
            head.method, head.is_whole = None, False
        return head


def understand(fields: Fields, methods: MethodTable, stats: CallStats, peer: str) -> CallHead:
    """What is wrong with a call is in its `refusal`; nothing is raised."""
    head = CallHead()
    values = dict(fields)
    head.refusal = _read(head, fields, values, peer)
    if head.refusal is not None:
        return head
    path = values[b":path"].decode("latin-1")
    method = methods.get(path)
    if method is None:
        head.refusal = Refusal(Code.UNIMPLEMENTED, unknown_method(methods, path))
        return head
    head.method, head.stats = method, stats.methods[path]
    head.parse, head.handler = method.request.FromString, method.handler
    head.shortcut = method.shortcut
    head.is_whole = method.kind is Kind.UNARY and not head.is_gzip
    return head


def _read(head: CallHead, fields: Fields, values: dict[bytes, bytes], peer: str) -> Refusal | None:
    length = values.get(b"content-length")
    if length is not None and length.isdigit():
        head.content_length = int(length)
    content_type = values.get(b"content-type", b"").decode("latin-1")
    lower = content_type.lower()
    if not lower.startswith(_GRPC) or lower[len(_GRPC) : len(_GRPC) + 1] not in ("", "+", ";"):
        return Refusal(
            Code.INVALID_ARGUMENT, f'invalid gRPC request content-type "{content_type}"', 415
        )
    if lower[len(_GRPC) :].startswith("+"):
        head.content_type = lower.encode("latin-1")
    try:
        metadata = {
            name.decode("latin-1"): _binary(value) if name[-4:] == b"-bin" else _text(value)
            for name, value in fields
            if name[:1] != b":" and name not in _NOT_METADATA
        }
    except binascii.Error as error:
        return Refusal(Code.INTERNAL, f"malformed binary metadata: {error}", 400)
    head.call = Call(metadata, peer)
    http_method = values.get(b":method", b"").decode("latin-1")
    if http_method != "POST":
        return Refusal(
            Code.INTERNAL,
            f'Received a HEADERS frame with :method "{http_method}" which should be POST',
            405,
        )
    encoding = values.get(b"grpc-encoding", b"identity").decode("latin-1")
    if encoding == "gzip":
        head.is_gzip = True
    elif encoding != "identity":
        return Refusal(
            Code.UNIMPLEMENTED,
            f'grpc: Decompressor is not installed for grpc-encoding "{encoding}"',
        )
    return None


def parse_timeout_s(text: str) -> float | None:
    """Seconds of a `grpc-timeout`; None when it is malformed."""
    match = _TIMEOUT.fullmatch(text)
    return None if match is None else int(match[1]) * _UNIT_S[match[2]]


def _bad_timeout(text: str) -> str:
    if len(text) < 2:
        return f'malformed grpc-timeout: transport: timeout string is too short: "{text}"'
    if len(text) > 9:
        return f'malformed grpc-timeout: transport: timeout string is too long: "{text}"'
    if text[-1] not in _UNIT_S:
        return f'malformed grpc-timeout: transport: timeout unit is not recognized: "{text}"'
    return f'malformed grpc-timeout: strconv.ParseUint: parsing "{text[:-1]}": invalid syntax'


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _binary(value: bytes) -> bytes:
    """Base64, with or without its padding."""
    return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
