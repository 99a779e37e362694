"""Durable ordered bytes. Knows nothing of etcd."""

from __future__ import annotations

import os

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
    from kvstore.backend.lmdb import LmdbBackend

    return LmdbBackend(path, fsync=fsync, create=create)
