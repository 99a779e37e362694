"""What a measurement is, how it is printed, and where the page of the results keeps it."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

__all__ = ["MEASURED", "Markers", "Result", "line", "machine", "page", "rewrite", "sync_us"]


class Markers:
    """The lines between which a page keeps what `command` writes."""

    def __init__(self, name: str, command: str) -> None:
        self.begin = f"<!-- {name}: begin, written by `{command}` -->"
        self.end = f"<!-- {name}: end -->"


MEASURED = Markers("measured", "python -m bench --write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One number, with what it should reach, or with the numbers of etcds beside it.

    `target` is in `unit`; `target_ratio` is how many times as good as the first etcd it should be.
    """

    workload: str
    what: str
    value: float
    unit: str
    target: float | None = None
    target_ratio: float | None = None
    peers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def is_rate(self) -> bool:
        """More is better; of times and sizes less is."""
        return self.unit.endswith("/s")

    @property
    def passed(self) -> bool | None:
        """None when there is no target."""
        if self.target_ratio is not None and self.peers:
            return round(self.ratio(next(iter(self.peers))), 2) >= self.target_ratio
        if self.target is None:
            return None
        return self.value >= self.target if self.is_rate else self.value <= self.target

    def ratio(self, peer: str) -> float:
        """How many times as good as this etcd; above 1 is better."""
        return self.value / self.peers[peer] if self.is_rate else self.peers[peer] / self.value

    @property
    def target_text(self) -> str:
        if self.target_ratio is not None:
            return f">= {_number(self.target_ratio)} x"
        if self.target is None:
            return ""
        sign = ">=" if self.is_rate else "<="
        return f"{sign} {_number(self.target)} {self.unit}"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _verdict(result: Result) -> str:
    return {None: "", True: "pass", False: "FAIL"}[result.passed]


def line(result: Result) -> str:
    """The result for a terminal."""
    text = f"{result.what:<58} {_number(result.value):>9} {result.unit:<7}"
    for peer, value in result.peers.items():
        text += f" {peer} {_number(value)}, ratio {result.ratio(peer):.2f};"
    if result.target_text:
        text += f" {result.target_text}: {_verdict(result)}"
    return text + (f" ({result.note})" if result.note else "")


def page(results: Sequence[Result], skipped: Sequence[str], facts: Sequence[str]) -> str:
    """The results in Markdown, without the marker lines."""
    lines = [*(f"- {fact}" for fact in facts), ""]
    inside = [result for result in results if not result.peers]
    if inside:
        lines += ["| in process | measured | target | |", "|---|---|---|---|"]
        lines += [
            f"| {_described(one)} | {_number(one.value)} {one.unit} | {one.target_text} "
            f"| {_verdict(one)} |"
            for one in inside
        ]
        lines.append("")
    served = [result for result in results if result.peers]
    if served:
        peers = list(dict.fromkeys(name for one in served for name in one.peers))
        columns = ["served", "kvstore"]
        columns += [column for name in peers for column in (name, "ratio")]
        lines += [f"| {' | '.join([*columns, 'target', ''])} |", f"|{'---|' * (len(columns) + 2)}"]
        lines += [f"| {' | '.join(_beside(one, peers))} |" for one in served]
        lines.append("")
    return "\n".join([*lines, *(f"Skipped: {reason}" for reason in skipped)]).rstrip()


def _beside(result: Result, peers: Sequence[str]) -> list[str]:
    """The cells of one row."""
    cells = [_described(result), f"{_number(result.value)} {result.unit}"]
    for name in peers:
        if name in result.peers:
            cells += [f"{_number(result.peers[name])} {result.unit}", f"{result.ratio(name):.2f}"]
        else:
            cells += ["", ""]
    return [*cells, result.target_text, _verdict(result)]


def _described(result: Result) -> str:
    return f"{result.what} ({result.note})" if result.note else result.what


def rewrite(path: Path, text: str, markers: Markers = MEASURED) -> None:
    """Put `text` between the marker lines of a page. Raises ValueError when they are not there."""
    before, begin, rest = path.read_text().partition(markers.begin)
    _, end, after = rest.partition(markers.end)
    if not begin or not end:
        raise ValueError(f"{path} has no lines {markers.begin} and {markers.end}")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def machine(directory: Path) -> list[str]:
    """What was measured on, as sentences for the page: the machine, the disk, the versions."""
    import grpc
    import lmdb

    version = ".".join(map(str, lmdb.version()))
    kernel = ".".join(platform.release().split(".")[:2])
    return [
        f"{os.cpu_count()} cores, {_cpu_model()}, {platform.system()} {kernel}; load, "
        "clients and servers share the cores: trust the ratios.",
        f"Writing 4 KiB and waiting for the disk takes {sync_us(directory):,.0f} µs.",
        f"Python {platform.python_version()}, LMDB {version}, grpcio {grpc.__version__}.",
    ]


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [each.partition(":")[2].strip() for each in lines if each.startswith("model name")]
    return names[0] if names else platform.machine()


def sync_us(directory: Path, rounds: int = 30) -> float:
    """The median time of a write of 4 KiB with fdatasync, in microseconds."""
    times = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(rounds):
            begin = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begin)
    return median(times) * 1e6
