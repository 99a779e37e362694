"""`kvstore check`: every invariant of what is on disk, each breach a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from kvstore.backend import open_backend
from kvstore.backend.directory import DirectoryLock
from kvstore.backend.interface import Backend, Snapshot, Table
from kvstore.backend.lmdb import DATA_FILE, look
from kvstore.core.engine import Engine
from kvstore.core.mvcc import record as records
from kvstore.core.mvcc.revision import REVISION_BYTES, TOMBSTONE, unpack
from kvstore.errors import OpenError
from kvstore.store.format import check_format
from kvstore.store.reader import SnapshotReader
from kvstore.store.recovery import FIRST_REVISION, recover
from kvstore.store.rows import lease_key, lease_row, meta
from kvstore.types import KeyValue

__all__ = ["check_backend", "check_directory"]


Step = Callable[[str], None]


def check_directory(path: str, on_step: Step = lambda step: None) -> list[str]:
    """What is wrong in a data directory; [] when it is sound.

    The pages of its data file are read first; where they are damaged nothing else is looked at and
    the directory stays as it is. Else it is opened: after a crash its journal is moved into LMDB
    and an older format is upgraded. `on_step` hears what is done next. Raises OpenError when there
    is no store, DirectoryLocked when it is in use, CorruptStore when it cannot be opened.
    """
    on_step("looking at its pages")
    if os.path.exists(os.path.join(path, DATA_FILE)) and (wrong := _look(Path(path))):
        return wrong
    on_step("reading the journal")
    backend = open_backend(path, create=False)
    try:
        on_step("looking for an older format")
        check_format(backend)
        return check_backend(backend, on_step)
    finally:
        backend.close()


def _look(directory: Path) -> list[str]:
    lock = DirectoryLock(directory)
    wrong: list[str] | None = None
    try:
        wrong = look(directory)
    finally:
        lock.release(is_clean=wrong == [])
    return wrong


def check_backend(backend: Backend, on_step: Step = lambda step: None) -> list[str]:
    snapshot = backend.snapshot()
    try:
        on_step("reading the table of leases")
        wrong = _check_leases(snapshot)
        on_step("reading the table of records")
        wrong += _check_log(snapshot)
    finally:
        snapshot.close()
    if wrong:
        return wrong
    on_step("reading it as an opening does")
    try:
        recovered = recover(backend)
    except OpenError as error:
        return [str(error)]
    reader = SnapshotReader(backend)
    try:
        return Engine(reader, recovered).check()
    finally:
        reader.close()


def _check_leases(snapshot: Snapshot) -> list[str]:
    wrong = []
    for key, value in snapshot.rows(Table.LEASE):
        try:
            lease_id, ttl_s = lease_row(key, value)
        except Exception as error:
            wrong.append(f"the lease row {key.hex()} cannot be read: {error}")
            continue
        if ttl_s <= 0 or lease_id == 0:
            wrong.append(f"lease {lease_id:x} has a TTL of {ttl_s} s")
    return wrong


def _check_log(snapshot: Snapshot) -> list[str]:
    compact, finished = meta(snapshot, "compact") or (-1, True)
    log = _LogChecker(snapshot, compact, finished=finished)
    for row_key, record in snapshot.rows(Table.LOG):
        log.check(row_key, record)
    return log.finish()


class _LogChecker:
    """Follows the log from its beginning, a KeyValue for each key as it was last."""

    def __init__(self, snapshot: Snapshot, compact: int, *, finished: bool) -> None:
        self._snapshot, self._compact, self._finished = snapshot, compact, finished
        self._last_main = self._next_sub = 0
        self._alive: dict[bytes, KeyValue] = {}
        self.wrong: list[str] = []

    def check(self, row_key: bytes, record: bytes) -> None:
        if len(row_key) != REVISION_BYTES:
            self.wrong.append(f"the log has a key of {len(row_key)} bytes: {row_key.hex()}")
            return
        packed = int.from_bytes(row_key, "big")
        main, sub, tombstone = unpack(packed)
        where = f"revision {main}.{sub}"
        if not records.is_whole(record):
            self.wrong.append(f"{where}: the checksum of the record is wrong")
            return
        try:
            kv = records.decode(record)
        except Exception as error:
            self.wrong.append(f"{where}: the record cannot be read: {error}")
            return
        self._check_order(where, main, sub)
        expected = (
            records.encode_tombstone(kv.key, main)
            if packed & TOMBSTONE
            else records.encode(kv.key, kv.value, kv.create_revision, main, kv.version, kv.lease)
        )
        if record != expected:
            self.wrong.append(f"{where}: the record is not the encoding of {kv}")
        elif not kv.key:
            self.wrong.append(f"{where}: the key is empty")
        else:
            self._check_history(where, kv, tombstone=tombstone)

    def _check_order(self, where: str, main: int, sub: int) -> None:
        """Above the compact revision nothing is missing: revisions and their subs are gapless."""
        if not self._last_main and self._compact < FIRST_REVISION + 1 != main:
            self.wrong.append(f"{where} is the first, not {FIRST_REVISION + 1}.0")
        if main == self._last_main:
            is_gap = sub != self._next_sub
        else:
            is_gap = sub != 0 or (self._last_main > 0 and main != self._last_main + 1)
        if is_gap and main > max(self._compact, 1) and self._last_main >= self._compact:
            self.wrong.append(
                f"{where} does not follow {self._last_main}.{self._next_sub - 1} without a gap"
            )
        if (
            main > self._compact > 0
            and self._last_main < self._compact
            and main > self._compact + 1
        ):
            self.wrong.append(f"{where} follows the compact revision {self._compact} with a gap")
        self._last_main, self._next_sub = main, sub + 1

    def _check_history(self, where: str, kv: KeyValue, *, tombstone: bool) -> None:
        before = self._alive.pop(kv.key, None)
        above = kv.mod_revision > self._compact
        if tombstone:
            if before is None and above and self._compact < 0:
                self.wrong.append(f"{where} deletes {kv.key!r}, which is not there")
            return
        self._alive[kv.key] = kv
        if before is not None and self._finished:
            if (kv.create_revision, kv.version) != (before.create_revision, before.version + 1):
                self.wrong.append(
                    f"{where}: {kv.key!r} has create revision {kv.create_revision} and version "
                    f"{kv.version} after {before.create_revision} and {before.version}"
                )
        elif before is None and above and self._compact < 0 and kv.version != 1:
            self.wrong.append(f"{where}: the first version of {kv.key!r} is {kv.version}")

    def finish(self) -> list[str]:
        """After the last row: what is alive must hold together. Returns everything found."""
        for kv in self._alive.values():
            if kv.lease and self._snapshot.get(Table.LEASE, lease_key(kv.lease)) is None:
                self.wrong.append(
                    f"{kv.key!r} at revision {kv.mod_revision} has the lease {kv.lease:x}, "
                    "which is not there"
                )
        if self._last_main < self._compact > FIRST_REVISION:
            self.wrong.append(
                f"the log ends at {self._last_main}, below the compact revision {self._compact}"
            )
        return self.wrong
