"""What the header fields of a call say (gRPC over HTTP/2), as grpc-go's server reads them.

One `CallHead` stands for all calls with the same fields; it is made once and remembered with them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from kvstore.server.method import Call, Deferred, Kind, Method, MethodTable, unknown_method
from kvstore.server.nesting import parser
from kvstore.server.stats import CallStats, MethodStats
from kvstore.server.status import Code
from kvstore.server.transports.http2.header_block import Fields

__all__ = ["CallHead", "Refusal", "understand"]

_GRPC: Final = "application/grpc"
_NOT_METADATA: Final = frozenset(
    (b"content-type", b"te", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding")
)
_UNIT_S: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_SHORTEST_TIMEOUT_S: Final = 1e-6
"""A call with less is over before it begins."""
_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)


class Refusal(NamedTuple):
    """How a call is answered that no handler sees."""

    code: Code
    message: str
    http_status: int = 200
    unknown: str = ""
    """The path of a method that there is not."""


class CallHead:
    """`method` is None exactly when there is a `refusal`."""

    __slots__ = (
        "call",
        "content_length",
        "content_type",
        "handler",
        "is_grpc",
        "is_gzip",
        "is_plain",
        "is_read",
        "is_whole",
        "kept_bytes",
        "method",
        "once",
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
        self.is_gzip = self.is_read = False
        self.is_grpc = True
        """False: it has no content type at all, so it is no call but a request of plain HTTP."""
        self.is_whole = False
        self.is_plain = False
        """Its answer has no compression and the plain content type."""
        self.kept_bytes = 0
        self.timeout_s: float | None = None
        self.refusal: Refusal | None = None
        self.parse: Callable[[bytes], Message] | None = None
        self.handler: Callable[[Any, Call], Any] | None = None
        self.shortcut: Callable[[bytes], bytes | Deferred | None] | None = None
        self.once: Callable[[Any], bytes | None] | None = None

    def with_timeout(self, text: str) -> CallHead:
        """The same with a `grpc-timeout`."""
        head = CallHead.__new__(CallHead)  # copy() of an object with slots takes five times as long
        for name in CallHead.__slots__:
            setattr(head, name, getattr(self, name))
        head.timeout_s = parse_timeout_s(text)
        # Only a wrong content type is told before a wrong timeout.
        if self.refusal is not None and self.refusal.http_status == 415:
            return head
        if head.timeout_s is None:
            head.refusal = Refusal(Code.INTERNAL, _bad_timeout(text), 400)
        elif head.timeout_s < _SHORTEST_TIMEOUT_S and self.refusal is None:
            head.refusal = Refusal(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
        if head.refusal is not None:
            head.method, head.is_whole = None, False
        return head


def understand(fields: Fields, methods: MethodTable, stats: CallStats, peer: str) -> CallHead:
    """What is wrong with a call is in its `refusal`; nothing is raised."""
    head = CallHead()
    values = dict(fields)
    head.refusal = _read(head, fields, values, peer)
    if head.refusal is not None:
        return head
    path = _shown(values[b":path"])
    method = methods.get(path)
    if method is None:
        head.refusal = Refusal(Code.UNIMPLEMENTED, unknown_method(methods, path), unknown=path)
        return head
    head.method, head.stats = method, stats.methods[path]
    head.parse, head.handler = parser(method.request), method.handler
    head.shortcut, head.once, head.is_read = method.shortcut, method.once, method.is_read
    is_short = method.kind is Kind.UNARY or method.once is not None
    head.is_whole = is_short and not head.is_gzip
    head.is_plain = not head.is_gzip and head.content_type == b"application/grpc"
    return head


def _read(head: CallHead, fields: Fields, values: dict[bytes, bytes], peer: str) -> Refusal | None:
    length = values.get(b"content-length")
    if length is not None and length.isdigit():
        head.content_length = int(length)
    hosts = [name for name, _ in fields].count(b"host")
    if hosts > 1:
        return Refusal(
            Code.INTERNAL,
            f"num values of :authority: {int(b':authority' in values)}, num values of host: "
            f"{hosts}, both must only have 1 value as per HTTP/2 spec",
            400,
        )
    content_type = _shown(values.get(b"content-type", b""))
    subtype = content_type.removeprefix(_GRPC)
    if subtype == content_type or subtype[:1] not in ("", "+", ";"):
        head.is_grpc = b"content-type" in values
        return Refusal(
            Code.INVALID_ARGUMENT, f'invalid gRPC request content-type "{content_type}"', 415
        )
    if subtype.startswith("+"):
        head.content_type = content_type.lower().encode()
    metadata: dict[str, str | bytes] = {}
    for name, value in fields:
        if name[:1] == b":" or name in _NOT_METADATA:
            continue
        if name[-4:] != b"-bin":
            metadata[name.decode("latin-1")] = value.decode("latin-1")
            continue
        at = _not_base64(value)
        if at is not None:
            return Refusal(
                Code.INTERNAL,
                f'malformed binary metadata "{_shown(value)}" in header "{_shown(name)}": '
                f"illegal base64 data at input byte {at}",
                400,
            )
        metadata[name.decode("latin-1")] = base64.b64decode(value + b"=" * (-len(value) % 4))
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


def _shown(value: bytes) -> str:
    """For a text of ours; what is no UTF-8 comes out of `percent_encode` as it came in."""
    return value.decode("utf-8", "surrogateescape")


def _not_base64(value: bytes) -> int | None:
    """Where a value stops to be base64, with or without its padding; None when it does not."""
    good = _BASE64.match(value)
    assert good is not None
    if good.end() < len(value):
        return good.end()
    return None if len(value.rstrip(b"=")) % 4 != 1 else len(value)
