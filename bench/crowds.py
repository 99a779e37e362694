"""What others wait for while one connection opens very many watches, is told of a put and closes.

The watches are of one stream, in three shapes: keys, each its own; intervals that all overlap, all
of which concern the put; one interval for all. Those who wait are a client in a process of its own.
The one that opens them is another, which gives way to servers and to those who wait: it has more to
do than either, and on two cores it would be what they wait for.

Our server is measured with the collector of reference cycles and without, as its pauses are many
times longer than a turn of the loop. etcd is measured with fewer watches where all are concerned:
20,000 overlapping intervals take it half a minute, and 100,000 more than two.

python -m bench.crowds HOST:PORT SHAPE WATCHES
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.peers import Kind, Load, Peers, Workload, compared, started
from bench.report import Result
from bench.servers import Running, kvstore_server
from bench.waiting import ROOT, waits
from kvstore.bench.awaited import MessageStream, connect, unary
from kvstore.bench.http2 import Method
from kvstore.client.messages import put_request
from kvstore.proto import rpc_pb2
from kvstore.types import PutOp

__all__ = ["WORKLOADS"]

PUT, WATCH = Method("/etcdserverpb.KV/Put"), Method("/etcdserverpb.Watch/Watch")
LONGEST_MS = 20.0

Shape = Callable[[int], tuple[bytes, bytes]]
"""The interval of the watch with this number."""
SHAPES: dict[str, tuple[Shape, bool]] = {
    "keys": (lambda at: (b"crowd-%06d" % at, b""), False),
    "overlapping intervals": (lambda at: (b"crowd-%06d" % at, b"\x00"), True),
    "one interval": (lambda at: (b"crowd-", b"crowd."), True),
}
"""With whether a put concerns all of them."""
MOST_OF_ETCD = 10_000
"""Watches that a put concerns."""
_NICE = 10
_OPENED_S = 120.0
_CLOSED_S_PER_WATCH = 50e-6
"""How long the servers have to let go of them: no message tells when they have."""


def crowd(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    """The longest wait, and the 99th of a hundred; each server is started for it."""
    ours, *others = peers.kinds
    bare = Kind(f"{ours.name} without collector", partial(kvstore_server, collects=False))
    for name, (_, is_for_all) in SHAPES.items():
        fewer = min(load.crowd, MOST_OF_ETCD) if is_for_all else load.crowd
        with started([bare, ours, *others], directory / name.replace(" ", "-")) as fresh:
            own = fresh.by_turns(
                1, partial(_waits_ms, shape=name, watches=load.crowd), [bare.name, ours.name]
            )
            etcds = fresh.by_turns(
                1, partial(_waits_ms, shape=name, watches=fewer), [each.name for each in others]
            )
        what = f"wait of a Range while one stream has {load.crowd:,} watches, {name}"
        less = [f"etcd with {fewer:,} watches"] if fewer < load.crowd else []
        on_core = [f"{own[2][bare.name]:.1f} ms while both sides had a core"]
        for at, how, target, notes in ((0, "longest", LONGEST_MS, on_core), (1, "p99", None, [])):
            collecting = f"with the collector {own[at][ours.name]:.1f} ms"
            values = {bare.name: own[at][bare.name], **etcds[at]}
            note = ", ".join([*notes, collecting, *less])
            yield compared("served-crowd", f"{what}, {how}", values, "ms", target=target, note=note)


WORKLOADS: dict[str, Workload] = {"served-crowd": crowd}


def _waits_ms(server: Running, shape: str, watches: int) -> Sequence[float]:
    """The longest, the 99th of a hundred, and the longest while both sides had a core."""
    command = [sys.executable, "-m", "bench.crowds", server.target, shape, str(watches)]
    with waits(server) as waited:
        subprocess.run(command, cwd=ROOT, check=True)
    return [waited.longest_s * 1e3, waited.p99_s * 1e3, waited.longest_on_core_s * 1e3]


async def open_put_close(target: str, shape: str, watches: int) -> None:
    interval, is_for_all = SHAPES[shape]
    missing, done = watches, asyncio.Event()

    def on_message(message: bytes) -> None:
        nonlocal missing
        response = rpc_pb2.WatchResponse.FromString(message)
        missing -= response.created + len(response.events)
        if not missing:
            done.set()

    watching, other = await connect(target), await connect(target)
    try:
        async with asyncio.timeout(_OPENED_S):
            stream = MessageStream(on_message)
            watching.call(stream, WATCH, _create(*interval(0)))
            for number in range(1, watches):
                watching.send(stream, _create(*interval(number)))
            await done.wait()
            missing = watches if is_for_all else 1
            done.clear()
            put = put_request(PutOp(b"crowd-%06d" % (watches - 1), b"v"))
            await unary(other, PUT, put.SerializeToString())
            await done.wait()
        watching.cancel(stream)
        await asyncio.sleep(0.5 + watches * _CLOSED_S_PER_WATCH)
        watching.close()
        await asyncio.sleep(0.5)
    finally:
        watching.close()
        other.close()


def _create(key: bytes, end: bytes) -> bytes:
    create = rpc_pb2.WatchCreateRequest(key=key, range_end=end)
    return rpc_pb2.WatchRequest(create_request=create).SerializeToString()


if __name__ == "__main__":
    os.nice(_NICE)
    asyncio.run(open_put_close(sys.argv[1], sys.argv[2], int(sys.argv[3])))
