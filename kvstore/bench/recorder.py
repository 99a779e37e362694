"""What one process measures: latencies, errors and what was done in each second, by operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kvstore.bench.blocks import Status
from kvstore.bench.histogram import Histogram

__all__ = ["Operation", "Recorder"]

_MOST_TEXTS = 100


class Operation:
    """One kind of operation. Append seconds to `latencies`; `fold` counts and empties it.

    `origin_s` is when the run began, from where its seconds are numbered.
    """

    __slots__ = (
        "begin_s",
        "end_s",
        "errors",
        "histogram",
        "latencies",
        "name",
        "origin_s",
        "seconds",
        "title",
    )

    def __init__(self, name: str, title: str, begin_s: float, origin_s: float = 0.0) -> None:
        self.name, self.title, self.origin_s = name, title, origin_s
        self.begin_s = self.end_s = begin_s
        self.latencies: list[float] = []
        self.histogram = Histogram()
        self.errors: Counter[Status] = Counter()
        self.seconds: dict[int, list[float]] = {}

    def __repr__(self) -> str:
        return f"Operation({self.name}, {self.histogram.count} done, {self.error_count} failed)"

    @property
    def error_count(self) -> int:
        return self.errors.total()

    def fail(self, status: Status) -> None:
        """Count an error; when texts differ too much, the rest of them by code alone."""
        if status not in self.errors and len(self.errors) >= _MOST_TEXTS:
            status = Status(status.code, "(other texts)")
        self.errors[status] += 1

    def fold(self, now_s: float) -> None:
        """Count what was appended since the last time, as done now."""
        batch = self.latencies
        if not batch:
            return
        self.histogram.add(batch)
        count, total, least, most = len(batch), sum(batch), min(batch), max(batch)
        number = int(now_s - self.origin_s)
        second = self.seconds.get(number)
        if second is None:
            self.seconds[number] = [count, total, least, most]
        else:
            second[0] += count
            second[1] += total
            second[2] = min(second[2], least)
            second[3] = max(second[3], most)
        self.end_s = now_s
        batch.clear()

    def to_json(self) -> dict[str, object]:
        """As plain values; times are those of the monotonic clock, which processes share."""
        return {
            "name": self.name,
            "title": self.title,
            "begin_s": self.begin_s,
            "end_s": self.end_s,
            "histogram": self.histogram.to_json(),
            "errors": [[*status, count] for status, count in self.errors.items()],
            "seconds": [[second, *values] for second, values in sorted(self.seconds.items())],
        }


class Recorder:
    """The operations of one process, in the order in which they were named."""

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self.origin_s = 0.0

    def operation(self, name: str, now_s: float, title: str = "") -> Operation:
        """The operation of that name; it begins now when it is new."""
        if name not in self.operations:
            self.operations[name] = Operation(name, title, now_s, self.origin_s)
        return self.operations[name]

    def fold(self, now_s: float) -> None:
        for operation in self.operations.values():
            operation.fold(now_s)

    def totals(self) -> tuple[int, int]:
        """(done, failed) so far."""
        each: Sequence[Operation] = list(self.operations.values())
        done = sum(one.histogram.count + len(one.latencies) for one in each)
        return done, sum(one.error_count for one in each)
