"""When requests are meant to begin, on a clock that the test turns."""

from __future__ import annotations

import math

import pytest

from kvstore.bench.pace import Pace


def drain(pace: Pace, now_s: float) -> list[float]:
    taken = []
    while (start_s := pace.take(now_s)) is not None:
        taken.append(start_s)
    return taken


class TestClosedLoop:
    def test_a_request_begins_when_it_is_asked_for(self) -> None:
        pace = Pace(10.0, total=2)
        assert [pace.take(11.0), pace.take(12.5), pace.take(13.0)] == [11.0, 12.5, None]
        assert pace.is_over(13.0)

    def test_it_ends_with_the_duration(self) -> None:
        pace = Pace(10.0, duration_s=5.0)
        assert pace.take(14.9) == 14.9
        assert pace.take(15.0) is None
        assert pace.is_over(15.0)
        assert pace.overdue() == 0

    def test_it_can_be_stopped(self) -> None:
        pace = Pace(0.0)
        pace.stop(3.0)
        assert pace.take(3.0) is None
        assert pace.is_over(3.0)


class TestConstantRate:
    def test_requests_are_due_at_even_distances(self) -> None:
        pace = Pace(100.0, rate=10)
        assert drain(pace, 100.35) == pytest.approx([100.0, 100.1, 100.2, 100.3])
        assert pace.due_s == pytest.approx(100.4)
        assert drain(pace, 100.39) == []

    def test_the_distance_does_not_drift(self) -> None:
        pace = Pace(0.0, rate=3)
        assert len(drain(pace, 1000.0)) == 3001
        assert pace.due_s == pytest.approx(3001 / 3, rel=1e-12)

    def test_a_stall_is_charged_to_every_request_that_should_have_been_made(self) -> None:
        """One client, ten requests a second, an answer that takes a second: coordinated omission
        would see one slow request. What was due meanwhile waited as well."""
        pace = Pace(0.0, rate=10, total=12)
        latencies = []
        now_s = 0.0
        for number in range(12):
            start_s = pace.take(now_s)
            if start_s is None:
                now_s = pace.due_s
                start_s = pace.take(now_s)
            assert start_s is not None
            now_s += 1.0 if number == 0 else 0.001
            latencies.append(now_s - start_s)
        assert latencies[:10] == pytest.approx([1.0 - 0.099 * number for number in range(10)])
        assert latencies[11] < 0.1

    def test_processes_take_turns(self) -> None:
        paces = [Pace(0.0, rate=5, phase=part / 2) for part in range(2)]
        starts = sorted(each for pace in paces for each in drain(pace, 0.95))
        assert starts == pytest.approx([0.1 * number for number in range(10)])

    def test_what_was_due_and_never_sent_is_told(self) -> None:
        pace = Pace(0.0, rate=10, duration_s=2.0)
        drain(pace, 0.55)
        assert pace.overdue() == 14
        assert Pace(0.0, rate=10, duration_s=2.0, total=6).overdue() == 6

    def test_it_is_over_when_the_next_would_begin_after_the_end(self) -> None:
        pace = Pace(0.0, rate=1, duration_s=1.5)
        assert drain(pace, 1.2) == [0.0, 1.0]
        assert pace.is_over(1.2)
        assert math.isinf(pace.left)
