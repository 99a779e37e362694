"""What a store for threads does when it is interrupted, forked, or closed beside readers."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from kvstore.backend import open_backend
from kvstore.backend.lmdb import LmdbBackend
from kvstore.core.engine import Engine
from kvstore.errors import Compacted, StoreClosed, StoreFailed
from kvstore.keys import ALL_KEYS
from kvstore.store.checker import check_directory
from kvstore.store.reader import SnapshotReader
from kvstore.store.recovery import recover
from kvstore.store.rows import rows_of
from kvstore.store.threads import ThreadStore
from kvstore.types import PutOp, RangeOp, Txn


def put(key: bytes) -> Txn:
    return Txn(success=(PutOp(key, b"v"),))


def test_a_commit_that_breaks_off_fails_the_store_and_leaves_it_sound(tmp_path: Path) -> None:
    class BreaksOff(LmdbBackend):
        is_due = False

        def _write(self, txn: Any, batch: Any) -> None:
            super()._write(txn, batch)
            if self.is_due:
                raise SystemExit

    backend = BreaksOff(tmp_path)
    store = ThreadStore.open(backend)
    store.txn(put(b"a"))
    backend.is_due = True
    with pytest.raises(StoreFailed):
        store.txn(put(b"x"))
    backend.is_due = False
    with pytest.raises(StoreFailed):
        store.txn(put(b"y"))
    assert store.get(b"a") is not None
    assert store.get(b"x") is None
    store.close()
    assert check_directory(str(tmp_path)) == []


def test_a_forked_child_does_not_keep_the_directory(tmp_path: Path) -> None:
    store = ThreadStore.open(open_backend(tmp_path))
    started, end = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.write(started[1], b"x")
        os.read(end[0], 1)
        os._exit(0)
    try:
        assert os.read(started[0], 1) == b"x"
        store.close()
        ThreadStore.open(open_backend(tmp_path)).close()
    finally:
        os.write(end[1], b"x")
        os.waitpid(child, 0)
        for each in (*started, *end):
            os.close(each)


def test_close_ends_every_reader_of_a_stream() -> None:
    store = ThreadStore.open(open_backend(":memory:"))
    stream = store.watch_stream()
    ended: list[type[BaseException]] = []

    def read() -> None:
        try:
            stream.next()
        except StoreClosed as error:
            ended.append(type(error))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    store.close()
    for thread in threads:
        thread.join(10)
    assert ended == [StoreClosed] * 3


def test_a_compaction_marked_while_an_older_one_ends_survives_a_crash(tmp_path: Path) -> None:
    backend = open_backend(tmp_path)
    recovered = recover(backend)
    reader = SnapshotReader(backend)
    engine = Engine(reader, recovered)

    def commit() -> None:
        batch = engine.take_commit()
        backend.commit(rows_of(batch))
        reader.refresh()
        engine.publish(batch.last_sequence)

    for _ in range(3):
        for key in (b"a", b"b", b"c"):
            engine.txn(put(key))
    commit()
    engine.compact(4)
    commit()
    engine.compact(8)
    while engine.compaction_step(100):
        pass  # the steps of 4 end with the mark of 8 already decided
    commit()
    engine.compaction_step(1)
    commit()
    reader.close()
    backend.close()  # and the rest of the steps never ran

    backend = open_backend(tmp_path)
    recovered = recover(backend)
    assert (recovered.compact_revision, recovered.compaction_finished) == (8, False)
    reader = SnapshotReader(backend)
    engine = Engine(reader, recovered)
    with pytest.raises(Compacted):
        engine.range(RangeOp(ALL_KEYS, revision=7))
    assert len(engine.range(RangeOp(ALL_KEYS, revision=8)).kvs) == 3
    reader.close()
    backend.close()
