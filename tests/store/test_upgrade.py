"""The format of a data directory: marked at once, upgraded, or refused."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from unittest.mock import patch

import msgpack
import pytest

from kvstore.backend import MEMORY, open_backend
from kvstore.backend.interface import Backend, BackendFull, MapFull, Table, WriteBatch
from kvstore.backend.lmdb import LmdbBackend
from kvstore.core.mvcc.record import encode
from kvstore.errors import CorruptStore, OpenError, StoreFailed
from kvstore.keys import ALL_KEYS
from kvstore.store.aio import LoopStore
from kvstore.store.checker import check_directory
from kvstore.store.rows import FORMAT
from kvstore.store.threads import ThreadStore
from kvstore.types import PutOp, Txn, WatchCreate
from tests.store.formats.content import content_of
from tests.store.test_stored_formats import FORMATS, unpacked
from tests.support.faulty_backend import Fault, FaultyBackend


def direct(path: Path, *puts: tuple[Table, bytes, bytes]) -> None:
    """Put rows into LMDB as it is."""
    backend = LmdbBackend(path)
    backend.commit(WriteBatch(puts=puts))
    backend.close()


def rows_of(path: Path) -> dict[bytes, bytes]:
    """What LMDB alone says, which is all that a version without a journal sees."""
    backend = LmdbBackend(path)
    snapshot = backend.snapshot()
    rows = dict(snapshot.rows(Table.META))
    snapshot.close()
    backend.close()
    return rows


def refuse(path: Path, sentence: str) -> None:
    for fsync in (True, False):
        backend = open_backend(path, fsync=fsync)
        with pytest.raises(CorruptStore, match=sentence):
            ThreadStore.open(backend)
        backend.close()


class TestFormat:
    def test_a_new_store_is_marked_in_lmdb_before_the_journal_has_anything(
        self, tmp_path: Path
    ) -> None:
        store = ThreadStore.open(open_backend(tmp_path / "a"))
        store.txn(Txn(success=(PutOp(b"k", b"v"),)))
        (tmp_path / "b").mkdir()
        shutil.copyfile(tmp_path / "a" / "data.lmdb", tmp_path / "b" / "data.lmdb")
        store.close()
        assert rows_of(tmp_path / "b")[b"meta:format"] == msgpack.packb(FORMAT)

    @pytest.mark.parametrize("row", [4, 0, -1, 300])
    def test_an_unknown_format_is_refused(self, tmp_path: Path, row: int) -> None:
        direct(tmp_path, (Table.META, b"meta:format", msgpack.packb(row)))
        refuse(tmp_path, f"the store has format {row}, this version reads formats 1 to 3")

    def test_a_format_that_cannot_be_read_is_refused(self, tmp_path: Path) -> None:
        direct(tmp_path, (Table.META, b"meta:format", b"\xc1"))
        refuse(tmp_path, "the row about the format cannot be read")

    def test_a_log_without_a_format_is_refused(self, tmp_path: Path) -> None:
        direct(tmp_path, (Table.LOG, bytes(12), encode(b"k", b"v", 2, 2, 1, 0)))
        refuse(tmp_path, "no row says which format")

    @pytest.mark.parametrize("name", ["user", "meta:auth"])
    def test_what_a_newer_version_may_have_written_is_refused_by_name(
        self, tmp_path: Path, name: str
    ) -> None:
        ThreadStore.open(open_backend(tmp_path)).close()
        direct(tmp_path, (Table.META, name.encode(), b""))
        refuse(tmp_path, f"tables or rows that this version does not know: '{name}'")


class TestUpgrade:
    @pytest.fixture(autouse=True)
    def small_slices(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("kvstore.store.upgrade.UPGRADE_SLICE_ROWS", 3)
        monkeypatch.setattr("kvstore.store.upgrade.UPGRADE_SCAN_ROWS", 2)

    @pytest.mark.parametrize("name", ["format-1", "format-2", "format-2-closed"])
    def test_it_may_end_before_any_of_its_commits(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """What is left opens; so does what an end of that opening leaves."""
        commit, images = LmdbBackend.rewrite, []

        def copying(self: LmdbBackend, batch: WriteBatch) -> None:
            images.append(tmp_path / str(len(images)))
            shutil.copytree(path, images[-1])
            commit(self, batch)

        stored = json.loads((FORMATS / "content.json").read_text())
        path = unpacked(name, tmp_path / "first")
        with monkeypatch.context() as patched:
            patched.setattr(LmdbBackend, "rewrite", copying)
            ThreadStore.open(open_backend(path)).close()
            count = len(images)
            for path in images[:count]:
                ThreadStore.open(open_backend(path)).close()
        assert count > 5
        assert len(images) > 3 * count
        for path in images:
            store = ThreadStore.open(open_backend(path))
            assert content_of(store) == stored
            store.close()
            assert b"meta:upgrade" not in rows_of(path)
        for path in images[:count]:
            assert check_directory(str(path)) == []

    def test_it_is_told_in_two_lines(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", logger="kvstore")
        ThreadStore.open(open_backend(unpacked("format-2", tmp_path))).close()
        first, last = (record.getMessage() for record in caplog.records)
        assert first == "upgrading from format 2 to format 3: every row gets a checksum"
        assert last.startswith("upgraded 19 rows in ")

    def test_a_full_map_grows_and_a_full_disk_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit, errors = LmdbBackend.rewrite, [MapFull(), None, MapFull(), None, BackendFull()]

        def failing(self: LmdbBackend, batch: WriteBatch) -> None:
            error = errors.pop(0) if errors else None
            if error is not None:
                raise error
            commit(self, batch)

        backend = open_backend(unpacked("format-2", tmp_path))
        monkeypatch.setattr(LmdbBackend, "rewrite", failing)
        with pytest.raises(OpenError, match="no room to upgrade the store to format 3"):
            ThreadStore.open(backend)
        assert errors == []
        backend.close()
        store = ThreadStore.open(open_backend(tmp_path))
        assert content_of(store) == json.loads((FORMATS / "content.json").read_text())
        store.close()


class TestDamage:
    """Of a row whose bytes are not those that were written."""

    def damaged(self, path: Path, table: Table, at: int) -> Backend:
        store = ThreadStore.open(open_backend(path))
        store.lease_grant(100, 7)
        for number in range(3):
            store.txn(Txn(success=(PutOp(b"k%d" % number, b"value", 7),)))
        store.compact(2, physical=True)
        store.close()
        backend = LmdbBackend(path)
        snapshot = backend.snapshot()
        others = (b"meta:format", b"log", b"lease", b"mark")
        key, value = next(row for row in snapshot.rows(table) if row[0] not in others)
        snapshot.close()
        changed = bytearray(value)
        changed[at] ^= 4
        backend.rewrite(WriteBatch(puts=[(table, key, bytes(changed))]))
        backend.close()
        return open_backend(path)

    @pytest.mark.parametrize("at", [0, 8, 20, 40, -8, -1])
    def test_a_record_is_told_at_the_start_and_by_the_check(self, tmp_path: Path, at: int) -> None:
        backend = self.damaged(tmp_path, Table.LOG, at)
        with pytest.raises(CorruptStore, match=r"the record of revision 2\.0 is damaged"):
            ThreadStore.open(backend)
        backend.close()
        assert check_directory(str(tmp_path))[0] == (
            "revision 2.0: the checksum of the record is wrong"
        )

    @pytest.mark.parametrize("at", [0, 1, -1])
    @pytest.mark.parametrize("table", [Table.LEASE, Table.META])
    def test_a_small_row_is_told(self, tmp_path: Path, table: Table, at: int) -> None:
        backend = self.damaged(tmp_path, table, at)
        with pytest.raises(CorruptStore, match="is damaged, its checksum is wrong"):
            ThreadStore.open(backend)
        backend.close()

    @pytest.mark.parametrize("count", [1, 3])
    def test_a_damaged_record_before_an_event_is_told_to_its_watch_alone(self, count: int) -> None:
        """The writes that make the events are durable, acknowledged and told to other watches."""
        backend = open_backend(MEMORY)
        store = ThreadStore.open(backend)
        ops = tuple(PutOp(b"k%d" % number, b"value") for number in range(count))
        store.txn(Txn(success=ops))
        plain, with_prev = store.watch_stream(), store.watch_stream()
        for stream, prev_kv in ((plain, False), (with_prev, True)):
            stream.create(WatchCreate(ALL_KEYS, prev_kv=prev_kv))
            stream.next(1)
        key, record = next(backend.snapshot().rows(Table.LOG))
        backend.rewrite(WriteBatch(puts=[(Table.LOG, key, record[:-6] + b"VA" + record[-4:])]))
        assert store.txn(Txn(success=ops)).revision == 3
        message = plain.next(1)
        assert message is not None
        assert len(list(message.events)) == count
        message = with_prev.next(1)
        assert message is not None
        with pytest.raises(CorruptStore, match=r"the record of revision 2\.0 is damaged"):
            list(message.events)
        store.close()

    def test_a_record_that_is_damaged_later_is_told_to_whoever_reads_it(self) -> None:
        backend = open_backend(MEMORY)
        store = ThreadStore.open(backend)
        for number in range(3):
            store.txn(Txn(success=(PutOp(b"k%d" % number, b"value"),)))
        key, record = next(backend.snapshot().rows(Table.LOG))
        backend.rewrite(WriteBatch(puts=[(Table.LOG, key, record[:-6] + b"VA" + record[-4:])]))
        with pytest.raises(CorruptStore, match=r"the record of revision 2\.0 is damaged"):
            store.get(b"k0")
        assert store.get(b"k1") is not None
        store.txn(Txn(success=(PutOp(b"k0", b"new"),)))
        kv = store.get(b"k0")
        assert kv is not None
        assert kv.value == b"new"
        store.close()

    def test_a_refused_write_over_a_damaged_record_fails_the_store_and_is_answered(self) -> None:
        """What to go back to cannot be read."""

        async def test() -> None:
            memory = open_backend(MEMORY)
            backend = FaultyBackend(memory)
            store = await LoopStore.open(backend)
            await store.txn(Txn(success=(PutOp(b"k0", b"value"),)))
            key, record = next(memory.snapshot().rows(Table.LOG))
            memory.rewrite(WriteBatch(puts=[(Table.LOG, key, record[:-6] + b"VA" + record[-4:])]))
            backend.fail(Fault.FULL)
            with pytest.raises(StoreFailed, match="is damaged"):
                await asyncio.wait_for(store.txn(Txn(success=(PutOp(b"k0", b"new"),))), 5)
            await store.close()

        with patch("kvstore.store.start.VERIFY", False):
            asyncio.run(test())
