"""Durable ordered bytes. Knows nothing of etcd."""

from __future__ import annotations

import os
from pathlib import Path

from kvstore.backend.interface import Backend
from kvstore.backend.memory import MemoryBackend

__all__ = ["MEMORY", "open_backend"]

MEMORY = ":memory:"


def open_backend(
    path: str | os.PathLike[str], *, fsync: bool = True, create: bool = True
) -> Backend:
    """The backend for a data directory, or for MEMORY one in RAM that ends with the process.

    Raises OpenError, DirectoryLocked, CorruptStore.
    """
    if path == MEMORY:
        return MemoryBackend()
    from kvstore.backend.lmdb import DATA_FILE, LmdbBackend

    if fsync:
        from kvstore.backend.journaled import JournaledBackend

        return JournaledBackend(path, create=create)
    if (Path(path) / DATA_FILE).exists():
        from kvstore.backend.journaled import settle_journal

        settle_journal(path)
    return LmdbBackend(path, fsync=False, create=create)
