"""What a service offers and a transport serves: a table of methods that knows neither.

A unary handler is a plain function `(request, call) -> response | awaitable of one`: a request that
can be answered at once needs no task. A stream handler is an async generator that the transport
pulls, so that the transport's flow control is the back-pressure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from google.protobuf.message import Message

__all__ = ["Call", "Encoded", "Kind", "Method", "MethodTable"]


class Kind(Enum):
    UNARY = "unary"
    SERVER_STREAM = "server_stream"
    BIDI = "bidi_stream"


@dataclass(slots=True)
class Call:
    """One call as a handler sees it.

    `metadata` has lower-case names; `peer` is the transport's text for the other side.
    """

    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    peer: str = ""


class Encoded(NamedTuple):
    """A response that is serialized already."""

    data: bytes


class Method(NamedTuple):
    """`handler`: UNARY `(request, call) -> Message | Encoded | Awaitable`; SERVER_STREAM
    `(request, call) -> AsyncIterator`; BIDI `(requests: AsyncIterator, call) -> AsyncIterator`."""

    path: str
    kind: Kind
    request: type[Message]
    response: type[Message]
    handler: Callable[[Any, Call], Any]


MethodTable = Mapping[str, Method]
"""path -> Method."""
