"""The load of a Kubernetes cluster held for minutes: `python -m bench.sustained [--write]`.

`kvstore bench kubernetes` against ours, then against a real etcd, each on its own: latencies of
every kind of call, and how memory and database grow meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.__main__ import PAGE
from bench.peers import ours_and_etcd
from bench.report import Markers, machine, rewrite
from bench.sampling import Samples, sampled
from bench.servers import Running, is_installed
from kvstore import bench

__all__ = ["main"]

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
    samples: Samples


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: 0, or 1 when calls failed or ours missed a target."""
    options = _parser().parse_args(argv)
    if not is_installed("etcd"):
        print("no etcd on PATH (Debian: etcd-server)", file=sys.stderr)
        return 2
    held: dict[str, Held] = {}
    with tempfile.TemporaryDirectory(prefix="kvstore-bench-", dir=options.dir) as name:
        facts = machine(Path(name))
        for kind in ours_and_etcd():
            with kind.start(kind.place(Path(name))) as server:
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
    options = bench.Options(duration_s=seconds, parameters={"tier": tier})
    with sampled(server, seconds) as samples:
        return Held(bench.run("kubernetes", server.target, options), samples)


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
        lines.append(f"- {name}: {result.error_count} errors; {each.samples}.")
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


def _latencies(result: bench.Result, name: str) -> str:
    histogram = result[name].histogram
    p50, p99 = histogram.quantiles((0.5, 0.99))
    return f"{p50 * 1e3:.2f} / {p99 * 1e3:.2f} / {histogram.max_s * 1e3:.1f} ms"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
