"""What is said of a damaged record."""

from __future__ import annotations

from kvstore.core.mvcc.revision import unpack
from kvstore.errors import CorruptStore

__all__ = ["damaged_record"]


def damaged_record(packed: int) -> CorruptStore:
    """The error for a record whose bytes are not those that were written."""
    main, sub, _ = unpack(packed)
    return CorruptStore(
        f"the record of revision {main}.{sub} is damaged: its checksum is wrong. What was written "
        "at this revision cannot be read; `kvstore check` says what else is damaged"
    )
