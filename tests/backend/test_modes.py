"""Directories are private and files too, whatever the umask: as etcd's are."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.backend import open_backend
from kvstore.backend.interface import Table, WriteBatch
from kvstore.backend.journaled import JournaledBackend
from tests.support.kvserver import KvServer

NOBODY = 65534
UMASKS = (0, 0o022, 0o077, 0o777)


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that a user without privileges can use, too."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o777)
        yield Path(path)


def modes(root: Path) -> dict[str, int]:
    """Of everything in a directory, and of itself, without what the kinds of files say."""
    found = [root, *root.rglob("*")]
    return {
        str(path.relative_to(root.parent)): stat.S_IMODE(path.lstat().st_mode) for path in found
    }


def kind_of(name: str) -> str:
    return name.rpartition("/")[2].split("-0")[0]


def fill(path: Path, *, fsync: bool) -> None:
    for _ in range(2):
        backend = open_backend(path, fsync=fsync)
        for number in range(3):
            backend.commit(WriteBatch(puts=[(Table.META, b"m%d" % number, bytes(200_000))]))
        if isinstance(backend, JournaledBackend):
            backend.checkpoint()
        backend.close()


def run_with(umask: int, path: Path, *, fsync: bool) -> None:
    """In a child that root's privileges do not help."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.umask(umask)
            if os.geteuid() == 0:
                os.setuid(NOBODY)
            fill(path, fsync=fsync)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("fsync", [True, False])
@pytest.mark.parametrize("umask", UMASKS)
def test_embedded(home: Path, umask: int, fsync: bool) -> None:
    run_with(umask, home / "new" / "data", fsync=fsync)
    found = modes(home / "new")
    kinds = {kind_of(name) for name in found}
    journal = {"segment"} if fsync else set()
    assert kinds == {"new", "data", "LOCK", "data.lmdb", "data.lmdb-lock"} | journal | (
        kinds & {"spare"}
    )
    for name, mode in found.items():
        assert mode == (0o700 if kind_of(name) in ("new", "data") else 0o600), name


def test_what_was_there_keeps_its_mode(home: Path) -> None:
    (home / "data").mkdir()
    os.chmod(home / "data", 0o750)
    fill(home / "data", fsync=True)
    assert modes(home / "data")["data"] == 0o750


@pytest.mark.slow
@pytest.mark.parametrize("umask", UMASKS[:3])
def test_served(home: Path, umask: int) -> None:
    """A unix socket is the one thing that the umask decides, as on etcd."""
    before = os.umask(umask)
    try:
        server = KvServer(
            home / "data",
            ["--auto-tls", f"--listen-metrics-urls=unix://{home}/socket"],
            scheme="https",
        )
    finally:
        os.umask(before)
    try:
        found = modes(home / "data")
        socket = stat.S_IMODE((home / "socket").stat().st_mode)
    finally:
        server.stop()
    directories = {"data", "data/fixtures", "data/fixtures/client"}
    for name, mode in found.items():
        if name in directories:
            assert mode == 0o700, name
        else:
            assert mode == (0o644 if name.endswith("/cert.pem") else 0o600), name
    assert directories < set(found)
    assert socket == 0o777 & ~umask
