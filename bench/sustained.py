"""The load of a Kubernetes cluster held for minutes: `python -m bench.sustained [--write]`.

`kvstore bench kubernetes` against ours, then against a real etcd, each on its own: latencies of
every kind of call, and how memory and database grow meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc

from bench.__main__ import PAGE
from bench.peers import Kind
from bench.report import Markers, machine, rewrite
from bench.servers import Running, etcd, etcd_version, is_installed, kvstore_server, resident_mb
from kvstore import bench
from kvstore.proto import rpc_pb2

__all__ = ["main"]

SAMPLES = 10
MARKERS = Markers("sustained", "python -m bench.sustained --write")
TARGETS_MS: Mapping[str, float] = {
    "lease-update": 25,
    "status-update": 25,
    "pod-write": 25,
    "event-create": 25,
    "get": 5,
    "current-revision": 5,
    "progress": 10,
    "watch-event": 50,
}
"""At 99 %."""


class Held(NamedTuple):
    """What one server did, and what it weighed at even times."""

    result: bench.Result
    memory_mb: list[float]
    database_mb: list[float]


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: 0, or 1 when calls failed or ours missed a target."""
    options = _parser().parse_args(argv)
    if not is_installed("etcd"):
        print("no etcd on PATH (Debian: etcd-server)", file=sys.stderr)
        return 2
    kinds = [Kind("kvstore", kvstore_server), Kind(f"etcd {etcd_version()}", etcd)]
    held: dict[str, Held] = {}
    with tempfile.TemporaryDirectory(prefix="kvstore-bench-", dir=options.dir) as name:
        facts = machine(Path(name))
        for kind in kinds:
            place = Path(name) / kind.name.replace(" ", "-")
            place.mkdir()
            with kind.start(place) as server:
                held[kind.name] = _hold(server, options.tier, options.minutes * 60)
            print(f"{kind.name}: {held[kind.name].result.error_count} errors", flush=True)
    text = _page(held, facts, options.tier, options.minutes)
    print(text)
    if options.write:
        rewrite(PAGE, text, MARKERS)
    ours = held["kvstore"].result
    return 1 if ours.error_count or _missed(ours) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.sustained", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="for each server")
    parser.add_argument("--tier", type=int, default=1000, help="nodes: 100, 1000 or 5000")
    parser.add_argument("--write", action="store_true", help=f"keep the results in {PAGE.name}")
    parser.add_argument("--dir", help="put the data below this directory, of the disk to measure")
    return parser


def _hold(server: Running, tier: int, seconds: float) -> Held:
    """Samples begin with the load, which first makes the objects of the cluster."""
    memory_mb: list[float] = []
    database_mb: list[float] = []
    ended = threading.Event()

    def sample() -> None:
        with grpc.insecure_channel(server.target) as channel:
            status = channel.unary_unary(
                "/etcdserverpb.Maintenance/Status",
                request_serializer=rpc_pb2.StatusRequest.SerializeToString,
                response_deserializer=rpc_pb2.StatusResponse.FromString,
            )
            while not ended.is_set():
                memory_mb.append(resident_mb(server.pid))
                database_mb.append(status(rpc_pb2.StatusRequest(), timeout=10).dbSize / 2**20)
                ended.wait(seconds / SAMPLES)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        options = bench.Options(duration_s=seconds, parameters={"tier": tier})
        result = bench.run("kubernetes", server.target, options)
    finally:
        ended.set()
        sampler.join()
    return Held(result, memory_mb, database_mb)


def _missed(result: bench.Result) -> list[str]:
    return [
        name
        for name, most_ms in TARGETS_MS.items()
        if result[name].histogram.quantile(0.99) * 1e3 > most_ms
    ]


def _page(held: Mapping[str, Held], facts: Sequence[str], tier: int, minutes: float) -> str:
    lines = [*(f"- {fact}" for fact in facts)]
    for name, each in held.items():
        result = each.result
        lines.append(
            f"- {name}: {result.error_count} errors; VmRSS {_series(each.memory_mb)} MB; database "
            f"{_series(each.database_mb)} MB."
        )
        lines += [f"- {name}: {warning}." for warning in result.warnings()]
    columns = [f"{name} p50 / p99 / max" for name in held]
    lines += ["", f"| {tier} nodes, {minutes:g} min | calls/s | {' | '.join(columns)} | target |"]
    lines.append(f"|{'---|' * (len(columns) + 3)}")
    for operation in next(iter(held.values())).result.operations:
        cells = [_latencies(each.result, operation.name) for each in held.values()]
        target = TARGETS_MS.get(operation.name)
        wanted = "" if target is None else f"p99 <= {target:g} ms"
        rate = f"{operation.per_second:,.1f}"
        lines.append(f"| {operation.name} | {rate} | {' | '.join(cells)} | {wanted} |")
    return "\n".join(lines)


def _series(values: Sequence[float]) -> str:
    return ", ".join(f"{value:,.0f}" for value in values)


def _latencies(result: bench.Result, name: str) -> str:
    histogram = result[name].histogram
    p50, p99 = histogram.quantiles((0.5, 0.99))
    return f"{p50 * 1e3:.2f} / {p99 * 1e3:.2f} / {histogram.max_s * 1e3:.1f} ms"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
