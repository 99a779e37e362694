"""The servers that the contract is checked on; a test has a prefix of its own in a shared one.

    native, grpcio      ours, on either transport
    etcd34, etcd37      real ones: Debian's 3.4.23 and 3.7.1

A server is started when the first test asks for it, and serves the whole run.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kubernetes_contract.storage import Storage
from tests.kubernetes_contract.targets import TARGETS
from tests.support.etcd import EtcdServer, EtcdVersion
from tests.support.kvserver import KvServer

PROGRESS_INTERVAL = "--watch-progress-notify-interval=100ms"

_names = itertools.count()


class Server(NamedTuple):
    kind: str
    process: KvServer | EtcdServer
    first_revision: int
    """Of the store when it was empty."""

    @property
    def target(self) -> str:
        return self.process.target


class Servers:
    """Each kind, with and without flags, started once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[tuple[str, ...], Server] = {}

    def get(self, kind: str, *flags: str) -> Server:
        server = self._running.get((kind, *flags))
        if server is None:
            server = self._running[kind, *flags] = self._start(kind, flags)
        return server

    def _start(self, kind: str, flags: tuple[str, ...]) -> Server:
        data_dir = self._directory / f"{kind}-{len(self._running)}"
        process: KvServer | EtcdServer
        if kind in ("native", "grpcio"):
            process = KvServer(data_dir, ["--transport", kind, *flags])
        else:
            process = EtcdServer(EtcdVersion(kind), data_dir, flags)
        storage = Storage(process.target)
        try:
            return Server(kind, process, storage.revision())
        finally:
            storage.close()

    def close(self) -> None:
        for server in self._running.values():
            server.process.kill()
            shutil.rmtree(server.process.data_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.close()


@pytest.fixture(scope="session", params=TARGETS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    return servers.get(request.param)


@pytest.fixture
def storage(server: Server) -> Iterator[Storage]:
    storage = Storage(server.target)
    yield storage
    storage.close()


@pytest.fixture(params=TARGETS)
def notifying(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Storage]:
    """Of a server that tells watches of progress every 100 ms."""
    storage = Storage(servers.get(request.param, PROGRESS_INTERVAL).target)
    yield storage
    storage.close()


@pytest.fixture
def prefix() -> bytes:
    """The prefix of a resource type that no other test uses."""
    return b"/registry/kind-%d/" % next(_names)
