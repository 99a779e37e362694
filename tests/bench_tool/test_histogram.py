"""The histogram: how exact it is, and that parts can be put together."""

from __future__ import annotations

import json
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.bench.histogram import ERROR, Histogram

LATENCIES = st.lists(st.floats(1e-7, 1e4), min_size=1, max_size=200)


def of(values: list[float]) -> Histogram:
    made = Histogram()
    made.add(values)
    return made


class TestHistogram:
    @given(LATENCIES, st.floats(0, 1))
    def test_a_quantile_is_off_by_the_documented_error_at_most(
        self, values: list[float], share: float
    ) -> None:
        exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
        assert of(values).quantile(share) == pytest.approx(exact, rel=ERROR * 1.001)
        assert ERROR <= 0.01

    @given(LATENCIES)
    def test_extremes_mean_and_deviation_are_exact(self, values: list[float]) -> None:
        histogram = of(values)
        assert histogram.min_s == min(values)
        assert histogram.max_s == max(values)
        assert histogram.count == len(values)
        assert histogram.mean_s == pytest.approx(statistics.fmean(values))
        assert histogram.stddev_s == pytest.approx(
            statistics.pstdev(values), rel=1e-6, abs=1e-6 * max(values)
        )

    @given(LATENCIES, LATENCIES)
    def test_merged_parts_are_the_whole(self, some: list[float], others: list[float]) -> None:
        merged = of(some)
        merged.merge(of(others))
        whole = of([*some, *others])
        assert merged.buckets == whole.buckets
        assert merged.sum_s == pytest.approx(whole.sum_s)
        assert (merged.min_s, merged.max_s) == (whole.min_s, whole.max_s)

    @given(LATENCIES)
    def test_it_survives_json(self, values: list[float]) -> None:
        histogram = of(values)
        assert Histogram.from_json(json.loads(json.dumps(histogram.to_json()))) == histogram

    @given(LATENCIES)
    def test_quantiles_never_fall(self, values: list[float]) -> None:
        found = of(values).quantiles([step / 20 for step in range(21)])
        assert found == sorted(found)
        assert found[-1] == max(values)

    def test_memory_is_bounded_by_the_buckets(self) -> None:
        histogram = of([1e-6 * 1.001**step for step in range(20_000)])
        assert len(histogram.buckets) < 3_900
        assert histogram.count == 20_000

    def test_what_no_clock_can_have_measured_is_counted_at_the_edge(self) -> None:
        histogram = of([-1.0, 0.0, 1e12])
        assert histogram.count == 3
        assert histogram.min_s == 1e-9
        assert histogram.max_s == 1e9

    def test_an_empty_one_says_zero(self) -> None:
        empty = Histogram()
        assert empty.quantiles((0.5, 1.0)) == [0.0, 0.0]
        assert (empty.mean_s, empty.stddev_s, empty.min_s, empty.max_s) == (0, 0, 0, 0)
        assert Histogram.from_json(empty.to_json()) == empty
