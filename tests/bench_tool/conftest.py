"""The endpoints that the load benchmark is tried on: our server in memory, and a real etcd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kvstore.client.grpc import GrpcStore
from tests.support.etcd import EtcdServer, EtcdVersion
from tests.support.kvserver import KvServer


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = KvServer(tmp_path_factory.mktemp("bench-tool") / "kv", ["--in-memory"])
    yield server.target
    server.stop()


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = EtcdServer(EtcdVersion.ETCD_34, tmp_path_factory.mktemp("bench-tool") / "etcd")
    yield server.target
    server.stop()


@pytest.fixture(params=["ours", "etcd"])
def target(request: pytest.FixtureRequest) -> str:
    """Each of the two, with whatever the tests before left in it."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def store(target: str) -> Iterator[GrpcStore]:
    """A client of the same endpoint, to see what a run did."""
    with GrpcStore(target, timeout_s=10) as client:
        yield client
