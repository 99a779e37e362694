"""What `kvstore bench` measures, puts all over and leases; and what servers weigh in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench.pair import Load, Pair, compared
from bench.report import Result
from kvstore import bench

__all__ = ["WORKLOADS"]

_KIB = 1024


def put_random(pair: Pair, directory: Path, load: Load) -> Iterator[Result]:
    keys = {"key-space-size": 100_000, "val-size": 256}
    for clients, conns in ((64, 64), (256, 16)):
        what = f"durable Put of 256 B, 100,000 random keys, {clients} calls on {conns} connections"
        yield _rate("served-put-random", what, "put", keys, clients, conns, pair, load)


def keep_alive(pair: Pair, directory: Path, load: Load) -> Iterator[Result]:
    what = "lease keep-alive, a stream for each, 64 calls on 16 connections"
    yield _rate("served-keepalive", what, "lease-keepalive", {}, 64, 16, pair, load)


def memory(pair: Pair, directory: Path, load: Load) -> Iterator[Result]:
    """Comes last. Of ours it counts the pages of LMDB's file that are in memory, too."""
    sizes = (_resident_mb(pair.kvstore_pid), _resident_mb(pair.etcd_pid))
    yield compared("served-memory", "VmRSS of the server after all of this", sizes, "MB")


WORKLOADS: dict[str, Callable[[Pair, Path, Load], Iterator[Result]]] = {
    "served-put-random": put_random,
    "served-keepalive": keep_alive,
    "served-memory": memory,
}


def _rate(
    workload: str,
    what: str,
    name: str,
    parameters: Mapping[str, int],
    clients: int,
    conns: int,
    pair: Pair,
    load: Load,
) -> Result:
    """How often a second a workload of `kvstore bench` does what it is about."""
    options = bench.Options(
        clients=clients, conns=conns, duration_s=load.seconds, parameters=parameters
    )

    def measure(port: int) -> list[float]:
        result = bench.run(name, f"127.0.0.1:{port}", options)
        if result.error_count:
            raise RuntimeError(f"{name} failed {result.error_count} times: {result.main.errors}")
        return [result.main.per_second]

    (rates,) = pair.by_turns(load.rounds, measure)
    return compared(workload, what, rates, "/s")


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(each for each in status.splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) / _KIB
