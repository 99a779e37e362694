"""Hostile habits of a peer, and a well-behaved one beside it that notices what they cost.

    with Bystander(server) as bystander:
        end = flood(connection, chunk, times)
    bystander.check()

`flood` sends until it is through, the server closes, or the server reads no more. The bystander
makes calls all the while on a connection of its own and looks at the memory of the server.
"""

from __future__ import annotations

import threading
import time
from enum import Enum
from types import TracebackType
from typing import Self

from kvstore.proto import rpc_pb2
from tests.support.h2.connection import Closed, Connection, Silent
from tests.support.h2.grpc import KV, call
from tests.support.h2.servers import WireServer, memory_bytes

__all__ = ["Bystander", "End", "flood"]

MIB = 1 << 20


class End(Enum):
    """How a flood ended for who sent it."""

    CLOSED = "the server closed the connection"
    STUCK = "the server read no more"
    SENT = "the server took all of it"


def flood(connection: Connection, chunk: bytes, times: int, *, stuck_after_s: float = 3.0) -> End:
    """Send `chunk` so many times without reading."""
    connection.timeout_s = stuck_after_s
    try:
        for _ in range(times):
            connection.send(chunk)
    except Closed:
        return End.CLOSED
    except Silent:
        return End.STUCK
    return End.SENT


class Bystander:
    """Calls on a connection of its own, one after the other, as long as the context lasts.

    `worst_s` is the longest that one took, `memory_bytes` by how much the server grew at most.
    """

    def __init__(self, server: WireServer) -> None:
        self.server = server
        self.calls, self.worst_s, self.memory_bytes = 0, 0.0, 0
        self._error: Exception | None = None
        self._stopping = False
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._run)
        self._at_first = memory_bytes(server.pid)

    def __repr__(self) -> str:
        grown = self.memory_bytes // MIB
        return f"<Bystander {self.calls} calls, worst {self.worst_s:.3f} s, +{grown} MiB>"

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait_for_calls(1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping = True
        self._thread.join()

    def check(self, *, worst_s: float = 3.0, memory_mib: int = 96, calls: int = 50) -> None:
        """It was served all the while and still is, by a server that did not grow without bound.

        A server that is fair has worked on what it was sent by the time it has answered so many
        `calls` more.
        """
        self._wait_for_calls(calls)
        print(self)
        assert self.worst_s < worst_s, self
        assert self.memory_bytes < memory_mib * MIB, self

    def _wait_for_calls(self, count: int) -> None:
        """Wait until so many calls more were answered, each within the time of a Connection."""
        with self._progress:
            enough = self.calls + count
            self._progress.wait_for(lambda: self._error or self.calls >= enough)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with Connection(self.server.target, timeout_s=30) as connection:
                while not self._stopping:
                    self._call(connection)
                    time.sleep(0.005)
        except Exception as error:
            with self._progress:
                self._error = error
                self._progress.notify_all()

    def _call(self, connection: Connection) -> None:
        body = rpc_pb2.RangeRequest(key=b"bystander").SerializeToString()
        began = time.monotonic()
        response = call(connection, KV + "Range", body)
        assert response.status == 0, response
        connection.received.clear()
        connection.fields.clear()
        with self._progress:
            self.calls += 1
            self.worst_s = max(self.worst_s, time.monotonic() - began)
            grown = memory_bytes(self.server.pid) - self._at_first
            self.memory_bytes = max(self.memory_bytes, grown)
            self._progress.notify_all()
