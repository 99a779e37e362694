"""What was salvaged, written as a store: under another name until it is whole and checked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from kvstore.backend.directory import sync_path
from kvstore.backend.interface import BackendFull, MapFull, Row, Table, WriteBatch
from kvstore.backend.lmdb import LmdbBackend
from kvstore.core.mvcc.revision import to_bytes
from kvstore.errors import CorruptStore, OpenError
from kvstore.store.checker import check_directory
from kvstore.store.salvage import Salvaged

__all__ = ["write_salvaged"]

_SLICE_ROWS = 10_000


def write_salvaged(made: Salvaged, directory: Path) -> None:
    """Make a directory, which must not exist or be empty. On the disk on return.

    Raises OpenError, OSError; CorruptStore when what was made does not pass the check, which would
    be an error of this program, and then it is not there.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise OpenError(f"{directory} is there already: name a directory that is not")
    partial = directory.with_name(f"{directory.name}.partial")
    with suppress(FileNotFoundError):
        shutil.rmtree(partial)
    try:
        _fill(made, partial)
        wrong = check_directory(str(partial))
        if wrong:
            raise CorruptStore(f"what was salvaged is not sound: {'; '.join(wrong[:5])}")
        with suppress(FileNotFoundError):
            directory.rmdir()
        partial.rename(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_path(directory.parent)


def _fill(made: Salvaged, directory: Path) -> None:
    backend = LmdbBackend(directory)
    try:
        for rows in _slices(made.records):
            _commit(backend, WriteBatch(appends=rows))
        puts = [(Table.LEASE, *row) for row in made.leases.items()]
        puts += [(Table.META, *row) for row in made.meta.items()]
        _commit(backend, WriteBatch(puts=puts))
    finally:
        backend.close()


def _slices(records: dict[int, bytes]) -> Iterator[list[Row]]:
    left = ((to_bytes(packed), record) for packed, record in records.items())
    while some := list(islice(left, _SLICE_ROWS)):
        yield some


def _commit(backend: LmdbBackend, batch: WriteBatch) -> None:
    while True:
        try:
            backend.commit(batch)
            return
        except MapFull:
            backend.grow()
        except BackendFull as error:
            raise OpenError(f"no room for what was salvaged: {error}") from error
