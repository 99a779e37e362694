"""Damage of any kind is told, or does not matter: never a crash, never a false value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
