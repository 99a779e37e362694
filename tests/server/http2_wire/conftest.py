"""The servers of these tests: one of each kind for all that need no flags of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.h2.connection import Connection
from tests.support.h2.servers import Kind, WireServer, start_server

Serve = Callable[..., WireServer]
Open = Callable[..., Connection]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Kind], WireServer]]:
    """The server of a kind, started when it is first asked for."""
    started: dict[Kind, WireServer] = {}

    def server(kind: Kind) -> WireServer:
        if kind not in started:
            started[kind] = start_server(kind, tmp_path_factory.mktemp("wire") / kind.value)
        return started[kind]

    yield server
    for each in started.values():
        each.stop()


@pytest.fixture(params=list(Kind), ids=lambda kind: kind.value)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Which server the test is about."""
    assert isinstance(request.param, Kind)
    return request.param


@pytest.fixture
def target(kind: Kind, servers: Callable[[Kind], WireServer]) -> str:
    """`host:port` of a server of this kind."""
    return servers(kind).target


@pytest.fixture
def ours(servers: Callable[[Kind], WireServer]) -> str:
    """`host:port` of our server, for tests of what grpc-go does not do."""
    return servers(Kind.OURS).target


@pytest.fixture
def serve(kind: Kind, tmp_path: Path) -> Iterator[Serve]:
    """Start a server of this kind with flags; stopped after the test."""
    started: list[WireServer] = []

    def start(*flags: str, verify: bool = True) -> WireServer:
        server = start_server(kind, tmp_path / f"data{len(started)}", flags, verify=verify)
        started.append(server)
        return server

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def connections() -> Iterator[Open]:
    """Open a Connection with the arguments of its class; closed after the test."""
    opened: list[Connection] = []

    def open_connection(*args: object, **kwargs: object) -> Connection:
        opened.append(Connection(*args, **kwargs))  # type: ignore[arg-type]
        return opened[-1]

    yield open_connection
    for each in opened:
        each.close()


@pytest.fixture
def wire(target: str, connections: Open) -> Connection:
    """A connection to `target` with the prefaces exchanged."""
    return connections(target)


@pytest.fixture
def our_wire(ours: str, connections: Open) -> Connection:
    """A connection to our server with the prefaces exchanged."""
    return connections(ours)
