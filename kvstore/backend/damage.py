"""How damage is told: where it is, and what its owner can do."""

from __future__ import annotations

import os
import struct
from typing import Final

from kvstore.errors import CorruptStore

__all__ = ["UNREADABLE", "damaged"]

UNREADABLE: Final = (ArithmeticError, LookupError, TypeError, ValueError, struct.error)
"""What decoders raise for bytes that nobody wrote; msgpack's errors are ValueErrors."""
_ADVICE: Final = "Restore a copy of the directory"


def damaged(what: object, directory: str | os.PathLike[str] = "DIR") -> CorruptStore:
    """The error for a directory in which `what` was found; with what to do, said once."""
    if isinstance(what, CorruptStore) and _ADVICE in str(what):
        return what
    return CorruptStore(
        f"{what}. {_ADVICE}, or take out what is whole with "
        f"'kvstore salvage {os.fspath(directory)} NEWDIR'"
    )
