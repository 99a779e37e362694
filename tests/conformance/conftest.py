"""Each test of the conformance suite runs against every kind of store, fresh and at revision 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.client.grpc import GrpcStore
from kvstore.store.interface import StoreProtocol
from tests.support.ops import Watching
from tests.support.sites import DURABLE, REMOTE, TARGETS, Site, open_site


def _site(request: pytest.FixtureRequest, directory: Path) -> Iterator[Site]:
    site = open_site(request.param, directory)
    yield site
    site.close()


@pytest.fixture(params=TARGETS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from _site(request, tmp_path)


@pytest.fixture
def store(site: Site) -> StoreProtocol:
    """An empty store at revision 1."""
    return site.store


@pytest.fixture
def watching(store: StoreProtocol) -> Iterator[Watching]:
    """A watch stream of `store` without a watcher yet."""
    watching = Watching(store)
    yield watching
    watching.close()


@pytest.fixture(params=DURABLE)
def durable_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """As `site`, only kinds that can be restarted."""
    yield from _site(request, tmp_path)


@pytest.fixture(params=REMOTE)
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GrpcStore]:
    """A fresh store at the other end of a connection."""
    for site in _site(request, tmp_path):
        assert isinstance(site.store, GrpcStore)
        yield site.store


@pytest.fixture(params=REMOTE)
def notifying(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watching]:
    """A watch stream of a fresh store that notifies of progress every 100 ms."""
    site = open_site(request.param, tmp_path, ["--watch-progress-notify-interval=100ms"])
    watching = Watching(site.store)
    yield watching
    watching.close()
    site.close()
