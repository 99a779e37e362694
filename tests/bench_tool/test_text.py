"""The report in the layout of etcd's benchmark, line by line."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from kvstore.bench.blocks import Status
from kvstore.bench.histogram import Histogram
from kvstore.bench.result import Comparison, OperationResult, Result, merged
from kvstore.bench.text import comparison_text, layout_histogram, operation_text, result_text

# As the format strings of etcd's pkg/report print them.
LAYOUT = [
    r"",
    r"Summary:",
    r"  Total:\t\d+\.\d{4} secs\.",
    r"  Slowest:\t\d+\.\d{4} secs\.",
    r"  Fastest:\t\d+\.\d{4} secs\.",
    r"  Average:\t\d+\.\d{4} secs\.",
    r"  Stddev:\t\d+\.\d{4} secs\.",
    r"  Requests/sec:\t\d+\.\d{4}",
    r"",
    r"Response time histogram:",
    *[r"  \d+\.\d{4} \[\d+\]\t\|∎{0,40}"] * 11,
    r"",
    r"Latency distribution:",
    *[rf"  {share}% in \d+\.\d{{4}} secs\." for share in (10, 25, 50, 75, 90, 95, 99, r"99\.9")],
]


def operation(name: str = "put", **errors: int) -> OperationResult:
    histogram = Histogram()
    histogram.add([0.001 * number for number in range(1, 101)])
    found = Counter({Status("Unavailable", text): count for text, count in errors.items()})
    seconds = [(0, 60, 0.05, 0.001, 0.1), (1, 40, 0.05, 0.001, 0.1)]
    return OperationResult(name, "", histogram, found, 2.0, seconds)


def result(*operations: OperationResult, **changes: object) -> Result:
    values: dict[str, object] = {
        "workload": "put",
        "endpoint": "127.0.0.1:2379",
        "parameters": {"key-size": 8},
        "clients": 1,
        "conns": 1,
        "rate": 0.0,
        "operations": list(operations) or [operation()],
        "cpu": [0.5],
        "cpu_peak": [0.5],
        "started_unix_s": 1_000.0,
        "elapsed_s": 2.0,
    }
    return Result(**{**values, **changes})  # type: ignore[arg-type]


class TestLayout:
    def test_the_lines_are_those_of_etcd(self) -> None:
        lines = operation_text(operation()).split("\n")
        assert len(LAYOUT) == len(lines)
        for pattern, line in zip(LAYOUT, lines, strict=True):
            assert re.fullmatch(pattern, line), (pattern, line)

    def test_the_numbers_are_those_of_the_run(self) -> None:
        text = operation_text(operation())
        assert "  Requests/sec:\t50.0000\n" in text
        assert "  Slowest:\t0.1000 secs.\n" in text
        assert "  Fastest:\t0.0010 secs.\n" in text

    def test_the_histogram_counts_every_operation_once(self) -> None:
        bars = layout_histogram(operation().histogram)
        assert sum(count for _, count in bars) == 100
        assert bars[0][0] == 0.001
        assert bars[-1][0] == 0.1

    def test_errors_are_named_with_their_number(self) -> None:
        text = operation_text(operation(broken=3))
        assert text.endswith("Error distribution:\n  [3]\tUnavailable: broken")

    def test_precise_prints_all_digits(self) -> None:
        text = result_text(result(), precise=True)
        assert re.search(r"Average:\t0\.05\d{10,}", text)

    def test_a_sample_has_a_line_for_each_second(self) -> None:
        text = result_text(result(), sample=True)
        assert "UNIX-SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT" in text
        assert "\n1001,1.000000,50.000000,100.000000,40\n" in text


class TestWarnings:
    def test_a_busy_load_generator_is_said(self) -> None:
        text = result_text(result(cpu_peak=[0.3, 0.97]))
        assert "warning: the load generator was the bottleneck" in text
        assert "lower bounds" in text

    def test_an_idle_one_is_not(self) -> None:
        assert "warning" not in result_text(result(cpu_peak=[0.89]))

    def test_requests_that_were_not_sent_are_said(self) -> None:
        assert "warning: 7 requests were due and not sent" in result_text(result(skipped=7))


class TestComparison:
    def test_a_ratio_above_one_is_the_better_first(self) -> None:
        slow = operation()
        slow.elapsed_s = 4.0
        slow.histogram.add([0.5] * 300)
        ((name, ratios),) = Comparison(result(), result(slow, endpoint="other:1")).ratios()
        assert name == "put"
        assert ratios["p50"] > 9
        text = comparison_text(Comparison(result(), result(slow, endpoint="other:1")))
        assert re.search(r"put p50 ms +\d+\.\d+ +\d+\.\d+ +\d+\.\d\d", text)

    def test_rounds_of_one_endpoint_are_one_result(self) -> None:
        both = merged([result(), result(operation(broken=1))])
        assert both.main.count == 200
        assert both.main.elapsed_s == 4.0
        assert both.error_count == 1
        assert both.rounds == pytest.approx([50.0, 50.0])
        assert [each[0] for each in both.main.seconds] == [0, 1, 2, 3]
