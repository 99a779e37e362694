"""The report in the layout of etcd's benchmark.

Latencies are in the unit that fits; a quantile is shown when there are enough operations for it.
With `precise` they are in seconds with all digits, and the lines can be read by what reads those of
etcd. What etcd's tool does not say stands behind the summaries: errors by code and text, the
percentile that is missing there, and warnings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from kvstore.bench.histogram import Histogram
from kvstore.bench.result import Comparison, OperationResult, Result
from kvstore.bench.units import counted, duration

__all__ = ["comparison_text", "layout_histogram", "operation_text", "result_text"]

_BARS: Final = 10
_BAR_WIDTH: Final = 40
_BAR: Final = "∎"
_SHARES: Final = (10, 25, 50, 75, 90, 95, 99, 99.9)

Format = Callable[[float], str]


def _seconds(value: float) -> str:
    """As Go's %g writes a number."""
    return f"{value:.17g} secs."


def result_text(result: Result, *, precise: bool = False, sample: bool = False) -> str:
    """The whole report of a run; `sample` adds a line for each second."""
    time = _seconds if precise else duration
    parts = []
    for operation in result.operations:
        if len(result.operations) > 1 or operation.title:
            parts.append(_heading(operation))
        parts.append(operation_text(operation, time))
        if sample and operation.seconds:
            parts.append(_samples(operation, result.started_unix_s))
    if len(result.operations) > 2:
        parts.append(_table(result.operations))
    parts += [f"\nnote: {each}" for each in result.notes]
    parts += [f"\nwarning: {each}" for each in result.warnings()]
    parts.append(_load_generator(result))
    return "".join(f"{part}\n" for part in parts)


def _heading(operation: OperationResult) -> str:
    if operation.title.endswith(":"):
        return operation.title
    if operation.title:
        return f"Total {operation.title}: {operation.count}\nDetails:"
    return f"\n{operation.name}:"


def operation_text(operation: OperationResult, time: Format = duration) -> str:
    """Summary, histogram, distribution and errors of one operation."""
    lines = []
    histogram = operation.histogram
    if operation.count:
        lines += [
            "",
            "Summary:",
            f"  Total:\t{time(operation.elapsed_s)}",
            f"  Slowest:\t{time(histogram.max_s)}",
            f"  Fastest:\t{time(histogram.min_s)}",
            f"  Average:\t{time(histogram.mean_s)}",
            f"  Stddev:\t{time(histogram.stddev_s)}",
            f"  Requests/sec:\t{operation.per_second:{'.17g' if time is _seconds else '.1f'}}",
            "",
            "Response time histogram:",
        ]
        bars = layout_histogram(histogram)
        most = max(count for _, count in bars)
        for bound, count in bars:
            shown = time(bound).removesuffix(" secs.")
            lines.append(f"  {shown} [{count}]\t|{_BAR * (count * _BAR_WIDTH // most)}")
        lines += ["", "Latency distribution:"]
        values = operation.quantiles([share / 100 for share in _SHARES])
        for share, value in zip(_SHARES, values, strict=True):
            if value is not None:
                lines.append(f"  {share:g}% in {time(value)}")
    if operation.errors:
        lines += ["", "Error distribution:"]
        lines += [f"  [{count}]\t{status}" for status, count in operation.errors.most_common()]
    return "\n".join(lines)


def layout_histogram(histogram: Histogram) -> list[tuple[float, int]]:
    """(upper bound in seconds, count) of eleven bars from the fastest to the slowest."""
    low, high = histogram.min_s, histogram.max_s
    step = (high - low) / _BARS
    bounds = [low + step * number for number in range(_BARS)] + [high]
    counts = [0] * len(bounds)
    at = 0
    for middle, count in histogram.middles():
        while at < len(bounds) - 1 and middle > bounds[at]:
            at += 1
        counts[at] += count
    return list(zip(bounds, counts, strict=True))


def _samples(operation: OperationResult, started_unix_s: float) -> str:
    lines = ["", "Sample in one second (unix latency throughput):"]
    lines.append("UNIX-SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT")
    for second, count, mean, least, most in operation.seconds:
        unix = int(started_unix_s) + second
        lines.append(f"{unix},{least * 1e3:f},{mean * 1e3:f},{most * 1e3:f},{count}")
    return "\n".join(lines)


def _table(operations: Sequence[OperationResult]) -> str:
    head = ("operation", "count", "/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "errors")
    rows: list[tuple[str, ...]] = [head]
    for each in operations:
        values = (*each.quantiles((0.5, 0.99, 0.999)), each.histogram.max_s)
        rows.append(
            (
                each.name,
                f"{each.count}",
                f"{each.per_second:.1f}",
                *("-" if value is None else f"{value * 1e3:.3f}" for value in values),
                f"{each.error_count}",
            )
        )
    return "\n" + _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, all others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _load_generator(result: Result) -> str:
    used = ", ".join(f"{share:.0%}" for share in result.cpu)
    processes = counted(len(result.cpu), "process", "processes")
    return f"\nLoad: {result.load()}, from {processes} with CPU {used}"


def comparison_text(comparison: Comparison, *, precise: bool = False, sample: bool = False) -> str:
    """Both reports, and the numbers beside each other."""
    one, other = comparison.one, comparison.other
    parts = []
    for result in (one, other):
        parts.append(f"=== {result.endpoint}")
        parts.append(result_text(result, precise=precise, sample=sample))
    rows = [("", one.endpoint, other.endpoint, "ratio")]
    theirs = {each.name: each for each in other.operations}
    for name, ratio in comparison.ratios():
        a, b = one[name], theirs[name]
        rows.append(
            (
                f"{name} /s",
                f"{a.per_second:.1f}",
                f"{b.per_second:.1f}",
                f"{ratio['per_second']:.2f}",
            )
        )
        for share, label in ((0.5, "p50"), (0.99, "p99")):
            if label not in ratio:
                continue
            values = (a.histogram.quantile(share) * 1e3, b.histogram.quantile(share) * 1e3)
            rows.append(
                (
                    f"{name} {label} ms",
                    f"{values[0]:.3f}",
                    f"{values[1]:.3f}",
                    f"{ratio[label]:.2f}",
                )
            )
    parts.append("=== compared (a ratio above 1: the first is the better one)")
    parts.append(_aligned(rows))
    for result in (one, other):
        rounds = ", ".join(f"{each:.1f}" for each in result.rounds)
        parts.append(f"rounds of {result.endpoint}: {rounds} /s")
    return "\n".join(parts) + "\n"
