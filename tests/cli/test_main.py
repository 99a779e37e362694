"""The command line finds its subcommand, and what goes wrong is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvstore.cli.main import main
from kvstore.cli.version import ETCD_VERSION
from kvstore.server.services.maintenance import API_VERSION


class TestMain:
    @pytest.mark.parametrize("argv", [["version"], ["--version"], ["serve", "--version"]])
    def test_the_first_line_of_the_versions_is_that_of_etcd(
        self, argv: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(argv) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "etcd Version: 3.7.1"
        assert lines[1].startswith("kvstore Version: ")
        assert len(lines) == 4

    def test_the_version_printed_is_the_version_served(self) -> None:
        assert ETCD_VERSION == API_VERSION

    @pytest.mark.parametrize("argv", [["--help"], ["-h"], ["help"]])
    def test_help_names_the_commands(
        self, argv: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(argv) == 0
        out, err = capsys.readouterr()
        assert {"serve", "check", "version"} <= {
            line.split()[0] for line in out.split("\n") if line
        }
        assert err == ""

    def test_no_command_is_bad_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("Usage: kvstore")

    def test_an_unknown_command_is_bad_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["put"]) == 2
        assert capsys.readouterr().err.startswith('kvstore: "put" is not a command')

    def test_the_name_etcd_means_serve(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["/usr/local/bin/etcd", "--help"])
        assert main() == 0
        assert "\n  --unsafe-no-fsync" in capsys.readouterr().out

    @pytest.mark.slow
    def test_the_versions_load_no_server(self) -> None:
        code = (
            "import sys; from kvstore.cli.main import main; main(['version']);"
            "sys.exit(any(m.startswith(('grpc', 'google', 'lmdb', 'kvstore.server'))"
            " for m in sys.modules))"
        )
        root = str(Path(__file__).parents[2])
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr

    @pytest.mark.slow
    def test_the_package_can_be_run(self) -> None:
        environment = {key: os.environ[key] for key in os.environ if not key.startswith("ETCD_")}
        done = subprocess.run(
            [sys.executable, "-m", "kvstore", "serve", "--bogus"],
            cwd=str(Path(__file__).parents[2]),
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.splitlines()[0] == ("kvstore: flag provided but not defined: -bogus")
