"""Power may go at any step, of recovery too: nothing acknowledged is lost, nothing half there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kvstore.backend.interface import Table, WriteBatch
from kvstore.backend.journal.segment import CURRENT
from kvstore.backend.journaled import JournaledBackend
from kvstore.backend.lmdb import DATA_FILE, LmdbBackend
from tests.backend.commits import State, commits, dump, key, states_of
from tests.store.test_stored_formats import unpacked
from tests.support.power_cut import CutDisk, CutLmdb, Files, Image

JOURNAL = "kvstore.backend.journal.journal"
CUTS = int(os.environ.get("KVSTORE_POWER_CUTS", "8"))
CHAINS = int(os.environ.get("KVSTORE_POWER_CHAINS", "20"))
SEED = int(os.environ.get("KVSTORE_POWER_SEED", "1"))
EMPTY = Image((), b"")


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{JOURNAL}.LEAST_SEGMENT_BYTES", 8192)
    monkeypatch.setattr(f"{JOURNAL}.SEGMENT_BYTES", 8192)
    monkeypatch.setattr(f"{JOURNAL}.SPARE_SEGMENTS", 2)
    monkeypatch.setattr("kvstore.backend.journaled.LmdbBackend", CutLmdb)


@pytest.fixture
def home() -> Iterator[Path]:
    """In memory where that can be: LMDB's syncs are not what is tested."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path)


class Life:
    """One opening of an image, from the first read to the end, and each cut on the way."""

    def __init__(self, home: Path, image: Image, batches: list[WriteBatch], states: list[State]):
        self._home, self._image, self._batches, self._states = home, image, batches, states
        self.cuts: dict[Image, set[int]] = {}
        """An image -> how many commits it may open to."""
        self.start = -1
        """How many commits there were when it was open."""
        self._possible: set[int] = set()

    def live(self, *, count: int = 0, checkpoints: Collection[int] = ()) -> None:
        """Open, commit so many batches with checkpoints after some of them, close."""
        directory = Path(tempfile.mkdtemp(dir=self._home))
        if self._image.lmdb:
            (directory / DATA_FILE).write_bytes(self._image.lmdb)
        self._disk = CutDisk(directory, self._image.files, self._cut)
        CutLmdb.on_cut = staticmethod(self._cut_lmdb)
        try:
            backend = JournaledBackend(directory, disk=self._disk, background=False)
            self.start = self._states.index(dump(backend))
            self._possible.add(self.start)  # what recovery was cut short in is what it found
            for number in range(self.start, min(self.start + count, len(self._batches))):
                self._commit(backend, number)
                if number - self.start in checkpoints:
                    backend.checkpoint()
            backend.close()
            assert self._states.index(dump_of(directory)) == max(self._possible)
        finally:
            CutLmdb.on_cut = staticmethod(lambda data: None)
            shutil.rmtree(directory)

    def _commit(self, backend: JournaledBackend, number: int) -> None:
        self._possible = {number, number + 1}
        backend.commit(self._batches[number])
        self._possible = {number + 1}
        if number % 2 and backend._journal is not None:
            backend._journal.prepare()  # so that a large commit passes over an empty segment

    def _cut(self, files: Files) -> None:
        lmdb = self._disk.directory / DATA_FILE
        self._note(Image(files, lmdb.read_bytes()))

    def _cut_lmdb(self, data: bytes) -> None:
        for files in self._disk.images():
            self._note(Image(files, data))

    def _note(self, image: Image) -> None:
        possible = self.cuts.setdefault(image, self._possible)
        if possible is not self._possible:
            self.cuts[image] = possible | self._possible


def dump_of(directory: Path) -> State:
    """What LMDB alone holds."""
    direct = LmdbBackend(directory)
    try:
        return dump(direct)
    finally:
        direct.close()


class World:
    def __init__(
        self,
        home: Path,
        seed: int = 1,
        *,
        batches: list[WriteBatch] | None = None,
        states: list[State] | None = None,
    ) -> None:
        self._home = home
        self._batches = batches or commits(60, seed, sizes=(5, 300, 2500, 9000))
        self._states = states or states_of(self._batches)
        self.opened = 0
        self.seen: set[Image] = set()
        """By `recover`."""

    def live(self, image: Image, possible: set[int], **work: Any) -> Life:
        """What became of an image, which must open to one of the possible numbers of commits."""
        self.opened += 1
        life = Life(self._home, image, self._batches, self._states)
        life.live(**work)
        assert life.start in possible, f"it holds {life.start} commits, not {possible}"
        return life

    def recover(self, image: Image, possible: set[int]) -> int:
        """Open it, and whatever a cut of that leaves, and so on until there is nothing new.

        Returns how deep that went.
        """
        depth, front = 0, {image: possible}
        self.seen.add(image)
        while front:
            found: dict[Image, set[int]] = {}
            for each, numbers in front.items():
                found.update(self.live(each, numbers).cuts)
            front = {each: numbers for each, numbers in found.items() if each not in self.seen}
            self.seen |= front.keys()
            depth += 1
        return depth


class TestPowerCut:
    @pytest.mark.slow
    def test_every_step_may_be_the_last_and_every_step_of_recovering_from_it(
        self, home: Path
    ) -> None:
        world = World(home, SEED)
        first = list(world.live(EMPTY, {0}, count=12, checkpoints={4, 9}).cuts.items())
        step = max(len(first) // CUTS, 1)
        depths = [world.recover(image, numbers) for image, numbers in first[step // 2 :: step]]
        print(f"{len(depths)} of {len(first)} cuts, {world.opened} openings, {max(depths)} deep")
        assert max(depths) >= 3

    @pytest.mark.slow
    def test_it_may_go_again_and_again_in_what_comes_after(self, home: Path) -> None:
        """Openings that commit, make checkpoints and close, each begun from a cut of the last."""
        chance = Random(SEED)
        world = World(home, SEED + 1)
        starts = list(world.live(EMPTY, {0}, count=12, checkpoints={5}).cuts.items())
        for _ in range(CHAINS):
            image, numbers = chance.choice(starts)
            for _ in range(8):
                count, checkpoints = chance.randrange(5), {chance.randrange(5)}
                cuts = world.live(image, numbers, count=count, checkpoints=checkpoints).cuts
                if not cuts:
                    break
                image, numbers = chance.choice(list(cuts.items()))
        print(f"{world.opened} openings")

    def test_a_commit_too_large_for_the_next_segment_leaves_no_gap_when_it_is_cut_short(
        self, home: Path
    ) -> None:
        """Segments 1 with entries, 2 empty, 3 torn: 3 must go for good before 2 does."""
        world = World(home, batches=[record(1, 100), record(2, 100), record(3, 9000)])
        first = world.live(EMPTY, {0}, count=3)
        three = [
            (image, numbers)
            for image, numbers in first.cuts.items()
            if live_numbers(image) == [1, 2, 3]
        ]
        torn = [each for each in three if world.live(*each).start == 2]
        assert torn
        assert max(world.recover(*each) for each in torn) >= 3
        assert [1, 2] in map(live_numbers, world.seen)
        assert [1, 3] not in map(live_numbers, world.seen)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["format-2", "format-2-closed"])
    def test_a_journal_of_format_2_is_taken_over_whole(self, home: Path, name: str) -> None:
        """However often power goes meanwhile, all of it is in LMDB at the end."""
        directory = unpacked(name, home / name)
        image = Image(
            tuple((path.name, path.read_bytes()) for path in sorted(directory.glob("*-0*"))),
            (directory / DATA_FILE).read_bytes(),
        )
        backend = JournaledBackend(directory, background=False)
        world = World(home, states=[dump(backend)])
        backend.close()
        assert world.recover(image, {0}) >= 2
        assert any(name.startswith("journal-") for name, _ in image.files)
        print(f"{world.opened} openings")


def record(number: int, size: int) -> WriteBatch:
    return WriteBatch([(key(number), bytes(size))], [(Table.META, b"m", b"%d" % number)])


def live_numbers(image: Image) -> list[int]:
    return CURRENT.live_numbers([name for name, _ in image.files])
