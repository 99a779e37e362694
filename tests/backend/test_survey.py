"""The pages of a data file: sound ones are never called damaged, damaged ones always."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from kvstore.backend.interface import MapFull, Table, WriteBatch
from kvstore.backend.lmdb import LmdbBackend
from kvstore.backend.pages import PageDamage, PageFile
from kvstore.backend.survey import glance, survey
from kvstore.errors import CorruptStore
from tests.backend.commits import key

PAGE = 4096


def look(file: Path) -> list[str]:
    """What each of the two says; both must agree on a sound file."""
    wrong = survey(file)
    try:
        glance(file)
    except PageDamage as error:
        wrong.append(f"glance: {error}")
    return wrong


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """500 records in about 20 leaves under a branch, and one in pages of its own."""
    backend = LmdbBackend(tmp_path)
    backend.commit(WriteBatch([(key(number), b"v" * 130) for number in range(1, 501)]))
    backend.commit(WriteBatch([(key(501), b"w" * 10_000)]))
    backend.close()
    return tmp_path / "data.lmdb"


def pages(file: Path, kind: int) -> list[int]:
    """The offsets of pages of a kind, of which the log has most."""
    data = file.read_bytes()
    return [
        at
        for at in range(2 * PAGE, len(data), PAGE)
        if struct.unpack_from("<H", data, at + 10)[0] == kind
    ]


def write(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(data)


class TestSound:
    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(3))
    def test_after_every_commit(self, tmp_path: Path, seed: int) -> None:
        """Of rows of all sizes, of large and small deletions, with many free pages."""
        random = Random(seed)
        backend = LmdbBackend(tmp_path, fsync=False)
        live: list[bytes] = []
        last = 0
        for _ in range(40):
            count, sizes = random.choice([1, 10, 500, 2000]), [10, 100, 300, 1900, 2100, 9000]
            weights = [8, 8, 8, 0.2, 0.2, 0.2]
            rows = [
                (key(last + 1 + at), bytes(random.choices(sizes, weights)[0]))
                for at in range(count)
            ]
            last += count
            dropped = live[random.randrange(len(live) + 1) :] if random.random() < 0.4 else []
            live = live[: len(live) - len(dropped)] + [row[0] for row in rows]
            leases = [
                (Table.LEASE, random.randbytes(8), b"x" * 9)
                for _ in range(random.choice([0, 0, 3, 300]))
            ]
            batch = WriteBatch(rows, leases, [(Table.LOG, row) for row in dropped])
            try:
                backend.commit(batch)
            except MapFull:
                backend.grow()
                backend.commit(batch)
            assert look(tmp_path / "data.lmdb") == []
        backend.close()

    def test_random_bytes_behind_the_end_are_no_matter(self, file: Path) -> None:
        write(file, file.stat().st_size, b"garbage")
        assert look(file) == []


class TestDamaged:
    def test_cut_at_every_page_and_between(self, file: Path) -> None:
        size = file.stat().st_size
        whole = file.read_bytes()
        for at in range(0, size, PAGE // 2):
            file.write_bytes(whole[:at])
            wrong = look(file)
            assert wrong, at
            assert wrong[-1].startswith("glance: "), at

    @pytest.mark.parametrize(
        "change",
        [
            lambda data: bytes(PAGE),
            lambda data: data[:10] + b"\x01" + data[11:],
            lambda data: data[:8] + bytes(8) + data[16:],
            lambda data: b"\x03" + data[1:],
            lambda data: data[:12] + b"\xff\xff" + data[14:],
        ],
        ids=["zero", "kind", "head", "number", "offsets"],
    )
    def test_each_leaf(self, file: Path, change: Callable[[bytes], bytes]) -> None:
        whole = file.read_bytes()
        leaves = _reachable_leaves(file)
        assert len(leaves) > 10
        for at in leaves:
            write(file, at, change(whole[at : at + PAGE]))
            wrong = look(file)
            assert wrong, at
            assert wrong[-1].startswith("glance: "), at
            file.write_bytes(whole)

    def test_the_length_of_a_row_is_seen_by_a_survey_alone(self, file: Path) -> None:
        at = _reachable_leaves(file)[3]
        data = file.read_bytes()[at : at + PAGE]
        (row,) = struct.unpack_from("<H", data, 16)
        write(file, at + row + 2, b"\x01")
        glance(file)
        assert survey(file) == [f"log: page {at // PAGE} has a row that does not end in it"]

    def test_two_leaves_swapped(self, file: Path) -> None:
        whole, (first, second) = file.read_bytes(), _reachable_leaves(file)[2:4]
        write(file, first, whole[second : second + PAGE])
        write(file, second, whole[first : first + PAGE])
        assert len(look(file)) == 3

    def test_a_value_with_pages_of_its_own(self, file: Path) -> None:
        (at,) = pages(file, 4)
        write(file, at, bytes(8))
        assert survey(file) == [
            f"log: page {at // PAGE} is not the beginning of a value of 10000 bytes"
        ]

    @pytest.mark.parametrize("number", [0, 1])
    def test_a_meta_page(self, file: Path, number: int) -> None:
        write(file, number * PAGE + 16, bytes(4))
        assert look(file) == [
            f"meta page {number} cannot be read",
            f"glance: meta page {number} cannot be read",
        ]

    def test_a_last_page_that_cannot_be(self, file: Path) -> None:
        for number in range(2):
            write(file, number * PAGE + 136, b"\xff" * 8)
        assert "the file is cut short" in look(file)[0]

    def test_a_page_that_is_free_and_in_use(self, file: Path) -> None:
        with PageFile(file) as opened:
            root = opened.newest().main.root
        for at in pages(file, 2):
            data = file.read_bytes()[at : at + PAGE]
            (row,) = struct.unpack_from("<H", data, 16)
            size, _, key_bytes = struct.unpack_from("<IHH", data, row)
            if key_bytes == 8 and size % 8 == 0 and size > 8:  # a row of free pages
                write(file, at + row + 24, root.to_bytes(8, "little"))
        assert any("counted as free" in each for each in look(file))


class TestHowCloselyAnOpeningLooks:
    @pytest.fixture
    def looks(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """Files that were looked at in full."""
        seen: list[Path] = []

        def record(file: Path) -> list[str]:
            seen.append(Path(file))
            return survey(file)

        monkeypatch.setattr("kvstore.backend.lmdb.survey", record)
        return seen

    def test_at_every_row_only_after_an_end_without_closing(
        self, file: Path, looks: list[Path], tmp_path: Path
    ) -> None:
        backend = LmdbBackend(file.parent)
        assert looks == []
        copy = tmp_path / "copy"
        shutil.copytree(file.parent, copy, ignore=shutil.ignore_patterns("copy"))
        backend.close()
        LmdbBackend(copy).close()
        assert looks == [copy / "data.lmdb"]
        LmdbBackend(copy).close()
        LmdbBackend(file.parent).close()
        assert looks == [copy / "data.lmdb"]

    def test_as_closely_again_until_it_is_sound(self, file: Path, looks: list[Path]) -> None:
        whole = file.read_bytes()
        write(file, _reachable_leaves(file)[3], bytes(PAGE))
        (file.parent / "LOCK").write_text("1234")
        for _ in range(2):
            with pytest.raises(CorruptStore, match="holds nothing but zeros"):
                LmdbBackend(file.parent)
        assert len(looks) == 2
        file.write_bytes(whole)
        for _ in range(2):
            LmdbBackend(file.parent).close()
        assert len(looks) == 3


def _reachable_leaves(file: Path) -> list[int]:
    """Offsets of the leaves of the log; each damage to one must be seen."""
    at = pages(file, 1)[-1]
    data = file.read_bytes()[at : at + PAGE]
    (lower,) = struct.unpack_from("<H", data, 12)
    rows = struct.unpack_from(f"<{(lower - 16) // 2}H", data, 16)
    return [struct.unpack_from("<H", data, row)[0] * PAGE for row in rows]
