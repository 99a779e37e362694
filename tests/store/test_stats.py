"""Histograms, and which commits are slow."""

from __future__ import annotations

from kvstore.store.stats import Histogram, StoreStats


class TestHistogram:
    def test_a_bound_belongs_to_its_own_class_and_the_rest_to_the_last(self) -> None:
        histogram = Histogram([1.0, 2.0])
        for value in (0.5, 1.0, 1.5, 2.0, 2.5):
            histogram.observe(value)
        assert histogram.counts == [2, 2, 1]
        assert histogram.total == 7.5


class TestCommit:
    def test_decisions_of_slow_ones_are_counted(self) -> None:
        stats = StoreStats()
        stats.slow_after_s = 0.5
        stats.commit(3, 0.5)
        assert stats.slow_decisions == 0
        stats.commit(4, 0.6)
        assert stats.slow_decisions == 4
        assert stats.commit_decisions.total == 7
        assert sum(stats.commit_s.counts) == 2
