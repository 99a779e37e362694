"""How long fuzzers run: some seconds, or `KVSTORE_FUZZ_ROUNDS` times as long; and from where."""

from __future__ import annotations

import os

__all__ = ["ROUNDS", "SEED"]

ROUNDS = int(os.environ.get("KVSTORE_FUZZ_ROUNDS", "1"))
SEED = int(os.environ.get("KVSTORE_FUZZ_SEED", "1"))
