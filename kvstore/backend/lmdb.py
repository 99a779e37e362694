"""The LMDB backend; the only importer of lmdb.

A directory holds `data.lmdb` (and LMDB's own lock file) and `LOCK`, which one process holds for as
long as it has the store open: LMDB itself would let two processes write by turns, but watches,
leases and revisions need one owner.

Log and lease rows have a table each; meta rows live in LMDB's main table, whose root page every
commit writes anyway. Log keys only grow, so a commit touches few pages.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from kvstore.backend.interface import (
    BackendError,
    BackendFull,
    CommitUncertain,
    MapFull,
    Row,
    Table,
    WriteBatch,
)
from kvstore.backend.journal.disk import OUT_OF_SPACE
from kvstore.errors import CorruptStore, DirectoryLocked, OpenError, StoreError
from kvstore.limits import CHECKPOINT_SLICE_ROWS, MAP_SIZE_BYTES

__all__ = ["DATA_FILE", "LOCK_FILE", "LmdbBackend", "LmdbSnapshot"]

DATA_FILE = "data.lmdb"
LOCK_FILE = "LOCK"
_PROBE_BYTES = 1 << 20
T = TypeVar("T")


class LmdbBackend:
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fsync: bool = True,
        create: bool = True,
        map_size_bytes: int = MAP_SIZE_BYTES,
    ) -> None:
        """Open a directory, made with mode 0700 when it is not there.

        Without `fsync` a commit survives the end of the process but not of the machine, which may
        leave the file unreadable. Raises OpenError, DirectoryLocked, CorruptStore.
        """
        self.is_fast = not fsync
        self._dir, self._fsync = Path(path), fsync
        self._pid = os.getpid()
        if not create and not (self._dir / DATA_FILE).exists():
            raise OpenError(f"{self._dir} holds no store: there is no {DATA_FILE} in it")
        try:
            self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(self._dir)
        except OSError as error:
            raise OpenError(f"cannot use data directory {self._dir}: {error.strerror}") from error
        size = (self._dir / DATA_FILE).stat().st_size if self._exists() else 0
        self._map_size_bytes = max(map_size_bytes, 2 * size)
        try:
            self._open()
        except BaseException:
            self._lock.close()
            raise

    def __repr__(self) -> str:
        return f"LmdbBackend({str(self._dir)!r}, fsync={self._fsync}, map={self._map_size_bytes})"

    def _exists(self) -> bool:
        return (self._dir / DATA_FILE).exists()

    def _open(self) -> None:
        file = self._dir / DATA_FILE
        try:
            self._env = lmdb.open(
                str(file),
                map_size=self._map_size_bytes,
                subdir=False,
                max_dbs=4,
                max_readers=16,
                max_spare_txns=2,
                mode=0o600,
                sync=self._fsync,
                metasync=self._fsync,
                readahead=False,
            )
            self._tables: dict[Table, Any] = {
                Table.LOG: self._env.open_db(Table.LOG.value),
                Table.LEASE: self._env.open_db(Table.LEASE.value),
                Table.META: None,
            }
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as error:
            raise CorruptStore(f"{file} is not a usable LMDB file: {error}") from error
        except lmdb.Error as error:
            raise OpenError(f"cannot open {file}: {error}") from error

    def snapshot(self) -> LmdbSnapshot:
        return LmdbSnapshot(self._env, self._tables)

    def commit(self, batch: WriteBatch) -> None:
        before = self._env.info()["last_txnid"]
        try:
            with self._env.begin(write=True) as txn:
                self._write(txn, batch)
        except lmdb.Error as error:
            size_bytes = sum(len(value) for _, value in batch.appends)
            raise self._failure(error, before, size_bytes) from error

    rewrite = commit

    def move(
        self,
        appends: Mapping[bytes, bytes],
        puts: Iterable[tuple[Table, bytes, bytes]],
        deletes: Iterable[tuple[Table, bytes]],
        pause: Callable[[], None],
    ) -> None:
        """A large commit, `appends` ascending; `pause` is called after each slice of rows.

        py-lmdb gives up the interpreter at each row and waits for it again, so that a long run of
        them keeps an event loop from its work. Durable on return. Raises as `commit`.
        """
        before = self._env.info()["last_txnid"]
        try:
            with self._env.begin(write=True) as txn:
                for some in _slices(deletes):
                    for table, key in some:
                        txn.delete(key, db=self._tables[table])
                    pause()
                for rows in _slices(appends.items()):
                    self._append(txn, rows)
                    pause()
                for table, key, value in puts:
                    txn.put(key, value, db=self._tables[table])
        except lmdb.Error as error:
            raise self._failure(error, before, sum(map(len, appends.values()))) from error

    def _failure(self, error: lmdb.Error, last_transaction: int, size_bytes: int) -> StoreError:
        """What to raise for a failed transaction with so many bytes of records."""
        if isinstance(error, lmdb.MapFullError):
            return MapFull()
        if self._is_untouched(last_transaction) and self._is_out_of_space(size_bytes):
            return BackendFull(f"the disk is full: {error}")
        return CommitUncertain(f"the outcome of a commit is unknown: {error}")

    def _is_untouched(self, last_transaction: int) -> bool:
        """Did a failed commit certainly end before LMDB wrote its meta page?

        A failure at the meta page makes LMDB refuse every further transaction.
        """
        try:
            self._env.begin(write=True).abort()
        except lmdb.Error:
            return False
        return bool(self._env.info()["last_txnid"] == last_transaction)

    def _is_out_of_space(self, size_bytes: int) -> bool:
        """Is there no room to grow the file? LMDB says 'input/output error' of a short write."""
        file = os.open(self._dir / DATA_FILE, os.O_RDWR)
        try:
            os.posix_fallocate(file, os.fstat(file).st_size, max(2 * size_bytes, _PROBE_BYTES))
        except OSError as error:
            return error.errno in OUT_OF_SPACE
        finally:
            os.close(file)
        return False

    def _write(self, txn: Any, batch: WriteBatch) -> None:
        for table, key in batch.deletes:
            txn.delete(key, db=self._tables[table])
        if batch.appends:
            self._append(txn, batch.appends)
        for table, key, value in batch.puts:
            txn.put(key, value, db=self._tables[table])

    def _append(self, txn: Any, rows: Sequence[Row]) -> None:
        with txn.cursor(self._tables[Table.LOG]) as cursor:
            consumed, added = cursor.putmulti(rows, append=True)
        # An append that is out of order is passed over without an error.
        if not consumed == added == len(rows):
            raise BackendError(f"only {added} of {len(rows)} records were appended")

    def last_append(self) -> bytes:
        """The last key of the log; b"" when it is empty."""
        with self._env.begin() as txn, txn.cursor(self._tables[Table.LOG]) as cursor:
            return bytes(cursor.key()) if cursor.last() else b""

    def grow(self) -> None:
        self._map_size_bytes *= 2
        self._env.set_mapsize(self._map_size_bytes)

    def trim(self) -> None:
        self._env.close()
        self._open()

    def size_bytes(self) -> tuple[int, int]:
        info, stat = self._env.info(), self._env.stat()
        allocated = (info["last_pgno"] + 1) * stat["psize"]
        with self._env.begin() as txn:
            in_use = stat["psize"] * 2  # the two meta pages
            for table in (None, self._tables[Table.LOG], self._tables[Table.LEASE]):
                one = txn.stat(table) if table is not None else self._env.stat()
                in_use += one["psize"] * (
                    one["branch_pages"] + one["leaf_pages"] + one["overflow_pages"]
                )
        return allocated, in_use

    def close(self) -> None:
        self._env.close()
        if self._pid == os.getpid():
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # a forked child has the file open, too
        self._lock.close()


class LmdbSnapshot:
    """A read transaction, kept open until the next commit: a read is then one call into LMDB."""

    def __init__(self, env: Any, tables: dict[Table, Any]) -> None:
        self._env, self._tables = env, tables
        self._txn = env.begin()

    def get(self, table: Table, key: bytes) -> bytes | None:
        found: bytes | None = self._txn.get(key, None, self._tables[table])
        return found

    def log_reader(self) -> Callable[[bytes], bytes | None]:
        """`get` of the log for the many: one call, no Python in it. Until the next `refresh`."""
        return partial(self._txn.get, db=self._tables[Table.LOG])

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes]:
        with self._txn.cursor(self._tables[table]) as cursor:
            rows = cursor.getmulti(keys)
        if len(rows) != len(keys):
            raise BackendError(f"{len(keys) - len(rows)} of {len(keys)} rows are missing")
        return [value for _, value in rows]

    def scan(self, table: Table, first: bytes, limit: int) -> list[Row]:
        with self._txn.cursor(self._tables[table]) as cursor:
            if not cursor.set_range(first):
                return []
            return [row for row, _ in zip(cursor.iternext(), range(limit), strict=False)]

    def rows(self, table: Table) -> Iterator[Row]:
        with self._txn.cursor(self._tables[table]) as cursor:
            yield from cursor.iternext()

    def refresh(self) -> None:
        self._txn.abort()
        self._txn = self._env.begin()  # a spare one: about a microsecond

    def close(self) -> None:
        self._txn.abort()


def _slices(rows: Iterable[T]) -> Iterator[list[T]]:
    left = iter(rows)
    while some := list(islice(left, CHECKPOINT_SLICE_ROWS)):
        yield some


def _lock(directory: Path) -> Any:
    """Take the directory for this process; released when the file is closed, or by the kernel."""
    file = open(directory / LOCK_FILE, "a+")  # noqa: SIM115  # held for the life of the backend
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        if holder == str(os.getpid()):
            raise DirectoryLocked(
                f"{directory} is open in this process already: close that store, or share it"
            ) from None
        by = f" (process {holder})" if holder else ""
        raise DirectoryLocked(f"{directory} is in use by another process{by}") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
