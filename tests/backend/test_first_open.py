"""The first opening of a directory may end at any step: the next one makes it anew."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path

import lmdb
import pytest

from kvstore.backend import open_backend
from kvstore.backend.interface import Table, WriteBatch
from kvstore.backend.lmdb import LmdbBackend
from kvstore.errors import CorruptStore, OpenError
from tests.support.os_faults import at_call

MOST_CALLS = 200


def is_usable(path: Path) -> bool:
    backend = open_backend(path)
    backend.commit(WriteBatch(puts=[(Table.META, b"m", b"1")]))
    backend.close()
    return not (path / "data.lmdb.new").exists()


def what_an_opening_says(path: Path) -> str | None:
    try:
        LmdbBackend(path).close()
    except OpenError as error:
        return str(error)
    return None


def crash() -> None:
    os._exit(77)


def ends_at_call(number: int, path: Path) -> bool:
    """Does a process that opens the directory end there?"""
    child = os.fork()
    if not child:
        with at_call(number, crash):
            open_backend(path).close()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77


class TestCrash:
    @pytest.mark.slow
    def test_every_call_may_be_the_last(self, tmp_path: Path) -> None:
        for number in range(1, MOST_CALLS):
            path = tmp_path / str(number) / "a" / "b"
            if not ends_at_call(number, path):
                break
            assert is_usable(path)
        assert 15 < number < MOST_CALLS - 1, "all calls were tried, and there are some"

    @pytest.mark.parametrize("size", [0, 1, 4095, 4096, 8191, 8192, 20000])
    def test_what_was_left_of_the_data_file_is_removed(self, tmp_path: Path, size: int) -> None:
        (tmp_path / "data.lmdb.new").write_bytes(bytes(size))
        assert is_usable(tmp_path)

    def test_a_whole_file_without_its_name_counts_for_nothing(self, tmp_path: Path) -> None:
        is_usable(tmp_path / "a")
        (tmp_path / "b").mkdir()
        os.rename(tmp_path / "a" / "data.lmdb", tmp_path / "b" / "data.lmdb.new")
        backend = open_backend(tmp_path / "b")
        snapshot = backend.snapshot()
        assert snapshot.get(Table.META, b"m") is None
        snapshot.close()
        backend.close()


class TestErrors:
    @pytest.mark.slow
    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
    def test_every_call_may_fail(self, tmp_path: Path, code: int) -> None:
        def fail() -> None:
            raise OSError(code, os.strerror(code))

        for number in range(1, MOST_CALLS):
            path = tmp_path / str(number) / "a" / "b"
            with at_call(number, fail) as made:
                told = what_an_opening_says(path)
            assert told is None or os.strerror(code) in told
            assert is_usable(path)
            if len(made) < number:
                break
        assert 15 < number < MOST_CALLS - 1

    def test_lmdb_finds_no_room(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object, **kwargs: object) -> None:
            raise lmdb.DiskError("No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(lmdb, "open", refuse)
            with pytest.raises(OpenError, match=r"cannot make .*data\.lmdb: No space left"):
                LmdbBackend(tmp_path)
        assert is_usable(tmp_path)

    def test_new_names_are_synced_up_to_the_first_directory_that_was_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[Path] = []
        real = os.fsync

        def fsync(file: int) -> None:
            synced.append(Path(os.readlink(f"/proc/self/fd/{file}")))
            real(file)

        monkeypatch.setattr(os, "fsync", fsync)
        LmdbBackend(tmp_path / "a" / "b" / "c").close()
        assert synced == [
            tmp_path,
            tmp_path / "a",
            tmp_path / "a" / "b",
            tmp_path / "a" / "b" / "c" / "data.lmdb.new",
            tmp_path / "a" / "b" / "c",
            tmp_path / "a" / "b",
        ]


class TestCutShortByAnOlderVersion:
    """Which made the file under its own name."""

    @pytest.mark.parametrize("size", [0, 1, 4095, 4096, 8191, 8192, 20480])
    def test_a_file_with_nothing_in_it_is_told(self, tmp_path: Path, size: int) -> None:
        (tmp_path / "data.lmdb").write_bytes(bytes(size))
        for _ in range(2):
            with pytest.raises(CorruptStore, match=r"was never finished.*remove it"):
                open_backend(tmp_path)
        (tmp_path / "data.lmdb").unlink()
        assert is_usable(tmp_path)

    def test_not_with_a_journal_beside_it(self, tmp_path: Path) -> None:
        is_usable(tmp_path)
        os.truncate(tmp_path / "data.lmdb", 0)
        with pytest.raises(CorruptStore, match="kvstore salvage"):
            open_backend(tmp_path)

    def test_a_first_page_alone_is_damage(self, tmp_path: Path) -> None:
        is_usable(tmp_path)
        os.truncate(tmp_path / "data.lmdb", 4096)
        for file in tmp_path.glob("*-0*"):
            file.unlink()
        with pytest.raises(CorruptStore, match="meta page 1 cannot be read"):
            open_backend(tmp_path)


class TestNoFiles:
    @pytest.mark.parametrize("name", ["data.lmdb", "LOCK", "data.lmdb-lock", "data.lmdb.new"])
    def test_a_directory_in_the_place_of_a_file(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).mkdir()
        with pytest.raises(OpenError, match=name):
            open_backend(tmp_path)

    @pytest.mark.parametrize("name", ["data.lmdb", "LOCK", "data.lmdb-lock"])
    def test_a_pipe_in_the_place_of_a_file(self, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / name)
        with pytest.raises(OpenError):
            open_backend(tmp_path)
        assert stat.S_ISFIFO(os.stat(tmp_path / name).st_mode)

    def test_a_pipe_in_the_place_of_a_segment(self, tmp_path: Path) -> None:
        backend = open_backend(tmp_path / "a")
        backend.commit(WriteBatch(puts=[(Table.META, b"m", b"1")]))
        (tmp_path / "b").mkdir()
        shutil.copyfile(tmp_path / "a" / "data.lmdb", tmp_path / "b" / "data.lmdb")
        for segment in (tmp_path / "a").glob("segment-*"):
            os.mkfifo(tmp_path / "b" / segment.name)
        backend.close()
        with pytest.raises(CorruptStore, match="cut short"):
            open_backend(tmp_path / "b")

    @pytest.mark.parametrize("name", ["data.lmdb", "LOCK"])
    def test_a_link_to_itself(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).symlink_to(tmp_path / name)
        with pytest.raises(OpenError, match="Too many levels of symbolic links"):
            open_backend(tmp_path)

    def test_a_link_to_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "data.lmdb").symlink_to(tmp_path / "missing")
        with pytest.raises(OpenError, match="link to a file that is not there"):
            open_backend(tmp_path)

    def test_a_file_in_the_place_of_the_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for path in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(OpenError, match="cannot use"):
                open_backend(path)

    def test_a_data_file_that_is_missing_beside_a_journal(self, tmp_path: Path) -> None:
        """Even after a clean end, when nothing of the journal is needed any more."""
        is_usable(tmp_path)
        (tmp_path / "data.lmdb").unlink()
        for fsync in (True, False):
            with pytest.raises(CorruptStore, match="is missing, and there is a journal"):
                open_backend(tmp_path, fsync=fsync)
        assert not (tmp_path / "data.lmdb").exists()


NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
@pytest.mark.parametrize("name", ["", "data.lmdb", "LOCK"])
def test_permission_denied_is_told(name: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "data"
        is_usable(path)
        os.chmod(home, 0o755)
        for each in (path, *path.iterdir()):
            os.chown(each, NOBODY, NOBODY)
        os.chown(path / name, 0, 0)
        child = os.fork()
        if not child:
            status = 1
            try:
                os.setuid(NOBODY)
                with pytest.raises(OpenError, match="Permission denied"):
                    open_backend(path)
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
