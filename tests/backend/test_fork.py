"""A forked child has neither the directory nor the store; its parent keeps both."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import kvstore
from kvstore.backend import open_backend
from kvstore.backend.interface import Backend, Table, WriteBatch
from kvstore.errors import DirectoryLocked, OpenError, StoreClosed

BATCH = WriteBatch(puts=[(Table.META, b"m", b"1")])


def in_child(work: Callable[[], None]) -> int:
    """The exit status of a child that did it: 0 unless it raised."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(params=[True, False], ids=["journal", "no fsync"])
def fsync(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def opened(path: Path, fsync: bool) -> Backend:
    backend = open_backend(path, fsync=fsync)
    backend.commit(BATCH)
    return backend


class TestChildThatOutlives:
    def test_the_directory_is_free_when_its_opener_ended(self, tmp_path: Path, fsync: bool) -> None:
        """The opener ends without closing; a child of it waits for the end of the test."""
        read, write = os.pipe()
        told, tell = os.pipe()

        def open_and_fork() -> None:
            backend = opened(tmp_path, fsync)
            if not os.fork():
                os.close(write)
                os.write(tell, b"%d" % os.getpid())
                os.read(read, 1)  # until the test closes its end
                os._exit(0)
            os.read(told, 10)
            del backend

        assert in_child(open_and_fork) == 0
        os.close(read)
        opened(tmp_path, fsync).close()
        for each in (write, told, tell):
            os.close(each)

    def test_it_is_free_when_its_opener_closed_it(self, tmp_path: Path, fsync: bool) -> None:
        read, write = os.pipe()
        backend = opened(tmp_path, fsync)
        child = os.fork()
        if not child:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
        backend.close()
        opened(tmp_path, fsync).close()
        os.close(write)
        os.close(read)
        os.waitpid(child, 0)


class TestChild:
    def test_it_cannot_use_the_store(self, tmp_path: Path, fsync: bool) -> None:
        backend = opened(tmp_path, fsync)

        def use() -> None:
            calls: list[Callable[[], object]] = [
                lambda: backend.commit(BATCH),
                backend.snapshot,
                backend.grow,
            ]
            for call in calls:
                with pytest.raises(StoreClosed, match="open it anew after a fork"):
                    call()
            backend.close()

        assert in_child(use) == 0
        backend.commit(BATCH)
        backend.close()
        opened(tmp_path, fsync).close()

    def test_it_cannot_use_an_embedded_store(self, tmp_path: Path) -> None:
        with kvstore.open(tmp_path) as db:
            db.put("a", "1")

            def use() -> None:
                for call in (lambda: db.put("a", "2"), lambda: db.get("a")):
                    with pytest.raises(StoreClosed):
                        call()

            assert in_child(use) == 0
            assert db.put("a", "3").revision == 3

    def test_its_parent_keeps_the_directory(self, tmp_path: Path, fsync: bool) -> None:
        backend = opened(tmp_path, fsync)

        def use() -> None:
            with pytest.raises(DirectoryLocked, match=str(os.getppid())):
                open_backend(tmp_path, fsync=fsync)
            backend.close()

        assert in_child(use) == 0
        with pytest.raises(DirectoryLocked, match="open in this process already"):
            open_backend(tmp_path, fsync=fsync)
        backend.close()

    def test_it_is_told_that_it_cannot_open_what_its_parent_had_open(
        self, tmp_path: Path, fsync: bool
    ) -> None:
        """LMDB forbids it, also after the parent closed it."""
        backend = opened(tmp_path, fsync)
        read, write = os.pipe()

        def use() -> None:
            os.close(write)
            os.read(read, 1)
            with pytest.raises(OpenError, match="forked from: fork before it is opened"):
                open_backend(tmp_path, fsync=fsync)

        child = os.fork()
        if not child:
            status = 1
            try:
                use()
                status = 0
            finally:
                os._exit(status)
        backend.close()
        os.close(write)
        os.close(read)
        assert os.waitpid(child, 0)[1] == 0

    def test_a_fork_in_the_middle_of_commits_of_other_threads_ends(
        self, tmp_path: Path, fsync: bool
    ) -> None:
        """A child that waited for the threads that it does not have would wait for ever."""
        backend = opened(tmp_path, fsync)
        is_done = threading.Event()

        def write() -> None:
            while not is_done.is_set():
                backend.commit(BATCH)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            statuses = [in_child(backend.close) for _ in range(50)]
        finally:
            is_done.set()
            writer.join()
        assert statuses == [0] * 50
        backend.commit(BATCH)
        backend.close()
