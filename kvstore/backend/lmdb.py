"""The LMDB backend; the only importer of lmdb.

A directory holds `data.lmdb` (and LMDB's own lock file) and `LOCK`, which one process holds for as
long as it has the store open: LMDB itself would let two processes write by turns, but watches,
leases and revisions need one owner.

`data.lmdb` gets its name when it is whole: a first opening that is cut short leaves a file of
another name, which the next one removes. LMDB believes what it maps, so the file is looked at
before LMDB sees it, at each opening, and in full when the last process ended without closing it.

Log and lease rows have a table each; meta rows live in LMDB's main table, whose root page every
commit writes anyway. Log keys only grow, so a commit touches few pages.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from mmap import MAP_PRIVATE, PROT_READ, mmap
from typing import Any, TypeVar

import lmdb

from kvstore.backend.damage import damaged
from kvstore.backend.directory import (
    LOCK_FILE,
    DirectoryLock,
    StrPath,
    make_directory,
    make_file,
    parent,
    plain,
    sync_path,
)
from kvstore.backend.interface import (
    BackendError,
    BackendFull,
    BackendRefused,
    CommitUncertain,
    MapFull,
    Row,
    Table,
    WriteBatch,
)
from kvstore.backend.journal.disk import OUT_OF_SPACE
from kvstore.backend.journal.legacy import FORMAT_2
from kvstore.backend.journal.segment import CURRENT, spare_number
from kvstore.backend.pages import PageDamage, PageFile
from kvstore.backend.survey import glance, survey
from kvstore.errors import CorruptStore, OpenError, StoreClosed, StoreError
from kvstore.limits import CHECKPOINT_SLICE_ROWS, MAP_SIZE_BYTES

__all__ = [
    "DATA_FILE",
    "LOCK_FILE",
    "NEW_FILE",
    "READ_ERRORS",
    "LmdbBackend",
    "LmdbSnapshot",
    "look",
]

DATA_FILE = "data.lmdb"
NEW_FILE = "data.lmdb.new"
"""The data file while it is being made."""
_MAP_LOCK_FILE = f"{DATA_FILE}-lock"
_PROBE_BYTES = 1 << 20
_FORKED = "the store was opened in another process: open it anew after a fork"
READ_ERRORS = (lmdb.Error,)
_BROKEN = (
    lmdb.PanicError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.BadTxnError,
)
"""What does not pass by itself."""
T = TypeVar("T")


class LmdbBackend:
    def __init__(
        self,
        path: StrPath,
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
        self._dir, self._fsync = plain(path), fsync
        self._pid = os.getpid()
        try:
            is_there = _size(os.path.join(self._dir, DATA_FILE)) is not None
            if not (create or is_there or _has_journal(self._dir)):  # which tells that it was there
                raise OpenError(f"{self._dir} holds no store: there is no {DATA_FILE} in it")
            make_directory(self._dir)
            self._lock = DirectoryLock(self._dir)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._prepare(map_size_bytes)
            self._open()
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            if not hasattr(self, "_env"):
                self._lock.release(is_clean=False)

    def __repr__(self) -> str:
        return f"LmdbBackend({self._dir!r}, fsync={self._fsync}, map={self._map_size_bytes})"

    def _unusable(self, error: OSError) -> OpenError:
        where = f"{error.filename}: " if error.filename not in (None, self._dir) else ""
        return OpenError(f"cannot use data directory {self._dir}: {where}{error.strerror or error}")

    def _prepare(self, map_size_bytes: int) -> None:
        """See that there is a file that LMDB can be trusted with. Raises as an opening, OSError."""
        file = os.path.join(self._dir, DATA_FILE)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._dir, NEW_FILE))
        size = _size(file)
        self._map_size_bytes = max(map_size_bytes, 2 * (size or 0))
        if size is None:
            if _has_journal(self._dir):
                raise damaged(f"{file} is missing, and there is a journal beside it", self._dir)
            self._make()
        else:
            for what in look(self._dir, is_thorough=self._lock.was_left):
                raise damaged(what, self._dir)
        if _size(os.path.join(self._dir, _MAP_LOCK_FILE)) is None:
            os.close(make_file(os.path.join(self._dir, _MAP_LOCK_FILE)))

    def _make(self) -> None:
        """The data file with its tables, on the disk before it has its name."""
        file, new = os.path.join(self._dir, DATA_FILE), os.path.join(self._dir, NEW_FILE)
        os.close(make_file(new))
        try:
            env = self._env_of(new, lock=False)
            try:
                for table in (Table.LOG, Table.LEASE):
                    env.open_db(table.value)
            finally:
                env.close()
            sync_path(new)
            os.rename(new, file)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(new)
            if isinstance(error, lmdb.Error):
                raise OpenError(f"cannot make {file}: {error}") from error
            raise
        sync_path(self._dir)
        sync_path(parent(self._dir))  # who made the directory may not have come to it

    def _env_of(self, file: str, *, lock: bool = True) -> Any:
        return lmdb.open(
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
            lock=lock,
        )

    def _open(self) -> None:
        file = os.path.join(self._dir, DATA_FILE)
        try:
            env = self._env_of(file)
            self._tables: dict[Table, Any] = {
                Table.LOG: env.open_db(Table.LOG.value),
                Table.LEASE: env.open_db(Table.LEASE.value),
                Table.META: None,
            }
            self._env = env
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as error:
            raise damaged(f"{file} is not a usable LMDB file: {error}", self._dir) from error
        except lmdb.Error as error:
            if "already open in this process" in str(error):
                raise OpenError(
                    f"{self._dir} was open in the process that this one was forked from: fork "
                    "before it is opened, or open it in a process that is not forked"
                ) from error
            raise OpenError(f"cannot open {file}: {error}") from error

    def check_process(self) -> None:
        """Raises StoreClosed in a forked child: its parent has the files, and this memory moves."""
        if self._pid != os.getpid():
            raise StoreClosed(_FORKED)

    def snapshot(self) -> LmdbSnapshot:
        """Raises CorruptStore."""
        self.check_process()
        return LmdbSnapshot(self._dir, self._env, self._tables)

    def commit(self, batch: WriteBatch) -> None:
        self.check_process()
        self._transact(
            lambda txn: self._write(txn, batch),
            lambda: sum(len(value) for _, value in batch.appends),
        )

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

        def write(txn: Any) -> None:
            for some in _slices(deletes):
                for table, key in some:
                    txn.delete(key, db=self._tables[table])
                pause()
            for rows in _slices(appends.items()):
                self._append(txn, rows)
                pause()
            for table, key, value in puts:
                txn.put(key, value, db=self._tables[table])

        self._transact(write, lambda: sum(map(len, appends.values())))

    def _transact(self, write: Callable[[Any], None], size_bytes: Callable[[], int]) -> None:
        """One transaction; `size_bytes` tells about how much it was to put, if it fails."""
        before, is_written = self._env.info()["last_txnid"], False
        try:
            with self._env.begin(write=True) as txn:
                write(txn)
                is_written = True
        except (lmdb.Error, MemoryError) as error:
            is_untouched = not is_written or self._is_untouched(before)
            raise self._failure(error, size_bytes(), is_untouched=is_untouched) from error

    def _failure(
        self, error: lmdb.Error | MemoryError, size_bytes: int, *, is_untouched: bool
    ) -> StoreError:
        """What to raise for a failed transaction with so many bytes of records."""
        if isinstance(error, lmdb.MapFullError):
            return MapFull()
        if not is_untouched or isinstance(error, _BROKEN):
            return CommitUncertain(f"the outcome of a commit is unknown: {error}")
        if self._is_out_of_space(size_bytes):
            return BackendFull(f"the disk is full: {error}")
        return BackendRefused(f"LMDB could not write, and nothing was written: {error!r}")

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
        try:
            file = os.open(os.path.join(self._dir, DATA_FILE), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
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

    def mend(self) -> None:
        return  # a transaction that was left is aborted

    def grow(self) -> None:
        self.check_process()
        size_bytes = 2 * self._map_size_bytes
        try:
            # LMDB gives up the old map first, and has none to read from when there is no new one.
            mmap(-1, size_bytes, flags=MAP_PRIVATE, prot=PROT_READ).close()
            self._env.set_mapsize(size_bytes)
        except (OSError, MemoryError, lmdb.Error) as error:
            raise BackendRefused(f"the memory map cannot grow: {error}") from error
        self._map_size_bytes = size_bytes

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
        # In a forked child LMDB would wait for what other threads were doing when it was forked.
        if self._pid == os.getpid():
            self._env.close()
        self._lock.release()


class LmdbSnapshot:
    """A read transaction, kept open until the next commit: a read is then one call into LMDB.

    Every method raises CorruptStore when LMDB finds damage.
    """

    def __init__(self, directory: StrPath, env: Any, tables: dict[Table, Any]) -> None:
        self._dir, self._env, self._tables = directory, env, tables
        self._pid = os.getpid()
        try:
            self._txn = env.begin()
        except lmdb.Error as error:
            raise self.damaged(error) from error

    def get(self, table: Table, key: bytes) -> bytes | None:
        try:
            found: bytes | None = self._txn.get(key, None, self._tables[table])
        except lmdb.Error as error:
            raise self.damaged(error) from error
        return found

    def log_reader(self) -> Callable[[bytes], bytes | None]:
        """`get` of the log for the many: one call, no Python in it. Until the next `refresh`.

        It raises what is in READ_ERRORS; `damaged` makes a CorruptStore of it.
        """
        return partial(self._txn.get, db=self._tables[Table.LOG])

    def damaged(self, error: Exception) -> StoreError:
        """What to raise for an error of LMDB: CorruptStore, or StoreClosed in a forked child."""
        if self._pid != os.getpid():
            return StoreClosed(_FORKED)
        return damaged(f"{os.path.join(self._dir, DATA_FILE)} cannot be read: {error}", self._dir)

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes]:
        try:
            with self._txn.cursor(self._tables[table]) as cursor:
                rows = cursor.getmulti(keys)
        except lmdb.Error as error:
            raise self.damaged(error) from error
        if len(rows) != len(keys):
            raise BackendError(f"{len(keys) - len(rows)} of {len(keys)} rows are missing")
        return [value for _, value in rows]

    def scan(self, table: Table, first: bytes, limit: int) -> list[Row]:
        try:
            with self._txn.cursor(self._tables[table]) as cursor:
                if not cursor.set_range(first):
                    return []
                return [row for row, _ in zip(cursor.iternext(), range(limit), strict=False)]
        except lmdb.Error as error:
            raise self.damaged(error) from error

    def rows(self, table: Table) -> Iterator[Row]:
        try:
            with self._txn.cursor(self._tables[table]) as cursor:
                yield from cursor.iternext()
        except lmdb.Error as error:
            raise self.damaged(error) from error

    def refresh(self) -> None:
        try:
            newer = self._env.begin()  # a spare one: about a microsecond
        except lmdb.Error as error:
            raise CommitUncertain(f"what was committed cannot be shown: {error}") from error
        self._txn.abort()
        self._txn = newer

    def close(self) -> None:
        self._txn.abort()


def look(directory: StrPath, *, is_thorough: bool = True) -> list[str]:
    """What is wrong with the pages of a data file, without LMDB; [] when they are sound.

    Thorough: every row, O(rows); else what an opening can afford (kvstore.backend.survey), of which
    the first is told. Raises CorruptStore for a file that never held anything, OpenError, OSError.
    """
    file, wrong = os.path.join(directory, DATA_FILE), []
    size = _size(file)
    if is_thorough:
        wrong = survey(file)
    else:
        try:
            glance(file)
        except PageDamage as error:
            wrong = [str(error)]
    if wrong and not _has_journal(directory):
        with PageFile(file) as opened:
            if opened.is_blank():
                raise CorruptStore(
                    f"{file} was never finished: it has {size} bytes and nothing in them, and "
                    "there is no journal beside it. If nothing was ever stored here, remove it "
                    "and open the directory again; else restore a copy"
                )
    return [f"{file} is damaged: {each}" for each in wrong]


def _has_journal(directory: StrPath) -> bool:
    names = os.listdir(directory) if os.path.isdir(directory) else []
    is_spare = any(spare_number(name) is not None for name in names)
    return is_spare or any(layout.live_numbers(names) for layout in (CURRENT, FORMAT_2))


def _size(file: str) -> int | None:
    """Of a file in bytes; None when there is none. Raises OpenError, OSError."""
    try:
        found = os.stat(file)
    except FileNotFoundError:
        if os.path.islink(file):
            raise OpenError(f"{file} is a link to a file that is not there") from None
        return None
    if not stat.S_ISREG(found.st_mode):
        raise OpenError(f"{file} is not a regular file")
    return found.st_size


def _slices(rows: Iterable[T]) -> Iterator[list[T]]:
    left = iter(rows)
    while some := list(islice(left, CHECKPOINT_SLICE_ROWS)):
        yield some
