"""What the composition root asks of a transport."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from kvstore.server.config.urls import Url
from kvstore.server.method import MethodTable
from kvstore.server.stats import CallStats

if TYPE_CHECKING:
    from kvstore.server.transports.http1.connection import Http1Connection
    from kvstore.server.transports.web.messages import Site

__all__ = ["Face", "Pages", "Transport"]


class Face(Enum):
    """What an address serves."""

    CLIENT = "gRPC and HTTP"
    GRPC = "gRPC"
    HTTP = "HTTP"
    METRICS = "metrics and health"

    @property
    def has_grpc(self) -> bool:
        return self in (Face.CLIENT, Face.GRPC)

    @property
    def has_http(self) -> bool:
        return self is not Face.GRPC


class Pages(Protocol):
    """What is served besides gRPC; made when the first client asks for it."""

    def site(self, face: Face) -> Site:
        """What answers the requests to an address."""
        ...

    def connection(self, face: Face, connections: set[Http1Connection]) -> Http1Connection:
        """The protocol of one connection of HTTP/1; it is in the set while it is open."""
        ...


class Transport(Protocol):
    def bind(self, url: Url, face: Face = Face.CLIENT) -> int:
        """Take the address (port 0: any); clients that come wait. Returns the port.

        Raises OSError when it cannot be had.
        """
        ...

    async def start(
        self, methods: MethodTable, stats: CallStats, pages: Pages | None = None
    ) -> None:
        """Without `pages` only gRPC is served."""
        ...

    async def drain(self, grace_s: float) -> None:
        """Take no new call, end the streams, let unary calls finish for `grace_s`, then close."""
        ...
