"""Our server and a bystander of it, for each test of a hostile peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.h2.connection import Connection
from tests.support.h2.peers import Bystander
from tests.support.h2.servers import Kind, WireServer, start_server

Open = Callable[..., Connection]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireServer]:
    """Our server, without the costly invariants, which would be what takes the time."""
    started = start_server(Kind.OURS, tmp_path_factory.mktemp("hostile") / "data", verify=False)
    yield started
    started.stop()


@pytest.fixture
def attacker(server: WireServer) -> Iterator[Open]:
    """Open a connection to the server; closed after the test."""
    opened: list[Connection] = []

    def open_connection(*args: object, **kwargs: object) -> Connection:
        opened.append(Connection(server.target, *args, **kwargs))  # type: ignore[arg-type]
        return opened[-1]

    yield open_connection
    for each in opened:
        each.close()


@pytest.fixture
def bystander(server: WireServer) -> Iterator[Bystander]:
    """Served on its own connection during the whole test, which calls `check` at its end."""
    with Bystander(server) as each:
        yield each
