"""A log-linear histogram of latencies: bounded memory, known error, cheap to merge.

A latency in seconds falls into the bucket that the upper half of its 32-bit float names:

    bit   31     30 ... 23    22 ... 16    15 ... 0
          sign   exponent     mantissa     dropped
          `-------- the index of the bucket'

So every power of two is cut into 128 buckets of equal width. A bucket is at most 1/128 of its
lower bound wide, and stands for its middle: what is read out is off by at most 0.4 % (ERROR). There
are at most 2^15 buckets, and 3,800 of them cover a microsecond to a quarter of an hour. The
extremes, the sum and the sum of squares are exact.

A batch is sorted into buckets by C code alone (array, memoryview, Counter), at about 0.1 µs each.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import mul
from typing import Final

__all__ = ["ERROR", "Histogram"]

ERROR: Final = 1 / 256
"""The largest relative error of a quantile or of a bucket's middle."""

_UPPER_HALF: Final = 1 if sys.byteorder == "little" else 0
_SMALLEST_S: Final = 1e-9
_LARGEST_S: Final = 1e9


class Histogram:
    """Counts of latencies in seconds."""

    __slots__ = ("buckets", "largest_s", "smallest_s", "sum_s", "sum_squares")

    def __init__(self) -> None:
        self.buckets: Counter[int] = Counter()
        self.sum_s = 0.0
        self.sum_squares = 0.0
        self.smallest_s = math.inf
        self.largest_s = 0.0

    def __repr__(self) -> str:
        return f"Histogram({self.count} latencies, {len(self.buckets)} buckets)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def count(self) -> int:
        return self.buckets.total()

    @property
    def mean_s(self) -> float:
        """0 when empty."""
        count = self.count
        return self.sum_s / count if count else 0.0

    @property
    def stddev_s(self) -> float:
        """Of the population, as etcd's benchmark has it; 0 when empty."""
        count = self.count
        if not count:
            return 0.0
        variance = self.sum_squares / count - (self.sum_s / count) ** 2
        return math.sqrt(max(0.0, variance))

    @property
    def min_s(self) -> float:
        """0 when empty."""
        return self.smallest_s if self.buckets else 0.0

    @property
    def max_s(self) -> float:
        """0 when empty."""
        return self.largest_s

    def add(self, latencies_s: Sequence[float]) -> None:
        """Count a batch; a value below a nanosecond counts as one. Cost is O(n)."""
        if not latencies_s:
            return
        if min(latencies_s) < _SMALLEST_S or max(latencies_s) > _LARGEST_S:
            latencies_s = [min(max(each, _SMALLEST_S), _LARGEST_S) for each in latencies_s]
        halves = memoryview(array("f", latencies_s)).cast("B").cast("H")[_UPPER_HALF::2]
        self.buckets.update(halves.tolist())
        self.sum_s += sum(latencies_s)
        self.sum_squares += sum(map(mul, latencies_s, latencies_s))
        self.smallest_s = min(self.smallest_s, min(latencies_s))
        self.largest_s = max(self.largest_s, max(latencies_s))

    def merge(self, other: Histogram) -> None:
        """Count everything that `other` counted too."""
        self.buckets.update(other.buckets)
        self.sum_s += other.sum_s
        self.sum_squares += other.sum_squares
        self.smallest_s = min(self.smallest_s, other.smallest_s)
        self.largest_s = max(self.largest_s, other.largest_s)

    def middles(self) -> list[tuple[float, int]]:
        """(seconds, count) of every bucket in use, ascending; within the exact extremes."""
        low, high = self.smallest_s, self.largest_s
        return [
            (min(max(_middle_s(index), low), high), count)
            for index, count in sorted(self.buckets.items())
        ]

    def quantile(self, share: float) -> float:
        """The latency that `share` (0 to 1) of all do not exceed, in seconds; 0 when empty."""
        return self.quantiles((share,))[0]

    def quantiles(self, shares: Iterable[float]) -> list[float]:
        """As `quantile`, for several at once."""
        middles = self.middles()
        if not middles:
            return [0.0 for _ in shares]
        reached = list(accumulate(count for _, count in middles))
        return [self._at(share, middles, reached) for share in shares]

    def _at(
        self, share: float, middles: Sequence[tuple[float, int]], reached: Sequence[int]
    ) -> float:
        total = reached[-1]
        rank = min(max(1, math.ceil(share * total)), total)
        if rank == total:
            return self.largest_s
        low, high = 0, len(reached)
        while low < high:
            middle = (low + high) // 2
            if reached[middle] < rank:
                low = middle + 1
            else:
                high = middle
        return middles[low][0]

    def to_json(self) -> dict[str, object]:
        """As plain values, for `from_json` in another process."""
        return {
            "buckets": sorted(self.buckets.items()),
            "sum_s": self.sum_s,
            "sum_squares": self.sum_squares,
            "min_s": self.min_s,
            "max_s": self.max_s,
        }

    @classmethod
    def from_json(cls, plain: dict[str, object]) -> Histogram:
        made = cls()
        buckets = plain["buckets"]
        assert isinstance(buckets, list)
        made.buckets = Counter({int(index): int(count) for index, count in buckets})
        made.sum_s = _number(plain["sum_s"])
        made.sum_squares = _number(plain["sum_squares"])
        made.largest_s = _number(plain["max_s"])
        if made.buckets:
            made.smallest_s = _number(plain["min_s"])
        return made


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _bound_s(index: int) -> float:
    """The lower bound of a bucket."""
    exponent, mantissa = index >> 7, index & 0x7F
    if exponent == 0:
        return math.ldexp(mantissa / 128, -126)
    return math.ldexp(1 + mantissa / 128, exponent - 127)


def _middle_s(index: int) -> float:
    return (_bound_s(index) + _bound_s(index + 1)) / 2
