"""What Kubernetes' API server does: guarded writes, watches and lists of objects of 1 KB.

One client process loads both servers, with the client of `kvstore.bench`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from statistics import quantiles

from bench.pair import Load, Pair, compared, counted
from bench.report import Result
from kvstore.bench.awaited import MessageStream, connect, unary
from kvstore.bench.http2 import Connection, Method
from kvstore.client.grpc import GrpcStore
from kvstore.client.messages import put_request, range_request, txn_request
from kvstore.keys import KeyRange
from kvstore.proto import rpc_pb2
from kvstore.types import Compare, CompareResult, CompareTarget, PutOp, RangeOp, Txn

__all__ = ["WORKLOADS"]

OBJECT = bytes(range(256)) * 4
RANGE, PUT = Method("/etcdserverpb.KV/Range"), Method("/etcdserverpb.KV/Put")
TXN, WATCH = Method("/etcdserverpb.KV/Txn"), Method("/etcdserverpb.Watch/Watch")
LISTED = KeyRange(b"/registry/listed/", b"/registry/listed0")

Client = Callable[[Connection, float], Awaitable[int]]
"""Works on a connection until a time of the monotonic clock; returns how much it did."""


def create(pair: Pair, directory: Path, load: Load) -> Iterator[Result]:
    """Put a key that must not exist yet."""
    names = count()

    async def client(connection: Connection, until: float) -> int:
        done = 0
        while time.monotonic() < until:
            key = b"/registry/created/%08d" % next(names)
            await _put_at(connection, key, 0)
            done += 1
        return done

    yield from _rates("served-create", "Txn create of 1 KB", client, pair, load)


def update(pair: Pair, directory: Path, load: Load) -> Iterator[Result]:
    """Put a key that must be as it was read; each client has a key of its own."""
    names = count()

    async def client(connection: Connection, until: float) -> int:
        key = b"/registry/updated/%08d" % next(names)
        revision = done = 0
        while time.monotonic() < until:
            revision = await _put_at(connection, key, revision)
            done += 1
        return done

    yield from _rates("served-update", "Txn update of 1 KB", client, pair, load)


def watch(pair: Pair, directory: Path, load: Load) -> Iterator[Result]:
    """From sending a Put to holding its event, in a steady trickle of writes."""

    def measure(port: int) -> Sequence[float]:
        latencies = asyncio.run(_watch_latencies(port, load))
        cuts = quantiles(latencies, n=100)
        return [cuts[49] * 1e3, cuts[98] * 1e3]

    p50, p99 = pair.by_turns(load.rounds, measure)
    what = f"watch latency, {load.writes_per_s} writes/s x {load.watchers} watchers"
    yield compared("served-watch", f"{what}, p50", p50, "ms")
    yield compared("served-watch", f"{what}, p99", p99, "ms")


def listing(pair: Pair, directory: Path, load: Load) -> Iterator[Result]:
    """All objects of a prefix: in one Range, and in pages at one revision."""
    for port in (pair.kvstore, pair.etcd):
        _fill(port, load.listed)

    def measure(port: int) -> Sequence[float]:
        whole_s = asyncio.run(_list(port, 0, load.listed))
        return [whole_s * 1e3, asyncio.run(_list(port, load.page_keys, load.listed)) * 1e3]

    whole, paged = pair.by_turns(2 * load.rounds, measure)
    what = f"list of {load.listed:,} x 1 KB"
    yield compared("served-list", f"{what}, one Range", whole, "ms")
    yield compared("served-list", f"{what}, pages of {load.page_keys}", paged, "ms")


WORKLOADS: dict[str, Callable[[Pair, Path, Load], Iterator[Result]]] = {
    "served-create": create,
    "served-update": update,
    "served-watch": watch,
    "served-list": listing,
}


# --- transactions


def _rates(workload: str, what: str, client: Client, pair: Pair, load: Load) -> Iterator[Result]:
    for clients in load.clients:

        def measure(port: int, clients: int = clients) -> Sequence[float]:
            return [asyncio.run(_rate(port, clients, client, load.seconds))]

        (rates,) = pair.by_turns(load.rounds, measure)
        yield compared(workload, f"{what}, {counted(clients)}", rates, "/s")


async def _rate(port: int, clients: int, client: Client, seconds: float) -> float:
    connections = [await connect(f"127.0.0.1:{port}") for _ in range(clients)]
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


# --- watching


async def _watch_latencies(port: int, load: Load) -> list[float]:
    """Seconds, one for each watcher and write. Each watcher has a connection of its own."""
    prefix = b"/registry/watched/"
    sent: list[float] = []
    latencies: list[float] = []
    created, arrived = asyncio.Event(), asyncio.Event()
    waiting, expected = load.watchers, load.watchers * load.writes

    def on_message(message: bytes) -> None:
        nonlocal waiting
        response = rpc_pb2.WatchResponse.FromString(message)
        now = time.monotonic()
        waiting -= response.created
        if not waiting:
            created.set()
        latencies.extend(now - sent[int(each.kv.key[len(prefix) :])] for each in response.events)
        if len(latencies) >= expected:
            arrived.set()

    watches = [await connect(f"127.0.0.1:{port}") for _ in range(load.watchers)]
    writer = await connect(f"127.0.0.1:{port}")
    try:
        async with asyncio.timeout(load.watch_s + 15):
            for watching in watches:
                watching.call(MessageStream(on_message), WATCH, _watch_request(prefix))
            await created.wait()
            await _write_steadily(writer, prefix, sent, load)
            await arrived.wait()
    finally:
        for connection in (*watches, writer):
            connection.close()
    return latencies


async def _write_steadily(writer: Connection, prefix: bytes, sent: list[float], load: Load) -> None:
    """One Put after the other at the rate asked for; a late one makes the next come at once."""
    begin = time.monotonic()
    for number in range(load.writes):
        await asyncio.sleep(begin + number / load.writes_per_s - time.monotonic())
        sent.append(time.monotonic())
        request = put_request(PutOp(prefix + b"%d" % number, OBJECT))
        await unary(writer, PUT, request.SerializeToString())


def _watch_request(prefix: bytes) -> bytes:
    create = rpc_pb2.WatchCreateRequest(key=prefix, range_end=prefix[:-1] + b"0")
    return rpc_pb2.WatchRequest(create_request=create).SerializeToString()


# --- lists


def _fill(port: int, objects: int) -> None:
    with GrpcStore(f"127.0.0.1:{port}", timeout_s=30) as client:
        for begin in range(0, objects, 100):
            numbers = range(begin, min(begin + 100, objects))
            puts = [PutOp(LISTED.key + b"%08d" % number, OBJECT) for number in numbers]
            client.txn(Txn(success=puts))


async def _list(port: int, page_keys: int, expected: int) -> float:
    """Seconds; `page_keys` 0: everything in one Range."""
    connection = await connect(f"127.0.0.1:{port}")
    begin = time.monotonic()
    key, revision, found, more = LISTED.key, 0, 0, True
    try:
        async with asyncio.timeout(60):
            while more:
                op = RangeOp(KeyRange(key, LISTED.range_end), limit=page_keys, revision=revision)
                answer = await unary(connection, RANGE, range_request(op).SerializeToString())
                response = rpc_pb2.RangeResponse.FromString(answer)
                found += len(response.kvs)
                key, more = response.kvs[-1].key + b"\x00", response.more
                revision = revision or response.header.revision
    finally:
        connection.close()
    assert found == expected
    return time.monotonic() - begin
