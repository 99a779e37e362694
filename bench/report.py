"""What a measurement is, how it is printed, and where the page of the results keeps it."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

__all__ = ["BEGIN", "END", "Result", "line", "machine", "page", "rewrite", "sync_us"]

BEGIN = "<!-- measured: begin, written by `python -m bench --write` -->"
END = "<!-- measured: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One number, with the target it should reach or the number of etcd beside it."""

    workload: str
    what: str
    value: float
    unit: str
    target: float | None = None
    peer: float | None = None
    note: str = ""

    @property
    def is_rate(self) -> bool:
        """More is better; of times and sizes less is."""
        return self.unit.endswith("/s")

    @property
    def passed(self) -> bool | None:
        """None when there is no target."""
        if self.target is None:
            return None
        return self.value >= self.target if self.is_rate else self.value <= self.target

    @property
    def ratio(self) -> float | None:
        """How many times as good as etcd, above 1 is better; None without a peer."""
        if not self.peer or not self.value:
            return None
        return self.value / self.peer if self.is_rate else self.peer / self.value

    @property
    def target_text(self) -> str:
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
    if result.peer is not None:
        ratio = f", ratio {result.ratio:.2f}" if result.ratio else ""
        text += f" etcd {_number(result.peer)} {result.unit}{ratio}"
    elif result.target is not None:
        text += f" {result.target_text}: {_verdict(result)}"
    return text + (f" ({result.note})" if result.note else "")


def page(results: Sequence[Result], skipped: Sequence[str], facts: Sequence[str]) -> str:
    """The results in Markdown, without the marker lines."""
    lines = [*(f"- {fact}" for fact in facts), ""]
    inside = [result for result in results if result.peer is None]
    if inside:
        lines += ["| in process | measured | target | |", "|---|---|---|---|"]
        lines += [
            f"| {_described(one)} | {_number(one.value)} {one.unit} | {one.target_text} "
            f"| {_verdict(one)} |"
            for one in inside
        ]
        lines.append("")
    served = [result for result in results if result.peer is not None]
    if served:
        lines += ["| served | kvstore | etcd | ratio |", "|---|---|---|---|"]
        lines += [
            f"| {_described(one)} | {_number(one.value)} {one.unit} "
            f"| {_number(one.peer or 0)} {one.unit} | {one.ratio or 0:.2f} |"
            for one in served
        ]
        lines.append("")
    return "\n".join([*lines, *(f"Skipped: {reason}" for reason in skipped)]).rstrip()


def _described(result: Result) -> str:
    return f"{result.what} ({result.note})" if result.note else result.what


def rewrite(path: Path, text: str) -> None:
    """Put `text` between the marker lines of a page. Raises ValueError when they are not there."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no lines {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


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
        f"Python {platform.python_version()}, LMDB {version}, grpcio {grpc.__version__}, "
        f"{_etcd_version()}.",
    ]


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [each.partition(":")[2].strip() for each in lines if each.startswith("model name")]
    return names[0] if names else platform.machine()


def _etcd_version() -> str:
    try:
        done = subprocess.run(["etcd", "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "no etcd"
    return "etcd " + done.stdout.partition("\n")[0].rpartition(" ")[2]


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
