"""Where requests end, byte for byte beside real etcd servers: as many answers, their statuses."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from kvstore.server.transports.http1.parser import Head, Parser
from tests.server.http1.conversations import CONVERSATIONS, CUT, OF_ETCD_34, ON_PURPOSE, TAIL
from tests.support.etcd import EtcdServer, EtcdVersion
from tests.support.http_site import Wire
from tests.support.kvserver import KvServer

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ?[^\r\n]*\r\n")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """As a process: the first bytes of a connection are looked at as well."""
    server = KvServer(tmp_path_factory.mktemp("ours") / "data", ["--in-memory"])
    yield int(server.target.rpartition(":")[2])
    server.stop()


@pytest.fixture(scope="module", params=EtcdVersion, ids=lambda version: version.value)
def etcd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EtcdServer]:
    server = EtcdServer(request.param, tmp_path_factory.mktemp("etcd") / "data")
    yield server
    server.kill()


def answers(port: int, name: str) -> str:
    """The statuses up to the end of the connection, which the tail asks for."""
    with Wire(port) as wire:
        wire.send(CONVERSATIONS[name][0] + TAIL)
        if name in CUT:
            wire.half_close()
        return " ".join(statuses(wire.rest()))


def statuses(said: bytes) -> list[str]:
    """No body of a page or an error has a status line in it."""
    return [status.decode() for status in _STATUS.findall(said)]


class TestFraming:
    @pytest.mark.parametrize("name", CONVERSATIONS)
    def test_the_answers_are_those_of_the_table(self, ours: int, name: str) -> None:
        assert answers(ours, name) == CONVERSATIONS[name][1]

    @pytest.mark.parametrize("name", CONVERSATIONS)
    def test_the_table_is_etcds(self, etcd: EtcdServer, name: str) -> None:
        theirs = answers(int(etcd.target.rpartition(":")[2]), name)
        known = CONVERSATIONS[name][1]
        if name in ON_PURPOSE:
            known, _ = ON_PURPOSE[name]
        if etcd.version is EtcdVersion.ETCD_34:
            known = OF_ETCD_34.get(name, known)
        assert theirs in known.split("|")

    @pytest.mark.parametrize("name", CONVERSATIONS)
    def test_the_size_of_the_pieces_does_not_matter(self, name: str) -> None:
        data = CONVERSATIONS[name][0] + TAIL
        assert _parsed(data, 1) == _parsed(data, len(data))


def _parsed(data: bytes, size: int) -> tuple[list[str], str]:
    """Targets of the requests, and the fault that ended it."""
    parser, targets = Parser(), []
    for at in range(0, len(data), size):
        for event in parser.feed(data[at : at + size]):
            if isinstance(event, Head):
                targets.append(event.request.target)
            elif hasattr(event, "status"):
                return targets, event.text
    return targets, ""
