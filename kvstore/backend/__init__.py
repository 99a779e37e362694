"""Durable ordered bytes. Knows nothing of etcd."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kvstore.loading import loading

if TYPE_CHECKING:
    from kvstore.backend.interface import Backend

__all__ = ["MEMORY", "open_backend"]

MEMORY = ":memory:"


def open_backend(
    path: str | os.PathLike[str], *, fsync: bool = True, create: bool = True
) -> Backend:
    """The backend for a data directory, or for MEMORY one in RAM that ends with the process.

    Raises OpenError, DirectoryLocked, CorruptStore.
    """
    if path == MEMORY:
        from kvstore.backend.memory import MemoryBackend

        return MemoryBackend()
    with loading():
        from kvstore.backend.journaled import JournaledBackend, settle_journal
        from kvstore.backend.lmdb import DATA_FILE, LmdbBackend

    if fsync:
        return JournaledBackend(path, create=create)
    if os.path.exists(os.path.join(path, DATA_FILE)):
        settle_journal(path)
    return LmdbBackend(path, fsync=False, create=create)
