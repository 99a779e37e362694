"""`kvstore bench` at the command line: exit codes, what goes where, and Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
from io import StringIO
from pathlib import Path

import pytest

from kvstore.bench import WORKLOADS, Options
from kvstore.bench.progress import ProgressLine
from kvstore.cli.bench import parse_duration
from kvstore.cli.main import main
from tests.bench_tool.fake_server import FakeConnection, serving
from tests.support.process import free_ports

ROOT = Path(__file__).parents[2]


def ok(connection: FakeConnection, stream: int) -> None:
    connection.ok(stream)


class TestUsage:
    @pytest.mark.parametrize(
        "argv",
        [
            [],
            ["get"],
            ["put", "--bogus"],
            ["put", "--total", "many"],
            ["put", "--clients", "0"],
            ["put", "--duration", "10x"],
            ["put", "--key-size", "0"],
            ["range"],
            ["stm", "--isolation", "x"],
            ["put", "--compare", "127.0.0.1:1", "--rounds", "0"],
        ],
    )
    def test_a_line_without_sense_is_bad_usage(
        self, argv: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["bench", *argv]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err

    @pytest.mark.parametrize("workload", WORKLOADS)
    def test_a_value_without_sense_is_told_after_the_command(
        self, workload: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["bench", workload, "--clients", "many"]) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(f"kvstore bench {workload}: error: argument --clients: ")

    @pytest.mark.parametrize("workload", [None, *WORKLOADS])
    def test_help_names_what_there_is(
        self, workload: str | None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["bench", *filter(None, [workload]), "--help"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert all(len(line) <= 80 for line in out.split("\n"))
        if workload is None:
            lines = out.split("\n")
            assert all(any(each.startswith(f"  {name} ") for each in lines) for name in WORKLOADS)
        else:
            names = [each.name for each in WORKLOADS[workload].parameters]
            assert all(f"--{name}" in out for name in [*names, "endpoints", "duration"])

    def test_a_bare_call_lists_the_workloads(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["bench"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        width = max(map(len, WORKLOADS))
        for name, workload in WORKLOADS.items():
            assert f"\n  {name:<{width}}  {workload.summary}\n" in err

    @pytest.mark.parametrize(
        ("argv", "name"),
        [(["txn-put", "--txn-ops=4"], "txn-put"), (["stm", "--keys-per-txn=4"], "stm")],
    )
    def test_one_flag_is_enough(
        self, argv: list[str], name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """With nobody there it is an endpoint that is missing, and not another flag."""
        (port,) = free_ports(1)
        assert main(["bench", *argv, f"--endpoints=127.0.0.1:{port}"]) == 1
        assert "connection refused" in capsys.readouterr().err

    def test_the_how_to_names_every_workload_and_flag(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = (ROOT / "docs" / "howto" / "benchmark.md").read_text()
        for name, workload in WORKLOADS.items():
            assert f"`{name}" in text
            missing = [each.name for each in workload.parameters if f"--{each.name}" not in text]
            assert missing == []

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("10s", 10), ("1m30s", 90), ("250ms", 0.25), ("1h", 3600), ("1.5s", 1.5), ("7", 7)],
    )
    def test_durations_are_those_of_go(self, text: str, seconds: float) -> None:
        assert parse_duration(text) == pytest.approx(seconds)

    @pytest.mark.parametrize("text", ["", "s", "10 s", "-1s", "1d"])
    def test_what_is_no_duration_is_refused(self, text: str) -> None:
        with pytest.raises(argparse.ArgumentTypeError):
            parse_duration(text)


@pytest.mark.slow
class TestRun:
    def test_a_run_prints_the_report_of_etcd(self, capsys: pytest.CaptureFixture[str]) -> None:
        with serving(ok) as server:
            assert main(["bench", "put", "--endpoints", server.target, "--total=50"]) == 0
        out, err = capsys.readouterr()
        assert out.startswith("\nSummary:\n  Total:\t")
        assert "\nResponse time histogram:\n" in out
        assert "\nLatency distribution:\n  10% in " in out
        assert err == ""

    def test_json_is_all_of_the_output(self, capsys: pytest.CaptureFixture[str]) -> None:
        with serving(ok) as server:
            argv = ["bench", "put", "--endpoints", server.target, "--total=50", "--json"]
            assert main([*argv, "--key-size=9", "--sequential-keys=true"]) == 0
        plain = json.loads(capsys.readouterr().out)
        assert plain["operations"][0]["count"] == 50
        assert plain["parameters"]["key-size"] == 9
        assert plain["parameters"]["sequential-keys"] is True

    def test_a_page_is_written_without_the_password(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        place = tmp_path / "out.html"
        with serving(ok) as server:
            argv = ["bench", "put", "--endpoints", server.target, "--total", "20"]
            argv += ["--user", "root:secret", "--report", str(place)]
            assert main(argv) == 0
        text = place.read_text()
        assert "kvstore bench put --endpoints" in text
        assert "secret" not in text

    @pytest.mark.parametrize("place", ["/dev/full", "nowhere/page.html"])
    def test_a_page_that_cannot_be_written_costs_nothing_else(
        self,
        place: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with serving(ok) as server:
            argv = ["bench", "put", "--endpoints", server.target, "--total", "9"]
            assert main([*argv, "--report", place]) == 1
        out, err = capsys.readouterr()
        assert "Requests/sec:" in out
        assert err.startswith(f"kvstore: the page is not written: {place}: No ")

    def test_calls_that_fail_are_told_and_fail_the_command(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def answer(connection: FakeConnection, stream: int) -> None:
            connection.error(stream, 12, "unknown method Put")

        with serving(answer) as server:
            assert main(["bench", "put", "--endpoints", server.target, "--total=5"]) == 1
        assert "Error distribution:\n  [5]\tUnimplemented: unknown method Put" in (
            capsys.readouterr().out
        )

    def test_two_endpoints_are_compared(self, capsys: pytest.CaptureFixture[str]) -> None:
        with serving(ok) as one, serving(ok) as other:
            argv = ["bench", "range", "key", "--endpoints", one.target, "--total=20"]
            assert main([*argv, "--compare", other.target, "--count-only"]) == 0
        out = capsys.readouterr().out
        assert f"=== {one.target}\n" in out
        assert f"=== {other.target}\n" in out
        assert "\nrange p50 ms " in out

    def test_nobody_there_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        (port,) = free_ports(1)
        assert main(["bench", "put", "--endpoints", f"127.0.0.1:{port}"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err == f"kvstore: 127.0.0.1:{port}: connection refused\n"

    def test_a_leader_is_not_looked_for(self, capsys: pytest.CaptureFixture[str]) -> None:
        with serving(ok) as server:
            argv = ["bench", "put", "--endpoints", server.target, "--total=5", "--target-leader"]
            assert main(argv) == 0
        assert "--target-leader is ignored" in capsys.readouterr().err

    def test_an_interrupt_prints_what_was_measured_so_far(self) -> None:
        is_loaded = threading.Event()

        def answer(connection: FakeConnection, stream: int) -> None:
            ok(connection, stream)
            if connection.server.requests == 200:
                is_loaded.set()

        with serving(answer) as server:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "kvstore", "bench", "put", "--duration=60s"),
                    *("--endpoints", server.target),
                ],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert is_loaded.wait(20)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        assert process.returncode == 130
        assert err == ""
        assert "Requests/sec:" in out
        assert "warning: interrupted: this is what was measured so far" in out


class TestProgressLine:
    def test_nothing_is_written_to_what_is_no_terminal(self) -> None:
        out = StringIO()
        line = ProgressLine(out)
        line.begin("put", Options(total=10))
        line.update(1.0, 5, 0)
        line.end()
        assert out.getvalue() == ""

    def test_a_terminal_shows_how_far_the_run_is(self) -> None:
        class Terminal(StringIO):
            def isatty(self) -> bool:
                return True

        out = Terminal()
        line = ProgressLine(out)
        line.begin("put a:1", Options(total=100))
        line.update(1.0, 40, 10)
        line.end()
        shown = out.getvalue().split("\r\x1b[K")
        assert shown[2] == "put a:1 [############............] 50% 40 done 40/s 10 failed 1.0 s"
        assert shown[-1] == ""
