"""`kvstore check` says whether a directory is sound."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from kvstore.cli.main import main
from kvstore.errors import CorruptStore

Check = Callable[[str], list[str]]


@pytest.fixture
def check_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Check], None]:
    """Puts a function in the place of the checker."""

    def install(check: Check) -> None:
        checker = ModuleType("kvstore.store.apart")
        checker.check_apart = check  # type: ignore[attr-defined]  # a module made here
        monkeypatch.setitem(sys.modules, "kvstore.store.apart", checker)

    return install


class TestCheck:
    def test_a_sound_directory(
        self,
        check_with: Callable[[Check], None],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        check_with(lambda path: [])
        assert main(["check", str(tmp_path)]) == 0
        assert capsys.readouterr() == (f"ok: {tmp_path} is sound\n", "")

    def test_what_is_wrong_is_printed(
        self,
        check_with: Callable[[Check], None],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        check_with(lambda path: [f"{path} is odd", "so is the rest"])
        assert main(["check", str(tmp_path)]) == 1
        assert capsys.readouterr().out == f"{tmp_path} is odd\nso is the rest\n"

    def test_a_directory_that_cannot_be_opened(
        self,
        check_with: Callable[[Check], None],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def check(path: str) -> list[str]:
            raise CorruptStore("bad meta row")

        check_with(check)
        assert main(["check", str(tmp_path)]) == 1
        assert capsys.readouterr() == ("", "kvstore: bad meta row\n")

    def test_a_missing_directory(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "missing"
        assert main(["check", str(path)]) == 1
        assert capsys.readouterr() == ("", f"kvstore: {path}: no such directory\n")

    def test_a_file_is_no_directory(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "file"
        path.touch()
        assert main(["check", str(path)]) == 1
        assert capsys.readouterr() == ("", f"kvstore: {path}: not a directory\n")

    @pytest.mark.parametrize("argv", [[], ["a", "b"], ["--fast"]])
    def test_bad_usage(self, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", *argv]) == 2
        assert capsys.readouterr().err == "kvstore: usage: kvstore check DIR\n"

    def test_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", "--help"]) == 0
        assert capsys.readouterr().out.startswith("usage: kvstore check DIR")
