"""A directory that was written by the code of its time opens, whole."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from kvstore.backend import open_backend
from kvstore.store.checker import check_directory
from kvstore.store.rows import FORMAT
from kvstore.store.threads import ThreadStore
from kvstore.types import PutOp, Txn
from tests.store.formats.content import content_of

FORMATS = Path(__file__).parent / "formats"
STORED = sorted(path.name.removesuffix(".tar.gz") for path in FORMATS.glob("*.tar.gz"))


def unpacked(name: str, path: Path) -> Path:
    with tarfile.open(FORMATS / f"{name}.tar.gz") as tar:
        tar.extractall(path, filter="data")
    return path


@pytest.mark.parametrize("fsync", [True, False])
@pytest.mark.parametrize("name", STORED)
class TestStoredFormat:
    def test_all_of_it_is_there_and_stays(self, tmp_path: Path, name: str, fsync: bool) -> None:
        unpacked(name, tmp_path)
        stored = json.loads((FORMATS / "content.json").read_text())
        for _ in range(2):
            store = ThreadStore.open(open_backend(tmp_path, fsync=fsync))
            assert content_of(store) == stored
            store.close()
        assert check_directory(str(tmp_path)) == []

    def test_it_is_sound_and_takes_writes(self, tmp_path: Path, name: str, fsync: bool) -> None:
        unpacked(name, tmp_path)
        assert check_directory(str(tmp_path)) == []
        store = ThreadStore.open(open_backend(tmp_path, fsync=fsync))
        revision = store.revision
        assert store.txn(Txn(success=(PutOp(b"k", b"v"),))).revision == revision + 1
        store.close()
        assert check_directory(str(tmp_path)) == []


def test_each_format_has_its_directory() -> None:
    assert {f"format-{number}" for number in range(1, FORMAT + 1)} <= set(STORED)
