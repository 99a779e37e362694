"""How many requests there are to make, and when each of them is meant to begin.

Without a rate a client begins its next request when its last one was answered. With a rate request
number n is meant to begin at `begin + n / rate`, whether or not a client is free then; its latency
is counted from that moment. So a server that stalls for a second is charged for every request that
should have been made in that second, and not for one alone (coordinated omission).
"""

from __future__ import annotations

import math

__all__ = ["Pace"]


class Pace:
    """Gives out the starts of requests. It reads no clock: the time is passed in."""

    __slots__ = ("_begin_s", "_given", "_interval_s", "_phase", "due_s", "left", "until_s")

    def __init__(
        self,
        begin_s: float,
        *,
        total: float = math.inf,
        duration_s: float = math.inf,
        rate: float = 0.0,
        phase: float = 0.0,
    ) -> None:
        """`rate` in requests per second, 0 for none; `phase` (0 to 1) shifts it by a part of an
        interval, so that several processes take turns."""
        self._begin_s = begin_s
        self._interval_s = 1 / rate if rate > 0 else 0.0
        self._phase = phase
        self._given = 0
        self.left = total
        self.until_s = begin_s + duration_s
        self.due_s = begin_s + phase * self._interval_s
        """When the next one is meant to begin; of no meaning without a rate."""

    def __repr__(self) -> str:
        return f"Pace({self._given} given, {self.left} left, until {self.until_s})"

    @property
    def has_rate(self) -> bool:
        return self._interval_s > 0

    def take(self, now_s: float) -> float | None:
        """When the request that may be sent now was meant to begin; None: there is none now."""
        if self.left <= 0 or now_s >= self.until_s:
            return None
        if not self._interval_s:
            self.left -= 1
            return now_s
        due_s = self.due_s
        if due_s > now_s:
            return None
        self.left -= 1
        self._given += 1
        self.due_s = self._begin_s + (self._given + self._phase) * self._interval_s
        return due_s

    def is_over(self, now_s: float) -> bool:
        """No request will be given out any more."""
        if self.left <= 0 or now_s >= self.until_s:
            return True
        return self.has_rate and self.due_s >= self.until_s

    def stop(self, now_s: float) -> None:
        """Give out no more."""
        self.until_s = min(self.until_s, now_s)

    @property
    def given(self) -> int:
        """How many were given out at a rate."""
        return self._given

    def overdue(self) -> int:
        """How many were due before the end and never given out."""
        if not self._interval_s or not math.isfinite(self.until_s):
            return 0
        due = math.ceil((self.until_s - self.due_s) / self._interval_s)
        return int(max(0, min(due, self.left)))
