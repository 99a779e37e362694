"""Watches: how late an event comes, how many come when all are wanted, what idle ones weigh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import quantiles

from bench.kubernetes import OBJECT
from bench.peers import Load, Peers, Workload, compared, started
from bench.report import Result
from bench.servers import Running, resident_mb
from kvstore import bench
from kvstore.bench.awaited import MessageStream, connect, unary
from kvstore.bench.http2 import Connection, Method
from kvstore.client.messages import put_request
from kvstore.proto import rpc_pb2
from kvstore.types import PutOp

__all__ = ["WORKLOADS"]

PUT, WATCH = Method("/etcdserverpb.KV/Put"), Method("/etcdserverpb.Watch/Watch")
WATCHED = b"/registry/watched/"
_PER_STREAM = 100


def latency(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    """From sending a Put to holding its event, in a steady trickle of writes."""

    def measure(server: Running) -> Sequence[float]:
        cuts = quantiles(asyncio.run(_latencies(server, load)), n=100)
        return [cuts[49] * 1e3, cuts[98] * 1e3]

    p50, p99 = peers.by_turns(load.rounds, measure)
    what = f"watch latency, {load.writes_per_s} writes/s x {load.watchers} watchers"
    yield compared("served-watch", f"{what}, p50", p50, "ms", 2)
    yield compared("served-watch", f"{what}, p99", p99, "ms", 2)


def saturated(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    """All watchers want what 16 writers put as fast as they can."""
    is_limit: dict[str, bool] = {}
    options = bench.Options(
        clients=16,
        conns=16,
        parameters={
            "streams": load.many_watchers // _PER_STREAM,
            "watch-per-stream": _PER_STREAM,
            "put-total": load.watched_puts,
        },
    )

    def measure(server: Running) -> Sequence[float]:
        result = bench.run("watch", server.target, options)
        if result.error_count:
            raise RuntimeError(f"watch failed {result.error_count} times")
        is_limit[server.target] = result.was_bottleneck
        events = result["watch-put"]
        return [events.per_second, events.histogram.quantile(0.5) * 1e3]

    rates, delays = peers.by_turns(load.rounds, measure)
    busy = [name for name, server in peers.running.items() if is_limit[server.target]]
    note = f"the load generator was the limit of {', '.join(busy)}" if busy else ""
    what = f"events to {load.many_watchers:,} watchers of one key, 16 writers"
    yield compared("served-fanout", what, rates, "/s", 1.5, note)
    yield compared("served-fanout", f"{what}, p50 of their delay", delays, "ms")


def idle(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    """What fresh servers weigh with many watches: a stream for each, and one for all of a client.

    Each is started for this alone: its memory tells of nothing else.
    """
    total = load.idle_connections * load.idle_watches
    for streams, how in ((load.idle_watches, "a stream for each"), (1, "a stream for all of them")):
        with started(peers.kinds, directory / f"idle-{streams}") as fresh:

            def measure(server: Running, streams: int = streams) -> Sequence[float]:
                return [asyncio.run(_weight_mb(server, load, streams))]

            (sizes,) = fresh.by_turns(1, measure)
        what = f"VmRSS with {total:,} idle watches on {load.idle_connections} connections, {how}"
        yield compared("served-idle", what, sizes, "MB", 1)


WORKLOADS: dict[str, Workload] = {
    "served-watch": latency,
    "served-fanout": saturated,
    "served-idle": idle,
}


async def _latencies(server: Running, load: Load) -> list[float]:
    """Seconds, one for each watcher and write. Each watcher has a connection of its own."""
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
        latencies.extend(now - sent[int(each.kv.key[len(WATCHED) :])] for each in response.events)
        if len(latencies) >= expected:
            arrived.set()

    watches = [await connect(server.target) for _ in range(load.watchers)]
    writer = await connect(server.target)
    try:
        async with asyncio.timeout(load.watch_s + 15):
            for watching in watches:
                watching.call(MessageStream(on_message), WATCH, _watch_request(WATCHED))
            await created.wait()
            await _write_steadily(writer, sent, load)
            await arrived.wait()
    finally:
        for connection in (*watches, writer):
            connection.close()
    return latencies


async def _write_steadily(writer: Connection, sent: list[float], load: Load) -> None:
    """One Put after the other at the rate asked for; a late one makes the next come at once."""
    begin = time.monotonic()
    for number in range(load.writes):
        await asyncio.sleep(begin + number / load.writes_per_s - time.monotonic())
        sent.append(time.monotonic())
        request = put_request(PutOp(WATCHED + b"%d" % number, OBJECT))
        await unary(writer, PUT, request.SerializeToString())


async def _weight_mb(server: Running, load: Load, streams: int) -> float:
    """MB of the server while each connection has its watches, on so many streams."""
    created = asyncio.Event()
    missing = load.idle_connections * load.idle_watches

    def on_message(message: bytes) -> None:
        nonlocal missing
        missing -= rpc_pb2.WatchResponse.FromString(message).created
        if not missing:
            created.set()

    connections = [await connect(server.target) for _ in range(load.idle_connections)]
    try:
        async with asyncio.timeout(60):
            for at, connection in enumerate(connections):
                calls = [MessageStream(on_message) for _ in range(streams)]
                for number in range(load.idle_watches):
                    request = _watch_request(b"/registry/idle-%d-%d/" % (at, number))
                    if number < streams:
                        connection.call(calls[number], WATCH, request)
                    else:
                        connection.send(calls[number % streams], request)
            await created.wait()
        return resident_mb(server.pid)
    finally:
        for connection in connections:
            connection.close()


def _watch_request(prefix: bytes) -> bytes:
    create = rpc_pb2.WatchCreateRequest(key=prefix, range_end=prefix[:-1] + b"0")
    return rpc_pb2.WatchRequest(create_request=create).SerializeToString()
