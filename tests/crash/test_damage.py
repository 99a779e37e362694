"""Damage of any kind is told, or does not matter: never a crash, never a false value."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import kvstore
from tests.crash.damaged import FINE

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("KVSTORE_DAMAGE_ROUNDS", "40"))
SEED = int(os.environ.get("KVSTORE_DAMAGE_SEED", "1"))


@pytest.mark.slow
def test_what_is_opened_is_true_and_what_is_not_is_told(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.crash.damaged", str(tmp_path), str(SEED), str(ROUNDS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    outcomes = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(outcomes) == ROUNDS
    bad = [
        (done, outcome)
        for done, outcome in outcomes
        if any(said not in FINE[what] for what, said in outcome.items())
        or (outcome["checked"] == "sound" and not outcome["opened"].startswith("true"))
        or (outcome["opened"] == "told" and outcome["salvaged"] == "true, older")
        or (outcome["checked"] == "sound" and not outcome["salvaged"].startswith("true"))
    ]
    assert bad == []
    said = {outcome["opened"] for _, outcome in outcomes}
    assert {"true", "told"} <= said, "some damage matters and some does not"


def test_an_opening_that_ends_by_a_signal_is_told_by_the_next(tmp_path: Path) -> None:
    """A length in a row is not looked at after a clean end, and some versions of LMDB follow it."""
    path = tmp_path / "data"
    with kvstore.open(path) as db:
        for number in range(100):
            db.put(f"k{number:03}", b"v" * 100)
    _make_endless(path / "data.lmdb", b"k050")
    first = opening(path)
    assert first.returncode in (-signal.SIGSEGV, -signal.SIGBUS) or is_told(first)
    (path / "LOCK").write_text("1234")  # as the signal leaves it
    second = opening(path)
    assert is_told(second)
    assert "has a row that does not end in it" in second.stderr
    assert (path / "LOCK").read_text() != "", "the one after that looks as closely"


def opening(path: Path) -> subprocess.CompletedProcess[str]:
    code = f"import kvstore\nkvstore.open({str(path)!r})"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def is_told(run: subprocess.CompletedProcess[str]) -> bool:
    return run.returncode == 1 and "CorruptStore" in run.stderr and "kvstore salvage" in run.stderr


def _make_endless(file: Path, key: bytes) -> None:
    """Give the row of a record, in each copy of its page, a length of two gigabytes."""
    data = bytearray(file.read_bytes())
    at = data.find(key)
    while at >= 0:
        row = data.rfind(b"\0\0\x0c\0", 0, at) - 4  # flags 0, 12 bytes of key
        data[row + 3] = 0x7F
        at = data.find(key, at + 1)
    file.write_bytes(data)
