"""From the start of a process to its first answered read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from bench.kubernetes import OBJECT, put_many
from bench.peers import Kind, Load, Peers, Workload, compared
from bench.report import Result
from kvstore.client.grpc import GrpcStore
from kvstore.keys import KeyRange
from kvstore.types import RangeOp

__all__ = ["WORKLOADS"]


def start(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    """An empty store, and one with keys in it that was stopped in an orderly way."""
    empty: dict[str, float] = {}
    filled: dict[str, float] = {}
    for kind in peers.kinds:
        place = kind.place(directory)
        first_s, _ = _time_to_read(kind, place, load.kept)
        empty[kind.name] = first_s * 1e3
        later = [_time_to_read(kind, place) for _ in range(3)]
        assert all(count == load.kept for _, count in later), later
        filled[kind.name] = min(seconds for seconds, _ in later) * 1e3
    what = "process start to first Range"
    yield compared("start", f"{what}, empty store", empty, "ms", target=250)
    keys = f"{load.kept:,} keys of 256 B"
    yield compared("start", f"{what}, {keys}", filled, "ms", target=800)


WORKLOADS: dict[str, Workload] = {"start": start}


def _time_to_read(kind: Kind, place: Path, fill: int = 0) -> tuple[float, int]:
    """Seconds, and how many keys there were; then puts so many."""
    begin = time.perf_counter()
    with kind.start(place) as server, GrpcStore(server.target, timeout_s=10) as client:
        count = client.range(RangeOp(KeyRange(b"k", b"l"), count_only=True)).count
        took_s = time.perf_counter() - begin
        put_many(client, b"k", fill, OBJECT[:256])
    return took_s, count
