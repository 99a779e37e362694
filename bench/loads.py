"""What `kvstore bench` measures, puts all over and leases; and what servers weigh in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.peers import Load, Peers, Workload, compared
from bench.report import Result
from bench.servers import Running, resident_mb
from kvstore import bench

__all__ = ["WORKLOADS"]


def put_random(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    keys = {"key-space-size": 100_000, "val-size": 256}
    for clients, conns, target in ((64, 64, 1.5), (256, 16, 2)):
        what = f"durable Put of 256 B, 100,000 random keys, {clients} calls on {conns} connections"
        rates = _rates("put", keys, clients, conns, peers, load)
        yield compared("served-put-random", what, rates, "/s", target)


def keep_alive(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    what = "lease keep-alive, a stream for each, 64 calls on 16 connections"
    rates = _rates("lease-keepalive", {}, 64, 16, peers, load)
    yield compared("served-keepalive", what, rates, "/s", 2)


def memory(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    """Comes last."""
    for what, text, target in (
        ("VmRSS", "VmRSS of the server after all of this", 1),
        ("RssAnon", "the same without what the kernel keeps of the database file", None),
    ):
        sizes = {name: resident_mb(server.pid, what) for name, server in peers.running.items()}
        yield compared("served-memory", text, sizes, "MB", target)


WORKLOADS: dict[str, Workload] = {
    "served-put-random": put_random,
    "served-keepalive": keep_alive,
    "served-memory": memory,
}


def _rates(
    name: str,
    parameters: Mapping[str, int],
    clients: int,
    conns: int,
    peers: Peers,
    load: Load,
) -> dict[str, float]:
    """How often a second a workload of `kvstore bench` does what it is about."""
    options = bench.Options(
        clients=clients, conns=conns, duration_s=load.seconds, parameters=parameters
    )

    def measure(server: Running) -> list[float]:
        result = bench.run(name, server.target, options)
        if result.error_count:
            raise RuntimeError(f"{name} failed {result.error_count} times: {result.main.errors}")
        return [result.main.per_second]

    (rates,) = peers.by_turns(load.rounds, measure)
    return rates
