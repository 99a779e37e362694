"""What a run gave: its operations with their latencies, and whether the load generator kept up."""

from __future__ import annotations

import math
import os
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kvstore.bench.blocks import Status
from kvstore.bench.histogram import Histogram
from kvstore.bench.options import Value
from kvstore.bench.units import counted, has_enough

__all__ = [
    "BOTTLENECK_CPU",
    "PERCENTILES",
    "Comparison",
    "OperationResult",
    "Result",
    "machine",
    "merged",
]

BOTTLENECK_CPU: Final = 0.9
"""A worker that was on a core for more of a second than this limited what was measured."""

PERCENTILES: Final = (0.5, 0.9, 0.99, 0.999)

JSON_VERSION: Final = 1


def machine() -> dict[str, object]:
    """Where the load came from."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
        model = names[0] if names else model
    except OSError:
        pass
    return {
        "cores": os.cpu_count() or 1,
        "cpu": model,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


@dataclass(slots=True)
class OperationResult:
    """One kind of operation; `begin_s` and `end_s` are of the monotonic clock.

    `seconds` has for each second of the run that saw any: (second, count, mean, least, most), the
    second counted from the begin, latencies in seconds, by when an operation ended.
    """

    name: str
    title: str
    histogram: Histogram
    errors: Counter[Status]
    elapsed_s: float
    seconds: list[tuple[int, int, float, float, float]]

    @property
    def count(self) -> int:
        """Those that ended well."""
        return self.histogram.count

    @property
    def error_count(self) -> int:
        return self.errors.total()

    @property
    def per_second(self) -> float:
        return self.count / self.elapsed_s if self.elapsed_s > 0 else 0.0

    def whole_seconds(self) -> list[tuple[int, int, float, float, float]]:
        """Those of `seconds` that had an end before the operation ended."""
        if not self.seconds:
            return []
        end = self.seconds[0][0] + math.floor(self.elapsed_s + 0.05)
        return [each for each in self.seconds if each[0] < end]

    def quantiles(self, shares: Sequence[float]) -> list[float | None]:
        """Seconds; None where there are too few operations for it to mean anything."""
        values = self.histogram.quantiles(shares)
        return [
            value if has_enough(self.count, share) else None
            for share, value in zip(shares, values, strict=True)
        ]

    def to_json(self) -> dict[str, object]:
        histogram = self.histogram
        values = self.quantiles(PERCENTILES)
        names = [f"p{share * 100:g}" for share in PERCENTILES]
        quantiles = {
            name: None if value is None else value * 1e3
            for name, value in zip(names, values, strict=True)
        }
        return {
            "name": self.name,
            "count": self.count,
            "error_count": self.error_count,
            "errors": [
                {"code": code, "text": text, "count": count}
                for (code, text), count in self.errors.most_common()
            ],
            "duration_s": self.elapsed_s,
            "per_second": self.per_second,
            "latency_ms": {
                "mean": histogram.mean_s * 1e3,
                "stddev": histogram.stddev_s * 1e3,
                "min": histogram.min_s * 1e3,
                **quantiles,
                "max": histogram.max_s * 1e3,
            },
            "histogram_ms": [[middle * 1e3, count] for middle, count in histogram.middles()],
            "seconds": [
                {
                    "second": second,
                    "count": count,
                    "mean_ms": mean * 1e3,
                    "min_ms": least * 1e3,
                    "max_ms": most * 1e3,
                }
                for second, count, mean, least, most in self.seconds
            ],
        }


@dataclass(slots=True, kw_only=True)
class Result:
    """What `run` returns. `cpu` has for each process of the load generator the part of a core
    that it used, `cpu_peak` the same in its busiest second. `clients` and `conns` are those that
    there were; `sent` and `skipped` are requests of a rate, sent and due but not sent."""

    workload: str
    endpoint: str
    parameters: Mapping[str, Value]
    clients: int
    conns: int
    rate: float
    operations: list[OperationResult]
    cpu: list[float]
    cpu_peak: list[float]
    started_unix_s: float
    elapsed_s: float
    sent: int = 0
    skipped: int = 0
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)
    """Of a comparison: the operations per second of each round."""

    def __getitem__(self, name: str) -> OperationResult:
        """The operation of that name. Raises KeyError."""
        for operation in self.operations:
            if operation.name == name:
                return operation
        raise KeyError(name)

    @property
    def main(self) -> OperationResult:
        """The operation that the workload is about: the one that was done most often."""
        return max(self.operations, key=lambda each: each.count + each.error_count)

    @property
    def error_count(self) -> int:
        return sum(each.error_count for each in self.operations)

    @property
    def was_bottleneck(self) -> bool:
        """A process of the load generator was busy: the numbers are lower bounds."""
        return any(each > BOTTLENECK_CPU for each in self.cpu_peak)

    @property
    def clients_wanted(self) -> int:
        """How many could have sent all that was due, if answers took as long as they did; and some
        to spare."""
        share = (self.sent + self.skipped) / max(1, self.sent)
        return math.ceil(self.clients * share * 1.2)

    def load(self) -> str:
        """`16 clients on 4 connections, 1000 requests per second`."""
        text = f"{counted(self.clients, 'client')} on {counted(self.conns, 'connection')}"
        return f"{text}, {self.rate:g} requests per second" if self.rate else text

    def warnings(self) -> list[str]:
        """What to know before believing the numbers, as sentences."""
        said = []
        if self.was_bottleneck:
            busy = max(self.cpu_peak)
            said.append(
                f"the load generator was the bottleneck: a process of it used {busy:.0%} of a "
                "core, so the numbers are lower bounds; try more --processes and --conns"
            )
        if self.skipped:
            text = f"requests that were due and not sent before the end: {self.skipped:,}"
            if self.sent:
                text += f"; all clients were waiting, give it --clients {self.clients_wanted}"
            said.append(text)
        if self.interrupted:
            said.append("interrupted: this is what was measured so far")
        return said

    def to_json(self) -> dict[str, object]:
        """A stable shape; docs/howto/benchmark.md describes it."""
        return {
            "version": JSON_VERSION,
            "workload": self.workload,
            "endpoint": self.endpoint,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started_unix_s)),
            "duration_s": self.elapsed_s,
            "interrupted": self.interrupted,
            "clients": self.clients,
            "conns": self.conns,
            "rate": self.rate,
            "parameters": dict(self.parameters),
            "operations": [each.to_json() for each in self.operations],
            "load_generator": {
                "processes": len(self.cpu),
                "cpu": self.cpu,
                "cpu_peak": self.cpu_peak,
                "was_bottleneck": self.was_bottleneck,
                "skipped": self.skipped,
            },
            "machine": machine(),
            "notes": [*self.notes, *self.warnings()],
        }


@dataclass(slots=True)
class Comparison:
    """Two endpoints under the same load by turns; a ratio above 1: the first one is better."""

    one: Result
    other: Result

    def ratios(self) -> list[tuple[str, dict[str, float]]]:
        """By operation: of the throughput, and of latencies at the median and at 99 % (`p99` is
        only there when both have enough operations)."""
        found = []
        others = {each.name: each for each in self.other.operations}
        for mine in self.one.operations:
            theirs = others.get(mine.name)
            if theirs is None or not mine.count or not theirs.count:
                continue
            values = {"per_second": _ratio(mine.per_second, theirs.per_second)}
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                (ours_s,), (others_s,) = mine.quantiles((share,)), theirs.quantiles((share,))
                if ours_s is not None and others_s is not None:
                    values[name] = _ratio(others_s, ours_s)
            found.append((mine.name, values))
        return found

    def to_json(self) -> dict[str, object]:
        return {
            "version": JSON_VERSION,
            "results": [self.one.to_json(), self.other.to_json()],
            "rounds_per_second": [self.one.rounds, self.other.rounds],
            "ratios": [{"name": name, **values} for name, values in self.ratios()],
        }


def _ratio(value: float, base: float) -> float:
    return value / base if base else math.inf


def merged(results: Sequence[Result]) -> Result:
    """Rounds of one endpoint as one result; their whole seconds follow each other."""
    first = results[0]
    total = Result(
        workload=first.workload,
        endpoint=first.endpoint,
        parameters=first.parameters,
        clients=first.clients,
        conns=first.conns,
        rate=first.rate,
        operations=[],
        cpu=[max(each.cpu[i] for each in results) for i in range(len(first.cpu))],
        cpu_peak=[max(each.cpu_peak[i] for each in results) for i in range(len(first.cpu_peak))],
        started_unix_s=first.started_unix_s,
        elapsed_s=sum(each.elapsed_s for each in results),
        sent=sum(each.sent for each in results),
        skipped=sum(each.skipped for each in results),
        interrupted=any(each.interrupted for each in results),
        notes=list(dict.fromkeys(note for each in results for note in each.notes)),
        rounds=[each.main.per_second for each in results],
    )
    begun = 0
    by_name: dict[str, OperationResult] = {}
    for result in results:
        for each in result.operations:
            known = by_name.get(each.name)
            if known is None:
                known = OperationResult(each.name, each.title, Histogram(), Counter(), 0.0, [])
                by_name[each.name] = known
            known.histogram.merge(each.histogram)
            known.errors.update(each.errors)
            known.elapsed_s += each.elapsed_s
            known.seconds += [(begun + at[0], *at[1:]) for at in each.whole_seconds()]
        begun += math.floor(result.elapsed_s + 0.05)
    total.operations = list(by_name.values())
    return total


def gathered(parts: Sequence[Mapping[str, Any]]) -> tuple[list[OperationResult], float]:
    """What the workers of one run reported as (operations, seconds that the run took)."""
    begin_s = min((part["begin_s"] for part in parts if not math.isnan(part["begin_s"])), default=0)
    end_s = max(part["end_s"] for part in parts)
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for part in parts:
        for operation in part["operations"]:
            by_name.setdefault(operation["name"], []).append(operation)
    operations = [_gather(each) for each in by_name.values()]
    kept = [each for each in operations if each.count or each.error_count]
    return kept or operations, max(0.0, end_s - begin_s)


def _gather(pieces: Sequence[Mapping[str, Any]]) -> OperationResult:
    histogram, errors = Histogram(), Counter[Status]()
    seconds: dict[int, list[float]] = {}
    for piece in pieces:
        histogram.merge(Histogram.from_json(piece["histogram"]))
        for code, text, count in piece["errors"]:
            errors[Status(code, text)] += count
        for second, count, total, least, most in piece["seconds"]:
            known = seconds.setdefault(second, [0, 0.0, math.inf, 0.0])
            known[0] += count
            known[1] += total
            known[2], known[3] = min(known[2], least), max(known[3], most)
    elapsed_s = max(each["end_s"] for each in pieces) - min(each["begin_s"] for each in pieces)
    return OperationResult(
        pieces[0]["name"],
        pieces[0]["title"],
        histogram,
        errors,
        elapsed_s,
        [
            (second, int(each[0]), each[1] / each[0], each[2], each[3])
            for second, each in sorted(seconds.items())
        ],
    )
