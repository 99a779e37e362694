"""Every kind of store that the conformance suite runs against, behind one face.

sync, sync_dir      ThreadStore in memory, ThreadStore in a directory
async, async_dir    LoopStore on a loop in a thread, in memory and in a directory
served              GrpcStore to our own server
grpcio              the same with --transport grpcio, the reference for our own transport
etcd34, etcd37      GrpcStore to a real etcd
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from kvstore.client.grpc import GrpcStore
from kvstore.store.interface import AsyncStoreProtocol, StoreProtocol
from tests.support.etcd import EtcdServer, EtcdVersion
from tests.support.kvserver import KvServer
from tests.support.loopstore import BlockingLoopStore

__all__ = ["DURABLE", "REMOTE", "TARGETS", "Site", "open_site", "store_version"]

TARGETS = ("sync", "sync_dir", "async", "served", "grpcio", "etcd34", "etcd37")
"""Where every test of the suite runs."""
DURABLE = ("sync_dir", "async_dir", "served", "etcd34", "etcd37")
"""Where a test that restarts the store runs."""
REMOTE = ("served", "grpcio", "etcd34", "etcd37")
"""Where a test of headers and statuses on the wire runs."""

_TIMEOUT_S = 60.0


class _Server(Protocol):
    data_dir: Path

    @property
    def target(self) -> str: ...
    def kill(self) -> None: ...
    def restart(self) -> None: ...


class Site:
    """An empty store at revision 1 and what keeps it running.

    `connect` opens the store and, in `restart`, opens it again over the same data.
    """

    def __init__(self, connect: Callable[[], StoreProtocol], server: _Server | None = None) -> None:
        self._connect, self.server = connect, server
        self.store = connect()

    def restart(self) -> StoreProtocol:
        """End the store in an orderly way and start it over the same data."""
        self.store.close()
        if self.server is not None:
            self.server.restart()
        self.store = self._connect()
        return self.store

    def close(self) -> None:
        self.store.close()
        if self.server is not None:
            self.server.kill()
            # etcd sets 64 MB aside for its log: hundreds of tests would fill the disk.
            shutil.rmtree(self.server.data_dir, ignore_errors=True)


def open_site(target: str, directory: Path, flags: Sequence[str] = ()) -> Site:
    """Start `target` with its data, if any, in a new directory inside `directory`.

    `flags` are for servers, in the words of etcd 3.7; a store in this process takes none.
    """
    match target:
        case "sync" | "sync_dir":
            where = ":memory:" if target == "sync" else str(directory / "data")
            return Site(lambda: _thread_store(where))
        case "async" | "async_dir":
            where = ":memory:" if target == "async" else str(directory / "data")
            return Site(lambda: BlockingLoopStore(lambda: _loop_store(where)))
        case "served":
            return _served(KvServer(directory / "data", flags))
        case "grpcio":
            return _served(KvServer(directory / "data", ["--transport", "grpcio", *flags]))
        case _:
            return _served(EtcdServer(EtcdVersion(target), directory / "data", flags))


def _served(server: KvServer | EtcdServer) -> Site:
    return Site(lambda: GrpcStore(server.target, timeout_s=_TIMEOUT_S), server)


def _thread_store(where: str) -> StoreProtocol:
    from kvstore.backend import open_backend
    from kvstore.store.threads import ThreadStore

    return ThreadStore.open(open_backend(where))


async def _loop_store(where: str) -> AsyncStoreProtocol:
    from kvstore.backend import open_backend
    from kvstore.store.aio import LoopStore

    return await LoopStore.open(open_backend(where))


def store_version(store: StoreProtocol) -> tuple[int, int]:
    """The etcd version whose behaviour the store has; (3, 7) for everything of our own."""
    if isinstance(store, GrpcStore):
        major, minor, *_ = store.server_version().split(".")
        return int(major), int(minor)
    return 3, 7
