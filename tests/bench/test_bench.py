"""The benchmarks run: every workload in process with next to nothing to do, and the reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import inprocess, served
from bench.__main__ import SERVED, main
from bench.peers import Kind, Load, started
from bench.report import MEASURED, Result, line, page, rewrite
from bench.servers import kvstore_server

OUT_OF_TESTS = {"check-perf", *served.WORKLOADS}
"""A minute each, and a program that tests need not have."""
TINY_LOAD = Load(
    seconds=0.05,
    rounds=1,
    clients=(2,),
    watch_s=0.1,
    many_watchers=100,
    watched_puts=5,
    idle_connections=2,
    idle_watches=3,
    listed=1_000,
    kept=200,
)
TINY = inprocess.Sizes(
    rounds=1, keys=20, gets=20, puts=20, writers=3, durable_s=0.02, listed=600, many=200
)


@pytest.mark.slow
@pytest.mark.parametrize("name", inprocess.WORKLOADS)
def test_a_workload_gives_its_results(name: str, tmp_path: Path) -> None:
    results = list(inprocess.WORKLOADS[name](tmp_path, TINY))
    assert results
    assert {name} == {result.workload for result in results}
    assert all(result.value > 0 for result in results)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SERVED.keys() - OUT_OF_TESTS))
def test_a_served_workload_gives_its_results(name: str, tmp_path: Path) -> None:
    """Against ours twice."""
    kinds = [Kind("kvstore", kvstore_server), Kind("other", kvstore_server)]
    place = tmp_path / "data"
    place.mkdir()
    with started(kinds, tmp_path / "servers") as peers:
        results = list(SERVED[name](peers, place, TINY_LOAD))
    assert results
    assert {name} == {result.workload for result in results}
    assert all(result.value > 0 and result.peers["other"] > 0 for result in results)


def test_the_directory_for_the_data_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = tmp_path / "not" / "there"
    seen: list[Path] = []

    def look(directory: Path, sizes: inprocess.Sizes) -> Iterator[Result]:
        seen.append(directory)
        yield rate(1)

    monkeypatch.setattr(inprocess, "WORKLOADS", {"look": look})
    assert main(["--only", "look", "--dir", str(where)]) == 0
    assert seen[0].is_relative_to(where)


def test_a_directory_that_cannot_be_made_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["--dir", str(tmp_path / "file" / "below")]) == 2
    assert "Not a directory" in capsys.readouterr().err


class TestResult:
    def test_a_rate_passes_from_its_target_on(self) -> None:
        assert rate(10, target=10).passed
        assert rate(9, target=10).passed is False

    def test_a_time_passes_up_to_its_target(self) -> None:
        assert time(10, target=10).passed
        assert time(11, target=10).passed is False

    def test_without_a_target_it_neither_passes_nor_fails(self) -> None:
        assert rate(10).passed is None

    def test_the_ratio_is_above_one_when_etcd_is_worse(self) -> None:
        assert rate(10, peer=5).ratio("etcd") == 2
        assert time(5, peer=10).ratio("etcd") == 2

    def test_a_target_beside_etcd_is_a_ratio(self) -> None:
        assert rate(10, peer=5, target_ratio=2).passed
        assert rate(9, peer=5, target_ratio=2).passed is False
        assert rate(9, target_ratio=2).passed is None

    def test_a_missed_target_stands_out(self) -> None:
        assert ">= 10.0 /s: FAIL" in line(rate(9, target=10))


class TestPage:
    def test_results_go_between_the_marker_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "page.md"
        path.write_text(f"before\n{MEASURED.begin}\nold\n{MEASURED.end}\nafter\n")
        text = page([rate(10, target=10), time(5, peer=10)], ["one: why."], ["a machine"])
        rewrite(path, text)
        written = path.read_text()
        assert written.startswith("before\n")
        assert written.endswith("\nafter\n")
        assert "old" not in written
        assert "| work | 10.0 /s | >= 10.0 /s | pass |" in written
        assert "| served | kvstore | etcd | ratio | target |  |" in written
        assert "| work | 5.00 ms | 10.0 ms | 2.00 |  |  |" in written
        assert "Skipped: one: why." in written

    def test_a_page_without_marker_lines_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "page.md"
        path.write_text("a page\n")
        with pytest.raises(ValueError, match="has no lines"):
            rewrite(path, "new")
        assert path.read_text() == "a page\n"


def rate(value: float, **more: Any) -> Result:
    return result(value, "/s", **more)


def time(value: float, **more: Any) -> Result:
    return result(value, "ms", **more)


def result(value: float, unit: str, peer: float | None = None, **more: Any) -> Result:
    peers = {} if peer is None else {"etcd": peer}
    return Result(workload="w", what="work", value=value, unit=unit, peers=peers, **more)
