"""What a backend is: ordered durable rows in a few tables, one writer, snapshots for reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Protocol

from kvstore.errors import StoreError

__all__ = [
    "Backend",
    "BackendError",
    "BackendFull",
    "BackendRefused",
    "CommitUncertain",
    "MapFull",
    "Row",
    "Snapshot",
    "Table",
    "WriteBatch",
]

Row = tuple[bytes, bytes]


class Table(Enum):
    __hash__ = object.__hash__  # Enum's is written in Python, and every read needs it

    LOG = b"log"
    LEASE = b"lease"
    META = b"meta"


class BackendError(StoreError):
    """The backend cannot do it; nothing was written."""

    message = "the backend failed"


class BackendRefused(BackendError):
    """The system refuses now what it may grant later; nothing was written."""

    message = "the system refused the write"


class BackendFull(BackendRefused):
    """The disk is full; nothing was written."""

    message = "the disk is full"


class MapFull(BackendError):
    """The memory map is full; nothing was written. Close snapshots, call `grow`, commit again."""

    message = "the memory map is full"


class CommitUncertain(StoreError):
    """The commit may or may not be on disk."""

    message = "the outcome of the commit is unknown"


class WriteBatch:
    """One commit. `appends` go to the end of the log, ascending; deletes come first."""

    __slots__ = ("appends", "deletes", "puts")

    def __init__(
        self,
        appends: Sequence[Row] = (),
        puts: Sequence[tuple[Table, bytes, bytes]] = (),
        deletes: Sequence[tuple[Table, bytes]] = (),
    ) -> None:
        self.appends, self.puts, self.deletes = appends, puts, deletes


class Snapshot(Protocol):
    """A consistent view. It moves only with `refresh`. One thread at a time."""

    def get(self, table: Table, key: bytes) -> bytes | None: ...
    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes]:
        """Values in the order of `keys`. Raises BackendError when one is missing."""
        ...

    def scan(self, table: Table, first: bytes, limit: int) -> list[Row]:
        """At most `limit` rows, ascending, from `first` on."""
        ...

    def rows(self, table: Table) -> Iterator[Row]:
        """All rows, ascending. The snapshot must stay until the iterator is done."""
        ...

    def refresh(self) -> None:
        """See what has been committed by now."""
        ...

    def close(self) -> None: ...


class Backend(Protocol):
    @property
    def is_fast(self) -> bool:
        """Does `commit` never wait for a disk? Then an event loop may call it itself."""
        ...

    def snapshot(self) -> Snapshot: ...
    def commit(self, batch: WriteBatch) -> None:
        """Durable on return. One thread at a time.

        Raises MapFull, BackendRefused, BackendFull (nothing was written), CommitUncertain.
        """
        ...

    def rewrite(self, batch: WriteBatch) -> None:
        """Commit what may also put over rows of the log; before the first `commit` of an opening.

        Raises as `commit`.
        """
        ...

    def mend(self) -> None:
        """An exception from outside (a signal handler's) came out of `commit`, of a fast backend.

        After it the batch was committed, or nothing of it.
        """
        ...

    def grow(self) -> None:
        """Make room after MapFull. No snapshot may be open. Raises BackendRefused."""
        ...

    def trim(self) -> None:
        """Give back memory that a long scan left mapped. No snapshot may be open."""
        ...

    def size_bytes(self) -> tuple[int, int]:
        """(allocated, in use)."""
        ...

    def close(self) -> None: ...
