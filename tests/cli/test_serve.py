"""`kvstore serve` hands a checked configuration to the server, or says in a line why not."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from kvstore.cli.main import main
from kvstore.errors import DirectoryLocked
from kvstore.server.config import Config, ConfigError

Run = Callable[[Config], int]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ETCD_NAME", "ETCD_CONFIG_FILE", "ETCD_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")


@pytest.fixture
def serve_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], None]:
    """Puts a function in the place of the server."""

    def install(run: Run) -> None:
        app = ModuleType("kvstore.server.app")
        app.run = run  # type: ignore[attr-defined]  # a module made here
        monkeypatch.setitem(sys.modules, "kvstore.server.app", app)

    return install


class TestServe:
    def test_the_configuration_goes_to_the_server_and_its_code_comes_back(
        self, serve_with: Callable[[Run], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Config] = []

        def run(config: Config) -> int:
            seen.append(config)
            return 7

        serve_with(run)
        monkeypatch.setenv("ETCD_NAME", "from-environment")
        assert main(["serve", "--in-memory"]) == 7
        assert (seen[0].name, seen[0].in_memory) == ("from-environment", True)

    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (ConfigError("open c: no such file"), "open c: no such file"),
            (DirectoryLocked(), "the data directory is in use by another process"),
            (OSError(98, "Address in use"), "Address in use"),
            (PermissionError(13, "Permission denied", "/d"), "/d: Permission denied"),
            (OSError("two\nlines"), "two lines"),
            (OSError(), "OSError"),
        ],
    )
    def test_a_server_that_cannot_start_says_so_in_one_line(
        self,
        serve_with: Callable[[Run], None],
        capsys: pytest.CaptureFixture[str],
        error: Exception,
        line: str,
    ) -> None:
        def run(config: Config) -> int:
            raise error

        serve_with(run)
        assert main(["serve"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err == f"kvstore: {line}\n"

    def test_a_configuration_that_cannot_be_used_is_one_line(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["serve", "foo"]) == 1
        assert capsys.readouterr() == ("", 'kvstore: "foo" is not a valid flag\n')

    def test_a_line_that_cannot_be_read_shows_the_usage(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["serve", "--bogus"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("kvstore: flag provided but not defined: -bogus\nUsage:\n")

    @pytest.mark.parametrize("argv", [["-h"], ["--help"]])
    def test_help_has_a_line_that_programs_look_for(
        self, argv: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["serve", *argv]) == 0
        out, err = capsys.readouterr()
        assert re.search(r"^\s*--unsafe-no-fsync\b", out, re.MULTILINE)
        assert err == ""
