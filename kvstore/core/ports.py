"""What the pure core asks of the outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["RecordReader"]


class RecordReader(Protocol):
    """Durable records and rows, seen from a snapshot that moves only when the engine publishes."""

    def get(self, packed: int) -> bytes:
        """The record of one packed revision, which must exist. Raises CorruptStore."""
        ...

    def get_many(self, packed: Sequence[int]) -> list[bytes]:
        """The records of packed revisions, in the order asked for; all must exist."""
        ...

    def get_checked(self, packed: Sequence[int]) -> list[bytes]:
        """As `get_many`, each looked at for damage, which `get_many` does for one record only.

        Raises CorruptStore.
        """
        ...

    def scan(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        """At most `limit` (packed revision, record), ascending from `first` on.

        Raises CorruptStore.
        """
        ...

    def lease_ttl_s(self, lease_id: int) -> int | None:
        """The granted TTL of a durable lease; None when there is none."""
        ...
