"""What is checked in is what the generator makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def generated_below(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted((root / "kvstore/proto").glob("*_pb2*"))
    }


class TestGenerate:
    def test_checked_in_modules_are_those_the_protos_give(self, tmp_path: Path) -> None:
        command = [sys.executable, str(ROOT / "protos/generate.py"), "--out", str(tmp_path)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout

        assert generated_below(tmp_path) == generated_below(ROOT)
        assert printed.split() == list(generated_below(ROOT))
