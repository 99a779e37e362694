"""Lists of all objects of a prefix, and how long others wait meanwhile.

A list takes until its last byte is there: what decoding costs is the client's own. Those who wait
are a client in a process of its own that reads one key again and again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from struct import Struct

from bench.kubernetes import OBJECT, put_many
from bench.peers import Load, Peers, Workload, compared
from bench.report import Result
from bench.servers import Running
from bench.waiting import waits
from kvstore.bench.awaited import CallFailed, answer, connect, unary
from kvstore.bench.http2 import Connection, Method
from kvstore.client.grpc import GrpcStore
from kvstore.client.messages import range_request
from kvstore.keys import KeyRange
from kvstore.proto import rpc_pb2
from kvstore.types import RangeOp

__all__ = ["WORKLOADS"]

RANGE, RANGE_STREAM = Method("/etcdserverpb.KV/Range"), Method("/etcdserverpb.KV/RangeStream")
LISTED = KeyRange(b"/registry/listed/", b"/registry/listed0")
_prefix = Struct(">BI")

List = Callable[[Connection, Load], Awaitable[int]]
"""Lists everything once; returns how many objects there were."""


def listing(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    """In one Range, in pages at one revision, and in a RangeStream where the server has that."""
    for server in peers.running.values():
        _fill(server, load.listed)
    streaming = [name for name, server in peers.running.items() if asyncio.run(_streams(server))]
    every = list(peers.running)
    what = f"list of {load.listed:,} x 1 KB"
    for how, make, target, names in (
        ("one Range", _whole, 2, every),
        (f"pages of {load.page_keys}", _paged, 3, every),
        ("RangeStream", _streamed, 2, streaming),
    ):

        def measure(server: Running, make: List = make) -> Sequence[float]:
            return _list(server, make, load)

        times, waits = peers.by_turns(2 * load.rounds, measure, names)
        yield compared("served-list", f"{what}, {how}", times, "ms", target)
        wait = f"{what}, {how}: longest wait of a Range meanwhile"
        yield compared("served-list", wait, waits, "ms")


WORKLOADS: dict[str, Workload] = {"served-list": listing}


def _fill(server: Running, objects: int) -> None:
    with GrpcStore(server.target, timeout_s=30) as client:
        put_many(client, LISTED.key, objects, OBJECT)


def _list(server: Running, make: List, load: Load) -> Sequence[float]:
    """Milliseconds of the list, and of the longest wait of those who read meanwhile."""
    with waits(server) as waited:
        took_s = asyncio.run(_timed(server, make, load))
    return [took_s * 1e3, waited.longest_s * 1e3]


async def _timed(server: Running, make: List, load: Load) -> float:
    connection = await connect(server.target)
    begin = time.monotonic()
    try:
        async with asyncio.timeout(60):
            found = await make(connection, load)
        # What was decoded of the last answer is in this; of one Range, nothing.
        took_s = connection.now - begin
    finally:
        connection.close()
    assert found == load.listed, found
    return took_s


async def _whole(connection: Connection, load: Load) -> int:
    body = await unary(connection, RANGE, _request(LISTED))
    return len(rpc_pb2.RangeResponse.FromString(body).kvs)


async def _paged(connection: Connection, load: Load) -> int:
    key, revision, found, more = LISTED.key, 0, 0, True
    while more:
        keys = KeyRange(key, LISTED.range_end)
        body = await unary(connection, RANGE, _request(keys, load.page_keys, revision))
        response = rpc_pb2.RangeResponse.FromString(body)
        found += len(response.kvs)
        key, more = response.kvs[-1].key + b"\x00", response.more
        revision = revision or response.header.revision
    return found


async def _streamed(connection: Connection, load: Load) -> int:
    body = await answer(connection, RANGE_STREAM, _request(LISTED)) or b""
    found = at = 0
    while at < len(body):
        _, size = _prefix.unpack_from(body, at)
        at += _prefix.size + size
        response = rpc_pb2.RangeStreamResponse.FromString(bytes(body[at - size : at]))
        found += len(response.range_response.kvs)
    return found


async def _streams(server: Running) -> bool:
    """Whether the server has RangeStream."""
    connection = await connect(server.target)
    try:
        await answer(connection, RANGE_STREAM, _request(KeyRange(b"any")))
        return True
    except CallFailed:
        return False
    finally:
        connection.close()


def _request(keys: KeyRange, limit: int = 0, revision: int = 0) -> bytes:
    return range_request(RangeOp(keys, limit=limit, revision=revision)).SerializeToString()
