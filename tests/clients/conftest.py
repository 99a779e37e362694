"""The servers of one test module: a real etcd and ours, stopped when its last test is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.clients.etcdctl import Script, compare
from tests.clients.servers import Pair, running_pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running_pair(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture
def both(pair: Pair) -> Callable[[Script], None]:
    """Run a script against both servers and compare what it printed."""
    return lambda script: compare(pair, script)
