"""Which intervals hold a key: stab a key into a set of ranges.

The bounds of all ranges cut the key space into segments, and each segment knows the ranges that
cover it:

    ranges      a────────d        b──c
    segments    a ── b ── c ── d ──
    covers      {1}  {1,2} {1}  {}

A stab is one bisection, whatever the number of ranges. Adding a range visits the segments it
covers. Exact keys are not ranges here: a dict finds those.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from sortedcontainers import SortedDict

from kvstore.keys import KeyRange

__all__ = ["IntervalMap"]

T = TypeVar("T")


class IntervalMap(Generic[T]):
    """Ranges, each with one item: half-open or open-ended, not empty, not single keys."""

    def __init__(self) -> None:
        self._segments: SortedDict = (
            SortedDict()
        )  # first key -> tuple of items covering the segment
        self._bounds: dict[bytes, int] = {}  # how many ranges begin or end at a key

    def __len__(self) -> int:
        return len(self._segments)

    def stab(self, key: bytes) -> tuple[T, ...]:
        """The items of all ranges that hold `key`. O(log n)."""
        position = self._segments.bisect_right(key)
        if not position:
            return ()
        found: tuple[T, ...] = self._segments.peekitem(position - 1)[1]
        return found

    def add(self, key_range: KeyRange, item: T) -> None:
        for at in self._ends(key_range):
            self._bounds[at] = self._bounds.get(at, 0) + 1
            if at not in self._segments:
                self._segments[at] = self.stab(at)
        for at in self._covered(key_range):
            self._segments[at] += (item,)

    def remove(self, key_range: KeyRange, item: T) -> None:
        for at in self._covered(key_range):
            self._segments[at] = tuple(other for other in self._segments[at] if other is not item)
        for at in self._ends(key_range):
            self._bounds[at] -= 1
            if not self._bounds[at]:
                del self._bounds[at], self._segments[at]

    def _covered(self, key_range: KeyRange) -> list[bytes]:
        return list(self._segments.irange(key_range.key, key_range.upper, inclusive=(True, False)))

    @staticmethod
    def _ends(key_range: KeyRange) -> tuple[bytes, ...]:
        upper = key_range.upper
        return (key_range.key,) if upper is None else (key_range.key, upper)
