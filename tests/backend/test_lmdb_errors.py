"""What an error of LMDB means: before its meta page is written, nothing was."""

from __future__ import annotations

import shutil
from pathlib import Path

import lmdb
import pytest

from kvstore.backend.interface import (
    BackendFull,
    BackendRefused,
    CommitUncertain,
    MapFull,
    Table,
    WriteBatch,
)
from kvstore.backend.journaled import JournaledBackend
from kvstore.backend.lmdb import LmdbBackend
from kvstore.errors import OpenError, StoreFailed, WriteRefused
from kvstore.store.threads import ThreadStore
from kvstore.types import PutOp, Txn
from tests.backend.commits import dump, key
from tests.support.failing_lmdb import FailingEnv

PASSING = [
    lmdb.MemoryError("Cannot allocate memory"),
    lmdb.Error("Input/output error"),
    lmdb.DiskError("No space left on device"),
    lmdb.LockError("Resource temporarily unavailable"),
    lmdb.ReadersFullError("MDB_READERS_FULL"),
    MemoryError(),
]
BROKEN = [lmdb.CorruptedError("MDB_CORRUPTED"), lmdb.PageNotFoundError("MDB_PAGE_NOTFOUND")]
CALLS = ["begin write", "put", "delete", "putmulti", "commit"]
ROWS = [
    *((call, error, "refused") for call in CALLS for error in PASSING),
    *((call, error, "unknown") for call in CALLS for error in BROKEN),
    *(("meta", error, "unknown") for error in [*PASSING, *BROKEN]),
]


def record(number: int) -> WriteBatch:
    """With a put, and a delete of what is not there."""
    meta = (Table.META, b"m", b"%d" % number)
    return WriteBatch([(key(number), bytes(50))], [meta], [(Table.LEASE, b"none")])


def failing(backend: JournaledBackend) -> FailingEnv:
    env = FailingEnv(backend._lmdb._env, lmdb.PanicError("MDB_PANIC"))
    backend._lmdb._env = env
    return env


def records_of(path: Path) -> int:
    copy = path.parent / "copy"
    shutil.copytree(path, copy)
    backend = JournaledBackend(copy, background=False)
    count = len(dump(backend)[0])
    backend.close()
    shutil.rmtree(copy)
    return count


@pytest.mark.parametrize(("call", "error", "verdict"), ROWS, ids=str)
class TestVerdict:
    def test_of_the_first_commit_which_goes_to_lmdb(
        self, tmp_path: Path, call: str, error: Exception, verdict: str
    ) -> None:
        backend = JournaledBackend(tmp_path / "a", background=False)
        env = failing(backend)
        env.fail(call, error)
        with pytest.raises(BackendRefused if verdict == "refused" else CommitUncertain):
            backend.commit(record(1))
        env.fail()
        if verdict == "refused":
            backend.commit(record(1))
            backend.commit(record(2))
            assert records_of(tmp_path / "a") == 2
        else:
            with pytest.raises(CommitUncertain):
                backend.commit(record(1))
        backend.close()

    def test_of_a_checkpoint_whose_commits_the_journal_has(
        self, tmp_path: Path, call: str, error: Exception, verdict: str
    ) -> None:
        backend = JournaledBackend(tmp_path / "a", background=False)
        env = failing(backend)
        for number in (1, 2, 3):
            backend.commit(record(number))
        env.fail(call, error)
        checkpointer = backend._checkpointer
        assert checkpointer is not None
        with pytest.raises(BackendRefused if verdict == "refused" else CommitUncertain):
            checkpointer.run()
        if verdict == "refused":
            backend.commit(record(4))
            env.fail()
            checkpointer.run()
            backend.commit(record(5))
            assert len(dump(backend)[0]) == 5
        else:
            with pytest.raises(CommitUncertain):
                backend.commit(record(4))
        assert records_of(tmp_path / "a") == (5 if verdict == "refused" else 3)
        backend.close()


class TestTheRest:
    def test_no_room_is_told_from_other_refusals(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = JournaledBackend(tmp_path, background=False)
        failing(backend).fail("commit", lmdb.Error("Input/output error"))
        monkeypatch.setattr(LmdbBackend, "_is_out_of_space", lambda self, size: True)
        with pytest.raises(BackendFull):
            backend.commit(record(1))
        backend.close()

    def test_a_map_that_cannot_grow_yet_refuses_and_grows_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = JournaledBackend(tmp_path / "a", map_size_bytes=1 << 17, background=False)
        env = failing(backend)
        number = fill_map(backend)
        env.fail("set_mapsize", lmdb.MemoryError("Cannot allocate memory"))
        with pytest.raises(BackendRefused):
            backend.grow()
        with monkeypatch.context() as patched:
            patched.setattr("kvstore.backend.lmdb.mmap", no_memory)
            with pytest.raises(BackendRefused):
                backend.grow()
        env.fail()
        with pytest.raises(MapFull):  # the shell grows it then
            backend.commit(record(number + 1))
        backend.grow()
        backend.commit(record(number + 1))
        assert records_of(tmp_path / "a") == number + 1
        backend.close()

    def test_without_memory_or_threads_a_commit_is_refused_and_the_next_goes_through(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = JournaledBackend(tmp_path / "a")
        with monkeypatch.context() as patched:
            patched.setattr("threading.Thread.start", no_thread)
            with pytest.raises(BackendRefused):
                backend.commit(record(1))
        backend.commit(record(1))
        for name in ("journaled.encode_body", "journal.journal.seal"):
            with monkeypatch.context() as patched:
                patched.setattr(f"kvstore.backend.{name}", no_room_in_memory)
                with pytest.raises(BackendRefused):
                    backend.commit(record(2))
        backend.commit(record(2))
        shutil.copytree(tmp_path / "a", tmp_path / "b", ignore=shutil.ignore_patterns("spare-*"))
        with monkeypatch.context() as patched:
            patched.setattr("threading.Thread.start", no_thread)
            with pytest.raises(OpenError):
                JournaledBackend(tmp_path / "b")
        assert records_of(tmp_path / "b") == 2
        backend.close()


def no_thread(self: object) -> None:
    raise RuntimeError("can't start new thread")


def no_room_in_memory(*args: object) -> None:
    raise MemoryError


def fill_map(backend: JournaledBackend) -> int:
    """Returns how many records were committed before a checkpoint met a full map."""
    number = 0
    while True:
        number += 1
        backend.commit(record(number))
        if number % 100 == 0 and backend._checkpointer is not None:
            try:
                backend._checkpointer.run()
            except MapFull:
                return number


def no_memory(*args: object, **kwargs: object) -> None:
    raise OSError(12, "Cannot allocate memory")


def put(store: ThreadStore, key: bytes) -> int:
    return store.txn(Txn(success=(PutOp(key, b"v"),))).revision


class TestStore:
    def test_a_refused_write_is_told_and_later_ones_go_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = ThreadStore.open(JournaledBackend(tmp_path, background=False))
        assert put(store, b"a") == 2

        def refused(self: object, body: bytes) -> None:
            raise BackendRefused("too many open files")

        with monkeypatch.context() as patched:
            patched.setattr("kvstore.backend.journal.journal.Journal.append", refused)
            with pytest.raises(WriteRefused):
                put(store, b"b")
            with pytest.raises(WriteRefused):
                store.lease_grant(10, 7)
        assert store.get(b"b") is None
        assert store.lease_leases() == []
        assert put(store, b"c") == 3
        store.close()
        store = ThreadStore.open(JournaledBackend(tmp_path))
        assert store.revision == 3
        store.close()

    def test_a_commit_that_cannot_be_shown_is_not_acknowledged_and_is_there_later(
        self, tmp_path: Path
    ) -> None:
        backend = JournaledBackend(tmp_path, background=False)
        store = ThreadStore.open(backend)
        assert put(store, b"a") == 2
        snapshot = store._reader._snapshot
        snapshot._lmdb._env = env = FailingEnv(  # type: ignore[attr-defined]
            backend._lmdb._env, lmdb.PanicError("MDB_PANIC")
        )
        backend.checkpoint()  # the next commit makes the snapshot begin anew
        env.fail("begin read", lmdb.MemoryError("Cannot allocate memory"))
        with pytest.raises(StoreFailed):
            put(store, b"b")
        env.fail()
        assert store.get(b"a") is not None, "the old view is still there"
        store.close()
        store = ThreadStore.open(JournaledBackend(tmp_path))
        assert store.revision == 3
        store.close()
