"""What transports count: plain integers that they add to and that /metrics reads.

One owner adds to each (the event loop), so there is no lock; a reader sees each number whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kvstore.server.method import Kind, Method
from kvstore.server.status import Code
from kvstore.store.stats import Histogram

__all__ = ["AcceptStats", "CallStats", "Histogram", "MethodStats"]

HANDLING_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of grpc_server_handling_seconds, those of go-grpc-middleware."""


class MethodStats:
    """Calls of one method: `handled[code]` is how many ended with a code of gRPC.

    `received` and `sent` count messages. `seconds` is None unless latencies are wanted.
    """

    __slots__ = ("handled", "kind", "name", "received", "seconds", "sent", "service", "started")

    def __init__(self, path: str, kind: Kind, *, timed: bool) -> None:
        self.service, _, self.name = path.removeprefix("/").rpartition("/")
        self.kind = kind
        self.started = self.received = self.sent = 0
        self.handled = [0] * len(Code)
        self.seconds = Histogram(HANDLING_BUCKETS_S) if timed else None


class AcceptStats:
    """Of the sockets of clients: `open` now, `limit` of those that may be.

    `waits[reason]` counts how often accepting stopped: for the `limit`, or for an `error`.
    """

    __slots__ = ("limit", "open", "waits")

    def __init__(self) -> None:
        self.open = self.limit = 0
        self.waits = {"limit": 0, "error": 0}


class CallStats:
    """Of all methods of a table, by path, and of the sockets that clients use."""

    def __init__(self, methods: Mapping[str, Method], *, timed: bool = False) -> None:
        """`timed` asks for a histogram of latencies of each method (--metrics extensive)."""
        self.methods = {
            path: MethodStats(path, method.kind, timed=timed) for path, method in methods.items()
        }
        self.received_bytes = self.sent_bytes = 0
        """Bytes of gRPC connections (etcd_network_client_grpc_*_bytes_total)."""
        self.connections = 0
        """Open now, of HTTP/2."""
        self.http1_connections = 0
        """Open now, of HTTP/1.1."""
        self.accepts = AcceptStats()
        self.unknown: Callable[[str], None] = lambda path: None
        """Told of each call of a method that is not in the table."""
