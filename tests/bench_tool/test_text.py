"""The report in the layout of etcd's benchmark, line by line."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from kvstore.bench.blocks import Status
from kvstore.bench.histogram import Histogram
from kvstore.bench.result import Comparison, OperationResult, Result, merged
from kvstore.bench.text import comparison_text, layout_histogram, operation_text, result_text


def layout(time: str, number: str, unit: str) -> list[str]:
    """As the format strings of etcd's pkg/report print them, with times and numbers like these."""
    return [
        r"",
        r"Summary:",
        *[rf"  {what}:\t{time}{unit}" for what in ("Total", "Slowest", "Fastest", "Average")],
        rf"  Stddev:\t{time}{unit}",
        rf"  Requests/sec:\t{number}",
        r"",
        r"Response time histogram:",
        *[rf"  {time} \[\d+\]\t\|∎{{0,40}}"] * 11,
        r"",
        r"Latency distribution:",
        *[rf"  {share}% in {time}{unit}" for share in (10, 25, 50, 75, 90, 95, 99)],
    ]


READABLE = layout(r"\d+(\.\d+)? (µs|ms|s)", r"\d+\.\d", "")
PRECISE = layout(r"[\d.]+(e-\d+)?", r"\d+(\.\d+)?", r" secs\.")


def operation(name: str = "put", count: int = 100, **errors: int) -> OperationResult:
    histogram = Histogram()
    histogram.add([0.1 / count * number for number in range(1, count + 1)])
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
    @pytest.mark.parametrize(("precise", "layout"), [(False, READABLE), (True, PRECISE)])
    def test_the_lines_are_those_of_etcd(self, precise: bool, layout: list[str]) -> None:
        lines = result_text(result(), precise=precise).split("\n")
        for pattern, line in zip(layout, lines, strict=False):
            assert re.fullmatch(pattern, line), (pattern, line)

    def test_the_numbers_are_those_of_the_run(self) -> None:
        text = operation_text(operation())
        assert "  Requests/sec:\t50.0\n" in text
        assert "  Slowest:\t100 ms\n" in text
        assert "  Fastest:\t1.00 ms\n" in text

    @pytest.mark.parametrize(
        ("count", "last"), [(9, "75%"), (10, "90%"), (99, "95%"), (100, "99%"), (1000, "99.9%")]
    )
    def test_a_quantile_needs_enough_operations(self, count: int, last: str) -> None:
        lines = operation_text(operation(count=count)).split("\n")
        assert lines[-1].split()[0] == last

    def test_the_load_is_what_there_was(self) -> None:
        assert "\nLoad: 1 client on 1 connection, from 1 process with CPU 50%" in (
            result_text(result())
        )
        text = result_text(result(clients=16, conns=4, rate=1000.0, cpu=[0.1, 0.2]))
        assert (
            "\nLoad: 16 clients on 4 connections, 1000 requests per second, from 2 processes"
            in text
        )

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

    def test_requests_that_were_not_sent_are_said_with_what_would_help(self) -> None:
        text = result_text(result(clients=2, sent=100, skipped=900))
        assert (
            "warning: requests that were due and not sent before the end: 900; all clients" in text
        )
        assert "give it --clients 24" in text

    def test_more_clients_do_not_help_a_mix_that_has_none(self) -> None:
        text = result_text(result(skipped=7))
        assert "due and not sent before the end: 7\n" in text
        assert "--clients" not in text


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

    def test_a_quantile_that_one_of_them_lacks_is_not_compared(self) -> None:
        both = Comparison(result(), result(operation(count=99), endpoint="other:1"))
        ((_, ratios),) = both.ratios()
        assert set(ratios) == {"per_second", "p50"}
        assert "p99" not in comparison_text(both).rpartition("=== compared")[2]
        assert both.other.main.to_json()["latency_ms"]["p99"] is None  # type: ignore[index]

    def test_rounds_of_one_endpoint_are_one_result(self) -> None:
        both = merged([result(), result(operation(broken=1))])
        assert both.main.count == 200
        assert both.main.elapsed_s == 4.0
        assert both.error_count == 1
        assert both.rounds == pytest.approx([50.0, 50.0])
        assert [each[0] for each in both.main.seconds] == [0, 1, 2, 3]
