"""What others wait for while one connection opens very many watches, is told of a put and closes.

The watches are of one stream, in three shapes: keys, each its own; intervals that all overlap, all
of which concern the put; one interval for all. Those who wait are a client in a process of its own.
Our server is measured with the collector of reference cycles and without, as its pauses are many
times longer than a turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.peers import Kind, Load, Peers, Workload, compared, started
from bench.report import Result
from bench.servers import Running, kvstore_server
from bench.waiting import waits
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


def crowd(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    """The longest wait, and the 99th of a hundred; each server is started for it."""
    ours, *others = peers.kinds
    bare = Kind(f"{ours.name} without collector", partial(kvstore_server, collects=False))
    for name in SHAPES:
        with started([bare, ours, *others], directory / name.replace(" ", "-")) as fresh:

            def measure(server: Running, name: str = name) -> Sequence[float]:
                return _waits_ms(server, name, load.crowd)

            longest, p99 = fresh.by_turns(1, measure)
        what = f"wait of a Range while one stream has {load.crowd:,} watches, {name}"
        for how, waited, target in (("longest", longest, LONGEST_MS), ("p99", p99, None)):
            collecting = waited.pop(ours.name)
            note = f"with the collector {collecting:.1f} ms"
            yield compared("served-crowd", f"{what}, {how}", waited, "ms", target=target, note=note)


WORKLOADS: dict[str, Workload] = {"served-crowd": crowd}


def _waits_ms(server: Running, shape: str, watches: int) -> Sequence[float]:
    with waits(server.target) as waited:
        asyncio.run(_open_put_close(server, shape, watches))
    return [waited.longest_s * 1e3, waited.p99_s * 1e3]


async def _open_put_close(server: Running, shape: str, watches: int) -> None:
    interval, is_for_all = SHAPES[shape]
    missing, done = watches, asyncio.Event()

    def on_message(message: bytes) -> None:
        nonlocal missing
        response = rpc_pb2.WatchResponse.FromString(message)
        missing -= response.created + len(response.events)
        if not missing:
            done.set()

    watching, other = await connect(server.target), await connect(server.target)
    try:
        async with asyncio.timeout(120):
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
            await asyncio.sleep(0.5)  # while it closes
            watching.close()
            await asyncio.sleep(0.5)
    finally:
        watching.close()
        other.close()


def _create(key: bytes, end: bytes) -> bytes:
    create = rpc_pb2.WatchCreateRequest(key=key, range_end=end)
    return rpc_pb2.WatchRequest(create_request=create).SerializeToString()
