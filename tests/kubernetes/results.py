"""What the proofs measured, kept in `.cache/kubernetes-results.json` and printed at their end.

The file is a dict by the name of the measurement; a later run replaces the measurements that it
made. Nothing asserts them tightly: they depend on the machine and on what else runs on it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "record", "recorded"]

RESULTS = Path(__file__).parents[2] / ".cache" / "kubernetes-results.json"

_made: dict[str, Any] = {}


def record(name: str, value: Any) -> None:
    """Keep `value`, of JSON's types, as the measurement `name`."""
    _made[name] = value
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**known, name: value}, indent=2, sort_keys=True) + "\n")


def recorded() -> dict[str, Any]:
    """The measurements of this process."""
    return dict(_made)
