"""What was committed and is not in LMDB yet, laid over what is.

The backend keeps a *memtable* for each piece of the journal that one checkpoint moves:
none or one that is being moved, and the newest, which grows. A snapshot has its own dicts of them,
a *layer* for each memtable, and moves only with `refresh`: so a snapshot is a consistent view, and
one that is never refreshed keeps what it saw.

A memtable leaves the tuple of the backend after LMDB has it, and a snapshot begins its LMDB
transaction between two looks at the same tuple: what is in no layer is then in LMDB. What is in
both is the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol

from kvstore.backend.interface import BackendError, Row, Table, WriteBatch
from kvstore.backend.journal.segment import Position
from kvstore.backend.lmdb import READ_ERRORS, LmdbSnapshot

__all__ = ["Memtable", "Merged", "OverlaySnapshot"]

_LOG = Table.LOG
_ABSENT = object()
Rows = dict[bytes, bytes | None]
"""None: deleted."""


class Merged:
    """A memtable as one commit: records that it both added and dropped are left out."""

    __slots__ = ("appends", "deletes", "puts")

    def __init__(
        self,
        appends: dict[bytes, bytes],
        puts: list[tuple[Table, bytes, bytes]],
        deletes: list[tuple[Table, bytes]],
    ) -> None:
        self.appends, self.puts, self.deletes = appends, puts, deletes


class Memtable:
    """What a run of commits wrote, flat. The committing thread adds, others read up to `end`.

    Lists of bytes and not of batches, since the garbage collector walks over every container that
    lives for long: a hundred thousand of them are a pause of a tenth of a second.
    """

    __slots__ = ("_others", "dropped", "end", "keys", "last", "records", "size_bytes")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        """Of the appended records, ascending."""
        self.records: list[bytes] = []
        self.dropped: list[bytes] = []
        """Keys of records; a record that was dropped never comes again."""
        self._others: list[Table | bytes | None] = []
        self.end = (0, 0, 0)
        """How much of the three lists is committed."""
        self.size_bytes = 0
        self.last: Position | None = None
        """Of the last commit; None: it is empty."""

    def __repr__(self) -> str:
        return f"Memtable({len(self.keys)} records, {self.size_bytes} bytes)"

    def add(self, batch: WriteBatch, size_bytes: int, position: Position) -> None:
        for table, key in batch.deletes:
            if table is _LOG:
                self.dropped.append(key)
            else:
                self._others += (table, key, None)
        for key, record in batch.appends:
            self.keys.append(key)
            self.records.append(record)
        for row in batch.puts:
            self._others += row
        self.size_bytes += size_bytes
        self.last = position
        self.end = (len(self.keys), len(self.dropped), len(self._others))

    def others(self, begin: int, end: int) -> Iterator[tuple[Table, bytes, bytes | None]]:
        """Rows of the other tables in the order of their commits; None: deleted."""
        flat: Any = self._others
        return zip(
            flat[begin:end:3], flat[begin + 1 : end : 3], flat[begin + 2 : end : 3], strict=True
        )

    def merged(self) -> Merged:
        """All of it; not while it grows."""
        log = dict(zip(self.keys, self.records, strict=True))
        deletes = [(_LOG, key) for key in self.dropped if log.pop(key, None) is None]
        rows = {(table, key): value for table, key, value in self.others(0, len(self._others))}
        puts = [(*row, value) for row, value in rows.items() if value is not None]
        return Merged(log, puts, deletes + [row for row, value in rows.items() if value is None])


if TYPE_CHECKING:  # nobody makes one

    class MemtableOwner(Protocol):
        @property
        def memtables(self) -> tuple[Memtable, ...]:
            """Oldest first."""
            ...


class _Layer:
    """A snapshot's view of one memtable: its rows up to an end."""

    __slots__ = ("_end", "log", "memtable", "others")

    def __init__(self, memtable: Memtable) -> None:
        self.memtable = memtable
        self.log: Rows = {}
        self.others: dict[Table, Rows] = {Table.LEASE: {}, Table.META: {}}
        self._end = (0, 0, 0)

    def catch_up(self) -> None:
        memtable, log = self.memtable, self.log
        (keys, dropped, others), end = self._end, memtable.end
        if end == self._end:
            return
        log.update(zip(memtable.keys[keys : end[0]], memtable.records[keys : end[0]], strict=True))
        if dropped < end[1]:
            log.update(dict.fromkeys(memtable.dropped[dropped : end[1]]))
        for table, key, value in memtable.others(others, end[2]):
            self.others[table][key] = value
        self._end = end

    @property
    def first(self) -> bytes | None:
        """The first key that it appended."""
        return self.memtable.keys[0] if self._end[0] else None

    def appended(self, first: bytes) -> Iterator[bytes]:
        """The keys of the appends in view from one on, ascending; some may be deleted again."""
        keys, end = self.memtable.keys, self._end[0]
        return islice(keys, bisect_left(keys, first, 0, end), end)


class OverlaySnapshot:
    def __init__(self, owner: MemtableOwner, lmdb: LmdbSnapshot) -> None:
        """Takes over `lmdb`, a snapshot of what the checkpoints wrote."""
        self._owner, self._lmdb = owner, lmdb
        self._memtables: tuple[Memtable, ...] = ()
        self._layers: list[_Layer] = []
        self._renew()

    def __repr__(self) -> str:
        return f"OverlaySnapshot({list(self._memtables)})"

    def get(self, table: Table, key: bytes) -> bytes | None:
        if table is _LOG:
            for log in self._logs:
                found = log.get(key, _ABSENT)
                if found is not _ABSENT:
                    return found  # type: ignore[return-value]  # the sentinel is out
            try:
                return self._read_log(key)
            except READ_ERRORS as error:
                raise self._lmdb.damaged(error) from error
        for layer in reversed(self._layers):
            rows = layer.others[table]
            if key in rows:
                return rows[key]
        return self._lmdb.get(table, key)

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes]:
        if table is _LOG and all(not log or log.keys().isdisjoint(keys) for log in self._logs):
            return self._lmdb.get_many(table, keys)
        rows: dict[bytes, bytes | None] = {}
        for layer in self._layers:
            over = layer.log if table is _LOG else layer.others[table]
            rows.update((key, over[key]) for key in keys if key in over)
        below = [key for key in keys if key not in rows]
        rows.update(zip(below, self._lmdb.get_many(table, below), strict=True))
        found = [rows[key] for key in keys]
        missing = found.count(None)
        if missing:
            raise BackendError(f"{missing} of {len(keys)} rows are missing")
        return found  # type: ignore[return-value]  # None was counted

    def scan(self, table: Table, first: bytes, limit: int) -> list[Row]:
        if table is not _LOG:
            return list(islice((row for row in self._other_rows(table) if row[0] >= first), limit))
        border = self._border()
        rows: list[Row] = []
        while border is None or first < border:
            some = self._lmdb.scan(table, first, limit - len(rows))
            rows += self._below(some, border)
            if len(rows) >= limit or not some:
                break
            first = some[-1][0] + b"\0"
        return rows + list(islice(self._added(first), limit - len(rows)))

    def rows(self, table: Table) -> Iterator[Row]:
        if table is not _LOG:
            return self._other_rows(table)
        return chain(self._below(self._lmdb.rows(table), self._border()), self._added(b""))

    def refresh(self) -> None:
        if self._owner.memtables is not self._memtables:
            self._renew()
        elif self._layers:
            self._layers[-1].catch_up()

    def close(self) -> None:
        self._lmdb.close()

    def _renew(self) -> None:
        while True:
            memtables = self._owner.memtables
            self._lmdb.refresh()
            if self._owner.memtables is memtables:
                break
        known = {id(layer.memtable): layer for layer in self._layers}
        self._layers = [known.get(id(each)) or _Layer(each) for each in memtables]
        self._read_log = self._lmdb.log_reader()
        for layer in self._layers:
            layer.catch_up()
        # The newest first, as a read asks them.
        self._logs = tuple(layer.log for layer in reversed(self._layers))
        self._memtables = memtables  # last: until then a refresh begins anew

    # -- the log: keys only grow, so what a memtable added is behind all that came before it -------

    def _border(self) -> bytes | None:
        """The first key that a layer added: LMDB's rows count below it, the layers' from it on."""
        return next((layer.first for layer in self._layers if layer.first is not None), None)

    def _below(self, rows: Iterator[Row] | list[Row], border: bytes | None) -> Iterator[Row]:
        logs = self._logs
        for row in rows:
            if border is not None and row[0] >= border:
                return
            if not any(row[0] in log for log in logs):
                yield row

    def _added(self, first: bytes) -> Iterator[Row]:
        for number, layer in enumerate(self._layers):
            later = [each.log for each in self._layers[number + 1 :]]
            for key in layer.appended(first):
                value = layer.log[key]
                if value is not None and not any(key in log for log in later):
                    yield key, value

    def _other_rows(self, table: Table) -> Iterator[Row]:
        """Of a small table: put together at once."""
        rows: Rows = dict(self._lmdb.rows(table))
        for layer in self._layers:
            rows.update(layer.others[table])
        return ((key, value) for key, value in sorted(rows.items()) if value is not None)
