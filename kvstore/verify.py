"""Invariants: what must hold, checked always; costly ones only with KVSTORE_VERIFY=1."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["VERIFY", "InvariantBroken", "invariant"]

VERIFY: Final = os.environ.get("KVSTORE_VERIFY") == "1"


class InvariantBroken(AssertionError):
    """A bug of this package: something that cannot be, is."""


def invariant(condition: object, message: str, **values: object) -> None:
    """Raise InvariantBroken with `message` and the values unless `condition` is true."""
    if not condition:
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise InvariantBroken(f"{message} ({shown})" if shown else message)
