"""`etcdctl check perf`: a minute of puts at the rate of a small, medium or large cluster."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.peers import Load, Peers, Workload, compared
from bench.report import Result
from bench.servers import Running

__all__ = ["WORKLOADS"]

_TARGETS = {"l": 1.5}


def check(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    """How many puts a second it got, and whether etcdctl called that enough."""
    for size in load.check_perf:
        said: dict[str, str] = {}

        def measure(server: Running, size: str = size, said: dict[str, str] = said) -> list[float]:
            rate, said[server.target] = _check(server, size)
            return [rate]

        (rates,) = peers.by_turns(1, measure)
        verdicts = [f"{name} {said[server.target]}" for name, server in peers.running.items()]
        what = f"etcdctl check perf --load={size}"
        note = "; ".join(verdicts)
        yield compared("check-perf", what, rates, "/s", _TARGETS.get(size), note)


WORKLOADS: dict[str, Workload] = {"check-perf": check}


def _check(server: Running, size: str) -> tuple[float, str]:
    command = ["etcdctl", "--endpoints", server.target, "check", "perf", f"--load={size}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    found = re.search(r"Throughput.*?(\d+) writes/s", done.stdout)
    if found is None:
        raise RuntimeError(f"etcdctl check perf failed:\n{done.stdout}{done.stderr}")
    failures: Sequence[str] = re.findall(r"FAIL: (.*)", done.stdout)
    return float(found[1]), "passes" if done.returncode == 0 else f"fails ({'; '.join(failures)})"
