"""Power may go at any step: nothing acknowledged is lost, nothing is ever half there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.backend.journaled import JournaledBackend
from tests.backend.commits import commits, dump, states_of
from tests.support.power_cut import ImagedDisk

JOURNAL = "kvstore.backend.journal.journal"


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{JOURNAL}.LEAST_SEGMENT_BYTES", 8192)
    monkeypatch.setattr(f"{JOURNAL}.SEGMENT_BYTES", 16384)
    monkeypatch.setattr(f"{JOURNAL}.SPARE_SEGMENTS", 2)


class Run:
    """Commits and checkpoints; each image on the way must open to what had been acknowledged."""

    def __init__(self, path: Path, *, depth: int = 0, seed: int = 1, count: int = 40) -> None:
        self.path, self.depth = path, depth
        self.batches = commits(count, seed)
        self.states = states_of([*self.batches, commits(count + 1, seed)[-1]])
        self.acknowledged = self.images = 0

    def go(self, checkpoint_at: Iterator[int] | range) -> None:
        data, images = self.path / "data", self.path / "images"
        data.mkdir()
        images.mkdir()
        disk = ImagedDisk(data, images, self.judge)
        backend = JournaledBackend(data, disk=disk, background=False)
        points = set(checkpoint_at)
        for number, batch in enumerate(self.batches):
            backend.commit(batch)
            self.acknowledged = number + 1
            if number in points:
                backend.checkpoint()
        backend.close()
        assert disk.count > 0

    def judge(self, image: Path) -> None:
        self.images += 1
        shutil.copytree(image, self.path / "again")
        try:
            backend = JournaledBackend(image, background=False)
            found = self.check(backend)
            backend.close()
            backend = JournaledBackend(image, background=False)
            assert dump(backend) == found
            backend.close()
            if self.depth and self.images % 7 == 0:
                self.recover_again(self.path / "again", found)
        finally:
            shutil.rmtree(self.path / "again")

    def check(self, backend: JournaledBackend) -> object:
        found = dump(backend)
        assert found in self.states[self.acknowledged : self.acknowledged + 2]
        return found

    def recover_again(self, directory: Path, found: object) -> None:
        """The power goes again, while the journal is being recovered and written to."""

        def judge(image: Path) -> None:
            backend = JournaledBackend(image, background=False)
            assert dump(backend) in possible
            backend.close()

        possible = [found]
        images = self.path / "inner"
        images.mkdir()
        backend = JournaledBackend(
            directory, disk=ImagedDisk(directory, images, judge), background=False
        )
        done = self.states.index(found)
        for number in range(done, min(done + 2, len(self.batches))):
            possible[:] = self.states[number : number + 2]
            backend.commit(self.batches[number])
            possible[:] = [self.states[number + 1]]
            if number == done:
                backend.checkpoint()
        backend.close()
        shutil.rmtree(images)


class TestPowerCut:
    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(3))
    def test_every_step_of_commits_checkpoints_and_recycling_may_be_the_last(
        self, tmp_path: Path, seed: int
    ) -> None:
        Run(tmp_path, seed=seed).go(range(5, 40, 9))

    @pytest.mark.slow
    def test_without_a_checkpoint_everything_is_in_the_journal(self, tmp_path: Path) -> None:
        Run(tmp_path, seed=5).go(range(0))

    @pytest.mark.slow
    def test_the_recovery_may_be_cut_short_as_well(self, tmp_path: Path) -> None:
        Run(tmp_path, depth=1, seed=7, count=24).go(range(4, 24, 7))
