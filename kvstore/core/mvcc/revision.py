"""A revision as one sortable int and as the 12 bytes that are its key on disk.

    main: 64 bits                     sub: 31 bits      tombstone: 1 bit
    what the API calls revision       order within it   the write was a delete

The int is compared, stored in the index and packed big-endian as it is, so that byte order, int
order and time agree. The tombstone bit is part of the key (etcd appends a `t`) so that the index
can be rebuilt from keys alone; (main, sub) is unique without it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["REVISION_BYTES", "TOMBSTONE", "bound", "main_of", "pack", "to_bytes", "unpack"]

REVISION_BYTES: Final = 12
TOMBSTONE: Final = 1


def pack(main: int, sub: int, *, tombstone: bool = False) -> int:
    return main << 32 | sub << 1 | tombstone


def unpack(packed: int) -> tuple[int, int, bool]:
    """(main, sub, tombstone)."""
    return packed >> 32, (packed & 0xFFFFFFFF) >> 1, bool(packed & TOMBSTONE)


def main_of(packed: int) -> int:
    return packed >> 32


def bound(main: int) -> int:
    """The first packed revision above everything of revision `main`."""
    return (main + 1) << 32


def to_bytes(packed: int) -> bytes:
    return packed.to_bytes(REVISION_BYTES, "big")
