"""`kvstore salvage DIR NEWDIR`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import kvstore
from kvstore.cli.main import main


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    with kvstore.open(tmp_path / "data") as db:
        for number in range(300):
            db.put(f'k"{number}', b"v" * 100)
    return tmp_path / "data"


def lose_a_page(directory: Path) -> None:
    """Of the data file, and all of the journal."""
    file = directory / "data.lmdb"
    at = file.read_bytes().index(b'k"100') // 4096 * 4096
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(bytes(4096))
    for segment in directory.glob("s*-0*"):
        segment.unlink()


def test_nothing_is_missing(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["salvage", str(directory), str(tmp_path / "new")]) == 0
    assert capsys.readouterr() == (
        f"{tmp_path}/new: revision 301, 300 keys, 300 records, 0 leases, "
        "history from revision 2 on\nnothing is missing\n",
        "",
    )
    assert main(["check", str(tmp_path / "new")]) == 0


def test_something_is_missing(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lose_a_page(directory)
    assert main(["salvage", str(directory), str(tmp_path / "new")]) == 3
    out, err = capsys.readouterr()
    assert "\nmissing: log: page " in out
    assert '\nuncertain: "k\\"0" is as it was at revision 2\n' in out
    assert err.startswith("kvstore: something is missing; ")
    assert main(["check", str(tmp_path / "new")]) == 0


def test_damage_beside_a_loss_is_not_said_to_cost_nothing(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with kvstore.open(directory) as db:
        for number in range(300):
            db.put(f"later/{number}", b"v")
        shutil.copytree(directory, tmp_path / "killed")
    segment = min((tmp_path / "killed").glob("segment-*"))
    segment.unlink()
    segment.mkdir()
    assert main(["salvage", str(tmp_path / "killed"), str(tmp_path / "new")]) == 3
    out = capsys.readouterr().out
    assert "missing: " in out
    assert f"\ndamaged: {segment.name} cannot be read" in out


def test_a_directory_without_its_file_is_not_said_to_be_empty(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "data.lmdb").unlink()
    assert main(["check", str(directory)]) == 1
    said = capsys.readouterr()
    assert "data.lmdb is missing, and there is a journal beside it" in said.out + said.err
    assert "kvstore salvage" in said.out + said.err


def test_nothing_can_be_salvaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    assert main(["salvage", str(tmp_path / "data"), str(tmp_path / "new")]) == 1
    assert "there is nothing in" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_target_that_is_there(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["salvage", str(directory), str(directory)]) == 1
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["missing", "file"])
def test_no_directory(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["salvage", str(tmp_path / name), str(tmp_path / "new")]) == 1
    assert "directory" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["a"], ["a", "b", "c"], ["--all", "b"]])
def test_bad_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["salvage", *argv]) == 2
    assert capsys.readouterr().err == "kvstore: usage: kvstore salvage DIR NEWDIR\n"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["salvage", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: kvstore salvage DIR NEWDIR")
