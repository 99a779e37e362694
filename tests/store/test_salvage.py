"""Salvage: what is provably whole, and what it says of the rest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import kvstore
from kvstore.backend.directory import DirectoryLock
from kvstore.backend.journaled import JournaledBackend
from kvstore.errors import CorruptStore, DirectoryLocked, OpenError
from kvstore.store.checker import check_directory
from kvstore.store.salvage import Salvaged, salvage
from kvstore.store.salvaged import write_salvaged
from kvstore.store.threads import ThreadStore
from kvstore.types import PutOp, Txn
from tests.store.formats.content import content_of
from tests.store.test_stored_formats import STORED, unpacked
from tests.support.damage import build

PAGE = 4096
LEASE = 0x1122334455667788


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    home = tmp_path_factory.mktemp("stores")
    return {
        name: (home / name, build(home / name, is_closed=name == "closed"))
        for name in ("closed", "crashed")
    }


@pytest.fixture(params=["closed", "crashed"])
def store(
    request: pytest.FixtureRequest,
    stores: dict[str, tuple[Path, dict[str, Any]]],
    tmp_path: Path,
) -> tuple[Path, dict[str, Any]]:
    """A copy to damage, and what it holds."""
    path, truth = stores[request.param]
    shutil.copytree(path, tmp_path / "data")
    return tmp_path / "data", truth


def written(made: Salvaged, path: Path) -> dict[str, Any]:
    """What a store says that was made of it."""
    write_salvaged(made, path)
    assert check_directory(str(path)) == []
    with kvstore.open(path) as db:
        return content_of(db._shell)


def page_of(path: Path, what: bytes) -> int:
    """The offset of the first page that has some bytes in it."""
    return path.read_bytes().index(what) // PAGE * PAGE


def zero(path: Path, at: int, size: int = PAGE) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(size))


def as_it_is(path: Path) -> dict[str, tuple[bytes, int]]:
    return {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in path.iterdir()}


def small(path: Path, count: int = 500) -> Path:
    """Keys k0 to k..., each written once, closed."""
    with kvstore.open(path) as db:
        for number in range(count):
            db.put(f"k{number:04}", b"v" * 100)
    return path


class TestWhole:
    def test_a_sound_directory_is_copied(
        self, store: tuple[Path, dict[str, Any]], tmp_path: Path
    ) -> None:
        path, truth = store
        made = salvage(path)
        assert (made.missing, made.uncertain, made.notes) == ([], [], [])
        assert written(made, tmp_path / "new") == truth["content"]

    @pytest.mark.parametrize("name", STORED)
    def test_a_directory_of_an_older_format_is_brought_up(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "data"
        path.mkdir()
        unpacked(name, path)
        made = salvage(path)
        assert made.missing == []
        content = written(made, tmp_path / "new")
        with kvstore.open(path) as db:
            assert content == content_of(db._shell)

    def test_a_lost_meta_page_costs_nothing(
        self, store: tuple[Path, dict[str, Any]], tmp_path: Path
    ) -> None:
        """Each of the two; what the newer one led to is found in its pages."""
        path, truth = store
        for number in range(2):
            copy = tmp_path / str(number)
            shutil.copytree(path, copy)
            zero(copy / "data.lmdb", number * PAGE)
            with pytest.raises(CorruptStore):
                kvstore.open(copy)
            made = salvage(copy)
            keys = {kv[0] for kv in written(made, tmp_path / f"new{number}")["keys"]}
            assert keys == {kv[0] for kv in truth["content"]["keys"]}

    def test_the_directory_is_left_as_it_is(self, store: tuple[Path, dict[str, Any]]) -> None:
        path, _ = store
        os.truncate(path / "data.lmdb", 5 * PAGE)
        before = as_it_is(path)
        salvage(path)
        assert as_it_is(path) == before


def killed(tmp_path: Path, *, keys: int) -> None:
    """`data` as a kill leaves it: 1,500 puts in some segments of the journal."""
    store = ThreadStore.open(JournaledBackend(tmp_path / "live", background=False))
    for number in range(1500):
        store.txn(Txn(success=(PutOp(b"k%d" % (number % keys), b"v" * 300),)))
    shutil.copytree(tmp_path / "live", tmp_path / "data")
    store.close()


class TestLoss:
    def test_a_lost_page_is_a_hole_with_its_revisions(self, tmp_path: Path) -> None:
        path = small(tmp_path / "data")
        zero(path / "data.lmdb", page_of(path / "data.lmdb", b"k0200"))
        for name in path.glob("s*-0*"):
            name.unlink()
        made = salvage(path)
        lost = 500 - made.keys
        assert 5 < lost < 50
        assert len(made.missing) >= 1
        assert "holds nothing but zeros" in made.missing[0]
        certain = made.keys - len(made.uncertain)
        assert certain > 200, "what was written after the hole is certain"
        assert {each.key for each in made.uncertain} <= {b"k%04d" % n for n in range(201)}
        content = written(made, tmp_path / "new")
        assert content["revision"] == 501
        assert content["compact_revision"] == made.compact
        assert len(content["history"]) == 501 - made.compact, "it is whole above the hole"

    def test_a_page_that_the_journal_still_has_is_not_lost(self, tmp_path: Path) -> None:
        path = small(tmp_path / "data")
        zero(path / "data.lmdb", page_of(path / "data.lmdb", b"k0200"))
        made = salvage(path)
        assert (made.missing, made.keys) == ([], 500)
        assert len(made.notes) == 1, "the damage is told all the same"

    def test_without_a_data_file_the_journal_is_all(self, tmp_path: Path) -> None:
        path = small(tmp_path / "data")
        (path / "data.lmdb").unlink()
        made = salvage(path)
        assert made.head == 501
        assert made.keys > 400
        assert made.uncertain == [], "what comes after the last hole is certain"
        assert any("data.lmdb is missing" in each for each in made.missing)
        written(made, tmp_path / "new")

    def test_a_missing_segment_makes_uncertain_what_was_not_written_after_it(
        self, tmp_path: Path
    ) -> None:
        killed(tmp_path, keys=300)
        segments = sorted((tmp_path / "data").glob("segment-*"))
        assert len(segments) > 2
        segments[1].unlink()
        made = salvage(tmp_path / "data")
        assert any("commits" in each for each in made.missing)
        assert made.head == 1501
        assert made.compact > 1
        content = written(made, tmp_path / "new")
        assert len(content["keys"]) == 300

    def test_segments_and_spares_that_no_memory_has_room_for(self, tmp_path: Path) -> None:
        """What the head of a segment says is read, and a file without a head is named."""
        killed(tmp_path, keys=1500)
        os.truncate(min((tmp_path / "data").glob("segment-*")), 1 << 42)
        (tmp_path / "data" / "spare-000000000099").touch()
        os.truncate(tmp_path / "data" / "spare-000000000099", 1 << 42)
        made = salvage(tmp_path / "data")
        assert (made.missing, made.keys) == ([], 1500)
        assert "spare-000000000099 cannot be read: there is not enough memory" in made.notes

    def test_a_lost_end_is_vouched_for_by_a_later_segment(self, tmp_path: Path) -> None:
        killed(tmp_path, keys=1500)
        last = max((tmp_path / "data").glob("segment-*"))
        zero(last, PAGE, 100_000)
        before_last = sorted((tmp_path / "data").glob("segment-*"))[-2]
        zero(before_last, before_last.stat().st_size - 40_000, 40_000)
        made = salvage(tmp_path / "data")
        assert any("commits" in each for each in made.missing)
        assert len(made.uncertain) > 0

    def test_a_lease_whose_ttl_is_lost_is_granted_again(self, tmp_path: Path) -> None:
        path = tmp_path / "data"
        with kvstore.open(path, durability="process-crash") as db:
            db.lease_grant(1234, LEASE)
            db.put("a", "1", lease=LEASE)
        data = (path / "data.lmdb").read_bytes()
        row = LEASE.to_bytes(8, "big")
        at = data.rindex(row)
        while at >= 0:  # in older pages, too
            zero(path / "data.lmdb", at, 8)
            at = data.rfind(row, 0, at)
        made = salvage(path)
        assert any("its TTL is lost" in each for each in made.missing)
        content = written(made, tmp_path / "new")
        assert content["leases"] == [[LEASE, 9_000_000_000, ["61"]]]


class TestRefused:
    def test_a_store_in_use(self, tmp_path: Path) -> None:
        path = small(tmp_path / "data", 1)
        lock = DirectoryLock(path)
        with pytest.raises(DirectoryLocked):
            salvage(path)
        lock.release()

    def test_a_target_that_is_there(self, tmp_path: Path) -> None:
        path = small(tmp_path / "data", 1)
        with pytest.raises(OpenError, match="is there already"):
            write_salvaged(salvage(path), path)
        (tmp_path / "empty").mkdir()
        write_salvaged(salvage(path), tmp_path / "empty")

    def test_what_was_left_of_an_earlier_run_is_no_matter(self, tmp_path: Path) -> None:
        path = small(tmp_path / "data", 1)
        (tmp_path / "new.partial").mkdir()
        (tmp_path / "new.partial" / "data.lmdb").write_bytes(b"x")
        write_salvaged(salvage(path), tmp_path / "new")
        assert not (tmp_path / "new.partial").exists()

    def test_nothing_is_left_when_it_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = small(tmp_path / "data", 1)
        monkeypatch.setattr("kvstore.store.salvaged.check_directory", lambda path: ["odd"])
        with pytest.raises(CorruptStore, match="odd"):
            write_salvaged(salvage(path), tmp_path / "new")
        assert sorted(each.name for each in tmp_path.iterdir()) == ["data"]
