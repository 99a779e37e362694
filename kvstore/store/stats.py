"""What a store measures of its work on the disk, and what it has in its queues at a moment.

Plain numbers with one owner, the loop of the store; whoever reads them sees each whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["Histogram", "Queues", "StoreStats"]

COMMIT_BUCKETS_S: Final = tuple(0.001 * 2**power for power in range(14))
"""Upper bounds of etcd_disk_wal_fsync_duration_seconds and its like."""
_DECISIONS_BUCKETS: Final = tuple(float(4**power) for power in range(8))
_STEP_BUCKETS_MS: Final = tuple(float(2**power) for power in range(13))
_COMPACTION_BUCKETS_MS: Final = tuple(100.0 * 2**power for power in range(14))


class Histogram:
    """Observations counted by upper bound, not cumulated; the last count is of all above."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        at = 0
        for bound in self.bounds:
            if value <= bound:
                break
            at += 1
        self.counts[at] += 1
        self.total += value


class StoreStats:
    """Since the store was opened."""

    __slots__ = (
        "commit_decisions",
        "commit_s",
        "compacted_at_s",
        "compaction_ms",
        "compaction_step_ms",
        "failed",
        "slow_after_s",
        "slow_decisions",
    )

    def __init__(self) -> None:
        self.commit_s = Histogram(COMMIT_BUCKETS_S)
        """How long each commit took, those that failed not counted."""
        self.commit_decisions = Histogram(_DECISIONS_BUCKETS)
        """How many decisions each of them made durable."""
        self.slow_after_s = 0.1
        """From when on a commit is slow."""
        self.slow_decisions = 0
        """Decisions that waited for a slow commit."""
        self.failed = 0
        """Answers that became errors because a commit failed."""
        self.compaction_step_ms = Histogram(_STEP_BUCKETS_MS)
        """How long each step kept others waiting."""
        self.compaction_ms = Histogram(_COMPACTION_BUCKETS_MS)
        self.compacted_at_s = 0.0
        """When the last compaction was finished, in seconds since 1970; 0.0 before the first."""

    def commit(self, decisions: int, duration_s: float) -> None:
        """A commit made `decisions` durable."""
        self.commit_s.observe(duration_s)
        self.commit_decisions.observe(decisions)
        if duration_s > self.slow_after_s:
            self.slow_decisions += decisions


class Queues(NamedTuple):
    """What waits in a store at a moment."""

    decisions: int
    """Decided and not durable."""
    decision_bytes: int
    answers: int
    """Calls that wait for a commit."""
    watch_streams: int
    watch_events: int
    """In the queues of the watch streams."""
    watch_bytes: int
    watchers_behind: int
    """Watchers that catch up from the log."""
