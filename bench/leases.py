"""Leases kept alive on open streams, as clients of etcd do: one stream for all of a client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.peers import Load, Peers, Workload, compared
from bench.report import Result
from bench.servers import Running
from kvstore.bench.awaited import MessageStream, connect, unary
from kvstore.bench.http2 import Method
from kvstore.proto import rpc_pb2

__all__ = ["WORKLOADS"]

GRANT = Method("/etcdserverpb.Lease/LeaseGrant")
KEEP_ALIVE = Method("/etcdserverpb.Lease/LeaseKeepAlive")
CLIENTS, EACH = 10, 100


def held(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    """A lease is renewed again when its last renewal was answered."""

    def measure(server: Running) -> Sequence[float]:
        return [asyncio.run(_rate(server, load.seconds))]

    (rates,) = peers.by_turns(load.rounds, measure)
    what = f"lease keep-alive, {CLIENTS * EACH:,} leases on {CLIENTS} streams"
    yield compared("served-leases", what, rates, "/s", 2)


WORKLOADS: dict[str, Workload] = {"served-leases": held}


async def _rate(server: Running, seconds: float) -> float:
    connections = [await connect(server.target) for _ in range(CLIENTS)]
    answers = 0

    def renewing(at: int, requests: dict[int, bytes]) -> MessageStream:
        def on_message(message: bytes) -> None:
            nonlocal answers
            response = rpc_pb2.LeaseKeepAliveResponse.FromString(message)
            assert response.TTL > 0
            answers += 1
            connections[at].send(stream, requests[response.ID])

        stream = MessageStream(on_message)
        return stream

    try:
        for at, connection in enumerate(connections):
            requests = {}
            for _ in range(EACH):
                request = rpc_pb2.LeaseGrantRequest(TTL=60).SerializeToString()
                granted = await unary(connection, GRANT, request)
                lease = rpc_pb2.LeaseGrantResponse.FromString(granted).ID
                requests[lease] = rpc_pb2.LeaseKeepAliveRequest(ID=lease).SerializeToString()
            first, *others = requests.values()
            stream = renewing(at, requests)
            connection.call(stream, KEEP_ALIVE, first)
            for each in others:
                connection.send(stream, each)
        begin, before = time.monotonic(), answers
        await asyncio.sleep(seconds)
        return (answers - before) / (time.monotonic() - begin)
    finally:
        for connection in connections:
            connection.close()
