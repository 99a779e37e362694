"""LMDB behind a journal: what it keeps, what it refuses, what it says of a damaged directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from kvstore.backend import open_backend
from kvstore.backend.interface import (
    BackendError,
    BackendFull,
    CommitUncertain,
    MapFull,
    Table,
    WriteBatch,
)
from kvstore.backend.journal.mark import MARK_KEY
from kvstore.backend.journal.segment import FIRST_ENTRY
from kvstore.backend.journaled import JournaledBackend
from kvstore.backend.lmdb import LmdbBackend
from kvstore.checksum import sealed_row
from kvstore.errors import CorruptStore, DirectoryLocked, OpenError
from tests.backend.commits import commits, dump, key, states_of
from tests.support.power_cut import FullDisk

JOURNAL = "kvstore.backend.journal.journal"


def record(number: int, size: int = 100) -> WriteBatch:
    return WriteBatch([(key(number), b"%d" % number + bytes(size))])


def opened(path: Path, **options: bool) -> JournaledBackend:
    return JournaledBackend(path, background=False, **options)


def filled(path: Path, count: int = 5) -> JournaledBackend:
    """With records from 1 on; all but the first are in the journal alone."""
    backend = opened(path)
    for number in range(1, count + 1):
        backend.commit(record(number))
    return backend


def crashed(backend: JournaledBackend, path: Path) -> Path:
    """A copy of its directory as the end of the process leaves it."""
    source = backend._disk.directory
    shutil.copytree(source, path)
    backend.close()
    return path


def records_of(path: Path) -> int:
    backend = opened(path)
    try:
        return len(dump(backend)[0])
    finally:
        backend.close()


def commit_until(
    backend: JournaledBackend, error: type[BackendError], stored: int, limit: int = 1000
) -> int:
    """Commit records after the first `stored`, until that error; returns how many there are."""
    with contextlib.suppress(error):
        while stored < limit:
            backend.commit(record(stored + 1, 3000))
            stored += 1
    assert stored < 1000
    return stored


def refuse_as_full(*args: object) -> None:
    raise BackendFull


def segment(path: Path) -> Path:
    return max(path.glob("segment-*"))


class TestLife:
    def test_a_commit_is_seen_after_refresh_and_after_a_crash(self, tmp_path: Path) -> None:
        backend = filled(tmp_path / "a", 0)
        snapshot = backend.snapshot()
        backend.commit(record(1))
        backend.commit(record(2))
        assert snapshot.get(Table.LOG, key(2)) is None
        snapshot.refresh()
        assert snapshot.get(Table.LOG, key(2)) == b"2" + bytes(100)
        snapshot.close()
        assert records_of(crashed(backend, tmp_path / "b")) == 2

    def test_closing_leaves_everything_in_lmdb(self, tmp_path: Path) -> None:
        filled(tmp_path / "a", 20).close()
        direct = LmdbBackend(tmp_path / "a")
        assert len(dump(direct)[0]) == 20
        direct.close()

    def test_an_opening_that_writes_nothing_leaves_the_directory_as_it_was(
        self, tmp_path: Path
    ) -> None:
        filled(tmp_path, 20).close()
        before = {file.name: file.read_bytes() for file in tmp_path.glob("*-0*")}
        before["data.lmdb"] = (tmp_path / "data.lmdb").read_bytes()
        assert records_of(tmp_path) == 20
        assert {name: (tmp_path / name).read_bytes() for name in before} == before

    def test_it_goes_on_over_many_openings(self, tmp_path: Path) -> None:
        for number in range(1, 31):
            backend = opened(tmp_path)
            backend.commit(record(2 * number))
            backend.commit(record(2 * number + 1))
            assert len(dump(backend)[0]) == 2 * number
            backend.close()
        assert len(list(tmp_path.glob("segment-*"))) <= 2

    def test_a_crash_without_a_commit_after_the_first_is_no_damage(self, tmp_path: Path) -> None:
        copy = crashed(filled(tmp_path / "a", 1), tmp_path / "b")
        for _ in range(2):
            assert records_of(copy) == 1
        backend = opened(copy)
        backend.commit(record(2))
        backend.commit(record(3))
        assert records_of(crashed(backend, tmp_path / "c")) == 3

    def test_a_commit_larger_than_a_segment_has_one_of_its_own(self, tmp_path: Path) -> None:
        backend = filled(tmp_path / "a", 2)
        backend.commit(record(3, size=9_000_000))
        backend.commit(record(4))
        copy = crashed(backend, tmp_path / "b")
        assert records_of(copy) == 4
        assert records_of(copy) == 4

    def test_segments_are_used_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(f"{JOURNAL}.LEAST_SEGMENT_BYTES", 8192)
        monkeypatch.setattr(f"{JOURNAL}.SEGMENT_BYTES", 8192)
        backend = opened(tmp_path)
        for number in range(1, 200):
            backend.commit(record(number, 1000))
            if number % 10 == 0:
                backend.checkpoint()
        files = list(tmp_path.glob("segment-*")) + list(tmp_path.glob("spare-*"))
        assert len(files) <= 4 + 4
        assert len(dump(backend)[0]) == 199
        backend.close()

    def test_a_spare_file_whose_making_was_cut_short_is_removed(self, tmp_path: Path) -> None:
        filled(tmp_path, 2).close()
        (tmp_path / "spare-000000000009").write_bytes(bytes(100))
        filled_again = opened(tmp_path)
        filled_again.commit(record(3))
        assert not (tmp_path / "spare-000000000009").exists()
        filled_again.close()

    def test_the_size_counts_what_the_journal_holds(self, tmp_path: Path) -> None:
        backend = filled(tmp_path, 1)
        before = backend.size_bytes()
        backend.commit(record(2, 50_000))
        after = backend.size_bytes()
        assert all(new >= old + 50_000 for new, old in zip(after, before, strict=True))
        assert after[0] >= after[1]
        backend.close()

    def test_a_second_opening_is_refused(self, tmp_path: Path) -> None:
        backend = filled(tmp_path)
        with pytest.raises(DirectoryLocked):
            opened(tmp_path)
        backend.close()

    def test_an_append_that_is_not_behind_the_end_is_refused(self, tmp_path: Path) -> None:
        backend = filled(tmp_path, 3)
        with pytest.raises(BackendError):
            backend.commit(record(3))
        backend.commit(record(4))
        backend.close()
        backend = opened(tmp_path)
        with pytest.raises(BackendError):
            backend.commit(record(4))
        backend.close()

    def test_a_forked_child_leaves_the_journal_to_its_parent(self, tmp_path: Path) -> None:
        backend = JournaledBackend(tmp_path)
        backend.commit(record(1))
        backend.commit(record(2))
        child = os.fork()
        if not child:
            backend.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        backend.commit(record(3))
        with pytest.raises(DirectoryLocked):
            opened(tmp_path)
        backend.close()
        assert records_of(tmp_path) == 3

    def test_without_fsync_the_journal_of_an_earlier_run_is_kept(self, tmp_path: Path) -> None:
        copy = crashed(filled(tmp_path / "a", 7), tmp_path / "b")
        fast = open_backend(copy, fsync=False)
        assert fast.is_fast
        assert len(dump(fast)[0]) == 7
        fast.commit(record(8))
        fast.close()
        assert records_of(copy) == 8

    def test_a_directory_of_before_the_journal_gets_one(self, tmp_path: Path) -> None:
        old = LmdbBackend(tmp_path)
        for number in range(1, 4):
            old.commit(record(number))
        old.close()
        backend = opened(tmp_path)
        backend.commit(record(4))
        backend.commit(record(5))
        assert len(dump(backend)[0]) == 5
        backend.close()
        assert records_of(tmp_path) == 5


class TestBackground:
    def test_the_thread_moves_what_a_commit_waits_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("kvstore.backend.journaled.JOURNAL_BYTES", 20_000)
        monkeypatch.setattr("kvstore.backend.checkpointer.CHECKPOINT_BYTES", 10_000)
        batches = commits(300)
        backend = JournaledBackend(tmp_path)
        snapshot = backend.snapshot()
        for batch in batches:
            backend.commit(batch)
            snapshot.refresh()
        snapshot.close()
        assert dump(backend) == states_of(batches)[-1]
        assert backend._pending_bytes <= 20_000
        backend.close()
        again = opened(tmp_path)
        assert dump(again) == states_of(batches)[-1]
        again.close()

    def test_snapshots_are_whole_while_the_thread_moves_what_they_show(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Record n is there with all before it, whatever is in LMDB already."""
        monkeypatch.setattr("kvstore.backend.checkpointer.CHECKPOINT_BYTES", 5_000)
        backend = JournaledBackend(tmp_path)
        is_done = threading.Event()

        def write() -> None:
            for number in range(1, 3001):
                backend.commit(
                    WriteBatch([(key(number), b"x" * 50)], [(Table.META, b"m", b"%d" % number)])
                )
            is_done.set()

        writer = threading.Thread(target=write)
        writer.start()
        snapshot = backend.snapshot()
        looks = 0
        while not is_done.is_set() or looks == 0:
            snapshot.refresh()
            last = int(snapshot.get(Table.META, b"m") or 0)
            found = [int.from_bytes(name, "big") for name, _ in snapshot.rows(Table.LOG)]
            assert found == list(range(1, last + 1))
            assert snapshot.get(Table.LOG, key(last + 1)) is None
            looks += 1
        writer.join()
        snapshot.close()
        backend.close()


class TestNoRoom:
    def full(self, path: Path) -> tuple[JournaledBackend, FullDisk]:
        disk = FullDisk(path)
        return JournaledBackend(path, disk=disk, background=False), disk

    @pytest.mark.parametrize("part", [1, 10, 60, 10**6])
    def test_an_entry_that_finds_no_room_is_refused_and_writing_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
    ) -> None:
        backend, disk = self.full(tmp_path / "a")
        backend.commit(record(1))
        backend.commit(record(2))
        monkeypatch.setattr(LmdbBackend, "move", refuse_as_full)
        disk.is_full, disk.part = True, part
        with pytest.raises(BackendFull):
            backend.commit(record(3))
        monkeypatch.undo()
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        assert records_of(tmp_path / "b") == 2, "what was refused does not come back"
        backend.commit(record(3))
        assert records_of(crashed(backend, tmp_path / "c")) == 3

    def test_an_entry_that_finds_no_room_has_lmdb_take_over_and_tries_again(
        self, tmp_path: Path
    ) -> None:
        backend, disk = self.full(tmp_path / "a")
        backend.commit(record(1))
        backend.commit(record(2))
        disk.is_full, disk.part = True, 30
        backend.commit(record(3))
        assert records_of(crashed(backend, tmp_path / "b")) == 3

    def test_an_entry_that_cannot_be_taken_back_is_uncertain_and_the_last(
        self, tmp_path: Path
    ) -> None:
        backend, disk = self.full(tmp_path)
        backend.commit(record(1))
        backend.commit(record(2))
        disk.is_full = True
        with pytest.raises(CommitUncertain):
            backend.commit(record(3))
        disk.is_full = False
        with pytest.raises(CommitUncertain):
            backend.commit(record(3))
        assert len(dump(backend)[0]) == 2, "reads go on"
        backend.close()
        assert records_of(tmp_path) == 2

    @pytest.mark.parametrize("part", [10, 10**6])
    def test_an_error_of_the_disk_stops_all_writing(self, tmp_path: Path, part: int) -> None:
        backend, disk = self.full(tmp_path)
        backend.commit(record(1))
        backend.commit(record(2))
        disk.is_broken, disk.part = True, part
        with pytest.raises(CommitUncertain):
            backend.commit(record(3))
        with pytest.raises(CommitUncertain):
            backend.commit(record(4))
        backend.close()
        assert records_of(tmp_path) == (2 if part == 10 else 3)

    def test_an_interrupted_commit_is_there_or_not_and_the_last(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend, disk = self.full(tmp_path)
        backend.commit(record(1))
        backend.commit(record(2))
        write = disk.write

        def interrupted(file: int, data: bytes, at: int) -> None:
            write(file, data, at)
            raise KeyboardInterrupt

        monkeypatch.setattr(disk, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            backend.commit(record(3))
        monkeypatch.undo()
        with pytest.raises(CommitUncertain):
            backend.commit(record(4))
        assert len(dump(backend)[0]) == 2
        backend.close()
        assert records_of(tmp_path) == 3

    def test_no_room_for_a_segment_has_lmdb_take_over_what_is_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(f"{JOURNAL}.LEAST_SEGMENT_BYTES", 8192)
        monkeypatch.setattr(f"{JOURNAL}.SEGMENT_BYTES", 8192)
        backend, disk = self.full(tmp_path)
        for number in range(1, 12):
            backend.commit(record(number, 1000))
        create, refused = disk.create, []

        def no_room(name: str, size_bytes: int) -> None:
            disk.is_full = True
            try:
                create(name, size_bytes)
            except OSError:
                refused.append(name)
                raise
            finally:
                disk.is_full = False

        monkeypatch.setattr(disk, "create", no_room)
        for number in range(12, 60):
            backend.commit(record(number, 1000))
        assert refused
        assert len(dump(backend)[0]) == 59
        backend.close()
        assert records_of(tmp_path) == 59

    def test_without_any_room_a_commit_is_refused_until_there_is_some(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(f"{JOURNAL}.LEAST_SEGMENT_BYTES", 8192)
        monkeypatch.setattr(f"{JOURNAL}.SEGMENT_BYTES", 8192)
        backend, disk = self.full(tmp_path)
        backend.commit(record(1, 1000))
        create = disk.create

        def full_create(name: str, size_bytes: int) -> None:
            disk.is_full = True
            try:
                create(name, size_bytes)
            finally:
                disk.is_full = False

        monkeypatch.setattr(disk, "create", full_create)
        with monkeypatch.context() as without_room:
            without_room.setattr(LmdbBackend, "move", refuse_as_full)
            stored = commit_until(backend, BackendFull, 1)
            assert commit_until(backend, BackendFull, stored) == stored
            assert len(dump(backend)[0]) == stored
        backend.commit(record(stored + 1, 1000))
        assert len(dump(backend)[0]) == stored + 1
        backend.close()
        assert records_of(tmp_path) == stored + 1

    def test_a_full_map_is_told_by_the_next_commit_and_grows(self, tmp_path: Path) -> None:
        backend = JournaledBackend(tmp_path, map_size_bytes=1 << 17, background=False)
        stored = 0
        for _ in range(20):
            stored = commit_until(backend, MapFull, stored, limit=stored + 10)
            with contextlib.suppress(MapFull):
                backend._checkpointer.run()  # type: ignore[union-attr]
        with pytest.raises(MapFull):
            backend.commit(record(stored + 1))
        assert len(dump(backend)[0]) == stored
        for _ in range(3):
            backend.grow()
        backend.commit(record(stored + 1))
        backend.checkpoint()
        backend.close()
        assert records_of(tmp_path) == stored + 1

    def test_closing_makes_the_map_as_large_as_it_must_be(self, tmp_path: Path) -> None:
        backend = JournaledBackend(tmp_path, map_size_bytes=1 << 17, background=False)
        for number in range(1, 200):
            backend.commit(record(number, 3000))
        backend.close()
        direct = LmdbBackend(tmp_path)
        assert len(dump(direct)[0]) == 199
        direct.close()

    @pytest.mark.parametrize("background", [False, True])
    def test_a_checkpoint_of_unknown_outcome_stops_all_writing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, background: bool
    ) -> None:
        def broken(*args: object) -> None:
            raise CommitUncertain("a sync failed")

        backend = JournaledBackend(tmp_path, background=background)
        for number in range(1, 4):
            backend.commit(record(number))
        monkeypatch.setattr(LmdbBackend, "move", broken)
        assert backend._checkpointer is not None
        with pytest.raises(CommitUncertain):
            backend._checkpointer.run()
        monkeypatch.undo()
        with pytest.raises(CommitUncertain):
            backend.commit(record(4))
        assert len(dump(backend)[0]) == 3
        backend.close()
        assert records_of(tmp_path) == 3


class TestDamage:
    @pytest.fixture
    def copy(self, tmp_path: Path) -> Path:
        return crashed(filled(tmp_path / "source", 6), tmp_path / "copy")

    def refuse(self, path: Path, sentence: str) -> None:
        with pytest.raises(CorruptStore, match=sentence):
            opened(path)
        with pytest.raises(CorruptStore, match=sentence):
            open_backend(path, fsync=False)

    def change(self, path: Path, at: int, change: Callable[[int], int]) -> None:
        data = bytearray(segment(path).read_bytes())
        data[at] = change(data[at])
        segment(path).write_bytes(data)

    def test_a_torn_last_entry_was_never_acknowledged(self, copy: Path) -> None:
        data = segment(copy).read_bytes()
        end = len(data.rstrip(b"\0"))
        segment(copy).write_bytes(data[: end - 130] + bytes(len(data) - end + 130))
        file, head = segment(copy), data[32:40]
        assert file.read_bytes().count(head) == 1 + 5, "the salt is in the head and in each entry"
        assert records_of(copy) == 5
        assert file.read_bytes().count(head) == 1 + 4, "no later crash can make it whole"
        assert records_of(copy) == 5

    def test_a_damaged_entry_before_others_is_told(self, copy: Path) -> None:
        self.change(copy, FIRST_ENTRY + 30, lambda byte: byte ^ 1)
        self.refuse(copy, "damaged at offset 4096: a valid commit follows at 42")

    def test_a_damaged_head_is_told(self, copy: Path) -> None:
        self.change(copy, 20, lambda byte: byte ^ 1)
        self.refuse(copy, "the head of segment-000000000001 is damaged")

    def test_a_segment_that_is_cut_short_is_told(self, copy: Path) -> None:
        segment(copy).write_bytes(b"")
        self.refuse(copy, "segment-000000000001 is cut short: it has 0 bytes")

    def test_a_missing_journal_is_told_unless_the_store_was_closed(
        self, copy: Path, tmp_path: Path
    ) -> None:
        segment(copy).unlink()
        self.refuse(copy, "segment-000000000001 is missing: it may hold commits")
        segment(tmp_path / "source").unlink()
        backend = opened(tmp_path / "source")
        for number in (7, 8):
            backend.commit(record(number))
        assert records_of(crashed(backend, tmp_path / "again")) == 8

    def test_the_journal_of_another_store_is_told(self, copy: Path, tmp_path: Path) -> None:
        other = crashed(filled(tmp_path / "other", 3), tmp_path / "elsewhere")
        shutil.copyfile(segment(other), segment(copy))
        self.refuse(copy, "belongs to another store")

    def test_a_renamed_segment_is_told(self, copy: Path) -> None:
        segment(copy).rename(copy / "segment-000000000002")
        (copy / "segment-000000000001").write_bytes((copy / "segment-000000000002").read_bytes())
        self.refuse(copy, "segment-000000000002 is segment 1 of a journal")

    def test_a_missing_segment_in_the_middle_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(f"{JOURNAL}.LEAST_SEGMENT_BYTES", 8192)
        monkeypatch.setattr(f"{JOURNAL}.SEGMENT_BYTES", 8192)
        backend = opened(tmp_path / "source")
        for number in range(1, 20):
            backend.commit(record(number, 1000))
        copy = crashed(backend, tmp_path / "copy")
        (copy / "segment-000000000002").unlink()
        self.refuse(copy, "a segment between 1 and .* is missing")

    def test_a_lost_end_of_a_segment_before_another_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(f"{JOURNAL}.LEAST_SEGMENT_BYTES", 8192)
        monkeypatch.setattr(f"{JOURNAL}.SEGMENT_BYTES", 8192)
        backend = opened(tmp_path / "source")
        for number in range(1, 20):
            backend.commit(record(number, 1000))
        copy = crashed(backend, tmp_path / "copy")
        first = copy / "segment-000000000001"
        first.write_bytes(first.read_bytes()[:6000] + bytes(2192))
        self.refuse(
            copy,
            "segment-000000000002 was made after commit 3, at offset 6192 of segment 1, and the "
            "journal ends with commit 1, at offset 4096 of segment 1",
        )

    @pytest.mark.parametrize("size", [65_536, 131_071, 131_080, 262_144])
    def test_a_segment_of_another_size_is_told(self, copy: Path, size: int) -> None:
        data = segment(copy).read_bytes()
        assert len(data) == 131_072
        segment(copy).write_bytes(data[:size] + bytes(max(size - len(data), 0)))
        how = "is cut short" if size < len(data) else "is longer than it was made"
        self.refuse(copy, f"{how}: it has {size} bytes, its head says 131072")

    def test_a_segment_that_no_memory_has_room_for_is_told(self, copy: Path) -> None:
        """It was read before its size was looked at, which ended in a MemoryError."""
        os.truncate(segment(copy), 1 << 42)
        self.refuse(copy, "is longer than it was made: it has 4398046511104 bytes")

    def test_a_directory_in_the_place_of_a_segment_is_named(self, copy: Path) -> None:
        name = segment(copy)
        name.unlink()
        name.mkdir()
        with pytest.raises(OpenError, match=f"Is a directory: '{name}'"):
            opened(copy)

    def test_lost_commits_are_told_up_to_the_head_of_the_next_segment(self, tmp_path: Path) -> None:
        """Though it has no commit of its own."""
        backend = filled(tmp_path / "source", 5)
        journal = backend._journal
        assert journal is not None
        journal.prepare()
        backend.commit(record(6))
        copy = crashed(backend, tmp_path / "copy")
        first = copy / "segment-000000000001"
        data = first.read_bytes()
        salt = data[32:40]
        ends = [at for at in range(FIRST_ENTRY, len(data), 8) if data[at : at + 8] == salt]
        assert len(ends) == 5
        first.write_bytes(data[: ends[3]] + bytes(len(data) - ends[3]))
        self.refuse(copy, "segment-000000000002 was made after commit 4, .* ends with commit 3")
        first.write_bytes(data[: ends[4]] + bytes(len(data) - ends[4]))
        assert records_of(copy) == 5, "nothing else on the disk knows of commit 5"

    def test_after_a_clean_end_the_journal_is_not_needed_whatever_is_wrong_with_it(
        self, copy: Path, tmp_path: Path
    ) -> None:
        source = tmp_path / "source"
        file = segment(source)
        data = file.read_bytes()
        damaged = (b"", data[:5000], data[:20] + b"x" + data[21:], data[:4200] + bytes(126_872))
        for number, some in enumerate(damaged):
            file.write_bytes(some)
            assert records_of(source) == 6
            shutil.copytree(source, tmp_path / str(number))
            backend = opened(tmp_path / str(number))
            backend.commit(record(7))
            backend.commit(record(8))
            assert records_of(crashed(backend, tmp_path / f"{number}-again")) == 8

    def test_a_commit_behind_a_clean_end_is_told(self, copy: Path, tmp_path: Path) -> None:
        """data.lmdb is a copy of an earlier time."""
        old = (tmp_path / "source" / "data.lmdb").read_bytes()
        backend = opened(tmp_path / "source")
        backend.commit(record(7))
        backend.commit(record(8))
        again = crashed(backend, tmp_path / "again")
        (again / "data.lmdb").write_bytes(old)
        self.refuse(again, "holds commit 6, and data.lmdb was closed after commit 5")

    def test_a_damaged_mark_is_told(self, copy: Path) -> None:
        direct = LmdbBackend(copy)
        snapshot = direct.snapshot()
        row = snapshot.get(Table.META, MARK_KEY)
        snapshot.close()
        assert row is not None
        direct.commit(WriteBatch(puts=[(Table.META, MARK_KEY, row[:20] + b"?" + row[21:])]))
        direct.close()
        self.refuse(copy, "the row about the journal is damaged: its checksum is wrong")

    def test_the_position_of_a_replicated_log_is_refused(self, copy: Path) -> None:
        body = msgpack.packb([bytes(16), 1, 1, 0, False, [bytes(16), 77, 0, b""]])
        direct = LmdbBackend(copy)
        row = sealed_row(MARK_KEY, body)
        direct.commit(WriteBatch(puts=[(Table.META, MARK_KEY, row)]))
        direct.close()
        self.refuse(copy, "follows a replicated log, which this version does not know")

    def test_a_journal_older_than_lmdb_is_told(self, tmp_path: Path) -> None:
        backend = filled(tmp_path / "source", 6)
        old = segment(tmp_path / "source").read_bytes()
        first = segment(tmp_path / "source").name
        for number in range(7, 12):
            backend.commit(record(number))
        backend.checkpoint()
        copy = crashed(backend, tmp_path / "copy")
        (copy / first).write_bytes(old)
        self.refuse(copy, "lacks commit 10, which data.lmdb has")

    def test_a_data_file_older_than_the_journal_is_told(self, tmp_path: Path) -> None:
        backend = opened(tmp_path / "a")
        backend.close()
        old = (tmp_path / "a" / "data.lmdb").read_bytes()
        copy = crashed(filled(tmp_path / "a", 6), tmp_path / "copy")
        (copy / "data.lmdb").write_bytes(old)
        self.refuse(copy, "data.lmdb knows of no journal, but segment-000000000001 holds commits")
