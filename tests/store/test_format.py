"""The format of a data directory: marked at once, brought up, or refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgpack
import pytest

from kvstore.backend import open_backend
from kvstore.backend.interface import Table, WriteBatch
from kvstore.backend.lmdb import LmdbBackend
from kvstore.core.mvcc.record import encode
from kvstore.errors import CorruptStore
from kvstore.keys import ALL_KEYS
from kvstore.store.checker import check_directory
from kvstore.store.threads import ThreadStore
from kvstore.types import PutOp, RangeOp, Txn


def format_1(path: Path) -> None:
    """A store as it was before there was a journal: two records, everything in LMDB."""
    backend = LmdbBackend(path)
    puts = [(Table.META, b"meta:format", b"\x01"), (Table.META, b"meta:write_index", b"\x02")]
    appends = [
        ((main << 32).to_bytes(12, "big"), encode(b"k%d" % main, b"v", main, main, 1, 0))
        for main in (2, 3)
    ]
    backend.commit(WriteBatch(appends, puts))
    backend.close()


def format_of(path: Path) -> int:
    """What LMDB alone says, which is all that a version without a journal sees."""
    backend = LmdbBackend(path)
    snapshot = backend.snapshot()
    row = snapshot.get(Table.META, b"meta:format")
    snapshot.close()
    backend.close()
    found: int = msgpack.unpackb(row)
    return found


@pytest.mark.parametrize("fsync", [True, False])
def test_a_store_of_format_1_is_opened_and_marked(tmp_path: Path, fsync: bool) -> None:
    format_1(tmp_path)
    store = ThreadStore.open(open_backend(tmp_path, fsync=fsync))
    store.txn(Txn(success=(PutOp(b"k4", b"v"),)))
    assert [kv.key for kv in store.range(RangeOp(ALL_KEYS)).kvs] == [b"k2", b"k3", b"k4"]
    store.close()
    assert format_of(tmp_path) == 2
    assert check_directory(str(tmp_path)) == []


def test_the_mark_is_in_lmdb_before_the_journal_has_anything(tmp_path: Path) -> None:
    format_1(tmp_path / "a")
    store = ThreadStore.open(open_backend(tmp_path / "a"))
    store.txn(Txn(success=(PutOp(b"k4", b"v"),)))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    store.close()
    assert format_of(tmp_path / "b") == 2


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    backend = LmdbBackend(tmp_path)
    backend.commit(WriteBatch(puts=[(Table.META, b"meta:format", b"\x03")]))
    backend.close()
    backend = open_backend(tmp_path)
    with pytest.raises(CorruptStore, match="format 3, this version reads formats 1 to 2"):
        ThreadStore.open(backend)
    backend.close()
