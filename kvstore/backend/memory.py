"""A backend in RAM: the readable reference, for `:memory:` stores and tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sortedcontainers import SortedDict

from kvstore.backend.interface import BackendError, Row, Table, WriteBatch

__all__ = ["MemoryBackend"]


class MemoryBackend:
    """Survives `close`, so that a test can open what was left."""

    is_fast = True

    def __init__(self) -> None:
        self._tables: dict[Table, SortedDict] = {table: SortedDict() for table in Table}
        self._size_bytes = 0
        self._unfinished: WriteBatch | None = None

    def __repr__(self) -> str:
        return f"MemoryBackend({len(self._tables[Table.LOG])} records)"

    def snapshot(self) -> MemorySnapshot:
        return MemorySnapshot(self._tables)

    def commit(self, batch: WriteBatch) -> None:
        log = self._tables[Table.LOG]
        if batch.appends and log and batch.appends[0][0] <= log.keys()[-1]:
            raise BackendError("an append is not behind the end of the log")
        self._unfinished = batch
        self._apply(batch)
        self._unfinished = None

    def _apply(self, batch: WriteBatch) -> None:
        """May be done again, but for the size."""
        for table, key in batch.deletes:
            self._size_bytes -= len(key) + len(self._tables[table].pop(key, b""))
        for table, key, value in (*((Table.LOG, *row) for row in batch.appends), *batch.puts):
            self._size_bytes += len(key) + len(value)
            self._tables[table][key] = value

    rewrite = commit

    def mend(self) -> None:
        """The dict of a SortedDict is whole whatever happens, its order is made anew."""
        if self._unfinished is None:
            return
        for rows in self._tables.values():
            whole = dict(dict.items(rows))
            rows.clear()
            rows.update(whole)
        self._apply(self._unfinished)
        tables = self._tables.values()
        self._size_bytes = sum(len(k) + len(v) for rows in tables for k, v in rows.items())
        self._unfinished = None

    def grow(self) -> None:
        return

    def trim(self) -> None:
        return

    def size_bytes(self) -> tuple[int, int]:
        return self._size_bytes, self._size_bytes

    def close(self) -> None:
        return


class MemorySnapshot:
    """Sees commits at once: the engine never asks for what it has not published."""

    def __init__(self, tables: dict[Table, SortedDict]) -> None:
        self._tables = tables

    def get(self, table: Table, key: bytes) -> bytes | None:
        found: bytes | None = self._tables[table].get(key)
        return found

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes]:
        rows = self._tables[table]
        try:
            return [rows[key] for key in keys]
        except KeyError as error:
            raise BackendError(f"row {error} is missing") from None

    def scan(self, table: Table, first: bytes, limit: int) -> list[Row]:
        rows = self._tables[table]
        found = rows.irange(minimum=first)
        return [(key, rows[key]) for key, _ in zip(found, range(limit), strict=False)]

    def rows(self, table: Table) -> Iterator[Row]:
        return iter(self._tables[table].items())

    def refresh(self) -> None:
        return

    def close(self) -> None:
        return
