"""What Kubernetes' API server writes: objects of 1 KB, each Put guarded by a revision.

One client process loads the servers by turns, with the client of `kvstore.bench`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

from bench.peers import Load, Peers, Workload, compared, counted
from bench.report import Result
from bench.servers import Running
from kvstore.bench.awaited import connect, unary
from kvstore.bench.http2 import Connection, Method
from kvstore.client.grpc import GrpcStore
from kvstore.client.messages import txn_request
from kvstore.keys import KeyRange
from kvstore.proto import rpc_pb2
from kvstore.types import Compare, CompareResult, CompareTarget, PutOp, RangeOp, Txn

__all__ = ["OBJECT", "WORKLOADS", "put_many"]

OBJECT = bytes(range(256)) * 4
TXN = Method("/etcdserverpb.KV/Txn")

Client = Callable[[Connection, float], Awaitable[int]]
"""Works on a connection until a time of the monotonic clock; returns how much it did."""


def create(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    """Put a key that must not exist yet."""
    names = count()

    async def client(connection: Connection, until: float) -> int:
        done = 0
        while time.monotonic() < until:
            key = b"/registry/created/%08d" % next(names)
            await _put_at(connection, key, 0)
            done += 1
        return done

    yield from _rates("served-create", "Txn create of 1 KB", client, peers, load)


def update(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    """Put a key that must be as it was read; each client has a key of its own."""
    names = count()

    async def client(connection: Connection, until: float) -> int:
        key = b"/registry/updated/%08d" % next(names)
        revision = done = 0
        while time.monotonic() < until:
            revision = await _put_at(connection, key, revision)
            done += 1
        return done

    yield from _rates("served-update", "Txn update of 1 KB", client, peers, load)


def put_many(client: GrpcStore, prefix: bytes, count: int, value: bytes) -> None:
    """Keys with numbers behind `prefix`, 100 in a transaction."""
    for begin in range(0, count, 100):
        numbers = range(begin, min(begin + 100, count))
        puts = [PutOp(prefix + b"%08d" % number, value) for number in numbers]
        client.txn(Txn(success=puts))


WORKLOADS: dict[str, Workload] = {"served-create": create, "served-update": update}


def _rates(workload: str, what: str, client: Client, peers: Peers, load: Load) -> Iterator[Result]:
    for clients in load.clients:

        def measure(server: Running, clients: int = clients) -> Sequence[float]:
            return [asyncio.run(_rate(server, clients, client, load.seconds))]

        (rates,) = peers.by_turns(load.rounds, measure)
        target = 1.5 if clients == 64 else None
        yield compared(workload, f"{what}, {counted(clients)}", rates, "/s", target)


async def _rate(server: Running, clients: int, client: Client, seconds: float) -> float:
    connections = [await connect(server.target) for _ in range(clients)]
    begin = time.monotonic()
    try:
        async with asyncio.timeout(seconds + 10):
            done = await asyncio.gather(*(client(one, begin + seconds) for one in connections))
        return sum(done) / (time.monotonic() - begin)
    finally:
        for connection in connections:
            connection.close()


async def _put_at(connection: Connection, key: bytes, revision: int) -> int:
    """Put `key` if its last change was at `revision`, else read it; returns the new revision."""
    compare = Compare(KeyRange(key), CompareTarget.MOD, CompareResult.EQUAL, revision)
    read = () if revision == 0 else (RangeOp(KeyRange(key)),)
    request = txn_request(Txn((compare,), (PutOp(key, OBJECT),), read))
    answer = await unary(connection, TXN, request.SerializeToString())
    response = rpc_pb2.TxnResponse.FromString(answer)
    assert response.succeeded
    return response.header.revision
