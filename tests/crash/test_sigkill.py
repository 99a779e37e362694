"""Kill the process in the middle of everything, reopen, and hold the store to what it promised.

KVSTORE_CRASH_ROUNDS sets the rounds, KVSTORE_CRASH_SEED where the seeds begin.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from kvstore.backend import open_backend
from kvstore.store.checker import check_directory
from kvstore.store.threads import ThreadStore
from tests.crash.judge import Judge
from tests.crash.workload import Acknowledged

ROUNDS = int(os.environ.get("KVSTORE_CRASH_ROUNDS", "30"))
SEED = int(os.environ.get("KVSTORE_CRASH_SEED", "1"))
ROOT = Path(__file__).parents[2]


def crash_round(directory: Path, seed: int) -> list[Acknowledged]:
    """Let the writers run until a random number of answers has come, then SIGKILL.

    Returns everything that was acknowledged, also what came before the kill took effect.
    """
    answers = Random(seed).choice((0, 1, 20, 100, 200, 400))
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.writer", str(directory), str(seed)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout is not None
    told: list[Acknowledged] = []
    with child, child.stdout as lines:
        try:
            assert next(lines, b"") == b"open\n"
            while len(told) < answers:
                told.append(parse(next(lines, b"! the writer ended by itself")))
        finally:
            child.kill()
        told += [parse(line) for line in lines]
    return told


def parse(line: bytes) -> Acknowledged:
    assert not line.startswith(b"!"), line.decode()
    return Acknowledged.parse(line)


class TestKill:
    @pytest.mark.slow
    def test_nothing_acknowledged_is_lost_however_often_the_process_is_killed(
        self, tmp_path: Path
    ) -> None:
        judge = Judge()
        for seed in range(SEED, SEED + ROUNDS):
            told = crash_round(tmp_path, seed)
            assert check_directory(str(tmp_path)) == [], f"seed {seed}"
            store = ThreadStore.open(open_backend(tmp_path))
            try:
                assert judge.judge(store, told) == [], f"seed {seed}"
            finally:
                store.close()
        assert check_directory(str(tmp_path)) == []
