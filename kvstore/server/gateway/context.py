"""What the header fields of a request say to a call (grpc-gateway runtime/context.go)."""

from __future__ import annotations

import base64
import re
from typing import Final

from kvstore.server.method import Call
from kvstore.server.status import Code, StatusError
from kvstore.server.transports.web.messages import Request

__all__ = ["call_of", "timeout_s_of"]

_METADATA: Final = "grpc-metadata-"
_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNIT_S: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def call_of(request: Request) -> Call:
    """`Authorization: x` is the metadata authorization, `Grpc-Metadata-A: x` the metadata a.

    Raises StatusError for binary metadata that is not base64.
    """
    metadata: dict[str, str | bytes] = {}
    for name, value in request.fields:
        if name == "authorization":
            metadata.setdefault(name, value)
        elif name.startswith(_METADATA):
            key = name[len(_METADATA) :]
            metadata[key] = _binary(name, value) if key.endswith("-bin") else value
    return Call(metadata, request.peer)


def timeout_s_of(request: Request) -> float | None:
    """Seconds of a Grpc-Timeout; None when there is none. Raises StatusError."""
    text = request.field("grpc-timeout")
    if not text:
        return None
    match = _TIMEOUT.fullmatch(text)
    if match is None:
        raise StatusError(Code.INVALID_ARGUMENT, f"invalid grpc-timeout: {text}")
    return int(match[1]) * _UNIT_S[match[2]]


def _binary(name: str, value: str) -> bytes:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except ValueError:
        shown = "-".join(part.capitalize() for part in name.split("-"))
        raise StatusError(
            Code.INVALID_ARGUMENT, f"invalid binary header {shown}: illegal base64 data"
        ) from None
