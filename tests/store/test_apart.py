"""A check in a process of its own: whatever ends that is a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import kvstore
from kvstore.store.apart import CheckFailed, check_apart


@pytest.fixture
def directory(tmp_path: Path) -> str:
    with kvstore.open(tmp_path / "data") as db:
        db.put("a", "1")
    return str(tmp_path / "data")


def test_a_sound_directory_has_nothing_wrong(directory: str) -> None:
    assert check_apart(directory) == []


def test_damage_is_told_page_by_page(directory: str) -> None:
    os.truncate(f"{directory}/data.lmdb", 3 * 4096)
    wrong = check_apart(directory)
    assert len(wrong) > 1
    assert all(each.startswith(f"{directory}/data.lmdb is damaged: ") for each in wrong)


def test_a_directory_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match=r"there is no data\.lmdb in it"):
        check_apart(str(tmp_path))


def test_a_directory_in_use(directory: str) -> None:
    with kvstore.open(directory), pytest.raises(CheckFailed, match="in use by another process"):
        check_apart(directory)


@pytest.mark.parametrize("name", ["SIGBUS", "SIGSEGV", "SIGABRT"])
def test_the_signal_that_ended_it_is_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    code = (
        'import os; print(\'{"step": "reading the table of records"}\', flush=True);'
        f"os.kill(os.getpid(), {int(signal.Signals[name])})"
    )
    real = subprocess.run

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        return real([sys.executable, "-c", code], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(subprocess, "run", run)
    assert check_apart("DIR") == [
        f"DIR is damaged: LMDB ended with {name} while reading the table of records"
    ]


def test_another_end_is_told_with_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert check_apart("DIR") == [
        "DIR cannot be checked: the check ended with 1 while starting: no message"
    ]
