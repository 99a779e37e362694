"""Malformed conversations by the thousand: nothing is raised, and etcd sees the same requests."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kvstore.server.transports.http1.parser import (
    MAX_HEAD_BYTES,
    Body,
    End,
    Event,
    Fault,
    Head,
    Parser,
)
from tests.server.http1.conversations import TAIL
from tests.server.http1.mutants import mutants
from tests.server.http1.test_framing_like_etcd import statuses
from tests.support.etcd import EtcdServer, EtcdVersion
from tests.support.fuzz import ROUNDS, SEED
from tests.support.http_site import Wire
from tests.support.kvserver import KvServer

pytestmark = pytest.mark.slow

PARSED = 4000 * ROUNDS
COMPARED = 1000 * ROUNDS


class TestParser:
    def test_pieces_do_not_matter_and_nothing_follows_a_fault(self) -> None:
        source = random.Random(SEED)
        for data in mutants(SEED, PARSED):
            whole = parsed([data])
            assert parsed([data[at : at + 1] for at in range(len(data))]) == whole
            cut = source.randrange(len(data) + 1)
            assert parsed([data[:cut], data[cut:]]) == whole

    def test_bytes_of_any_kind_are_bounded(self) -> None:
        source = random.Random(SEED)
        for _ in range(200 * ROUNDS):
            parser = Parser()
            size = 0
            while not any(isinstance(each, Fault) for each in parser.feed(source.randbytes(4096))):
                size += 4096
                assert size <= MAX_HEAD_BYTES + 4096


def parsed(pieces: list[bytes]) -> list[object]:
    """What is said of the pieces; bodies are joined."""
    parser, said = Parser(), list[object]()
    for piece in pieces:
        events: list[Event] = parser.feed(piece)
        for event in events:
            match event:
                case Head(request):
                    said.append((request.method, request.target, request.fields, b""))
                case Body(data):
                    *before, body = said[-1]  # type: ignore[misc]
                    said[-1] = (*before, body + data)
                case End():
                    said.append("end")
                case Fault():
                    said.append(event)
                    assert event is events[-1]
                    return said
    return said


class TestLikeEtcd:
    @pytest.fixture
    def ports(self, tmp_path: Path) -> Iterator[tuple[int, int]]:
        ours = KvServer(tmp_path / "ours", ["--in-memory"])
        etcd = EtcdServer(EtcdVersion.ETCD_37, tmp_path / "etcd")
        yield tuple(int(each.target.rpartition(":")[2]) for each in (ours, etcd))  # type: ignore[misc]
        ours.stop()
        etcd.kill()

    def test_as_many_requests_are_answered_with_the_same(self, ports: tuple[int, int]) -> None:
        def both(data: bytes) -> tuple[bytes, list[str], list[str]]:
            ours, etcds = (answers(port, data) for port in ports)
            return data, ours, etcds

        with ThreadPoolExecutor(4) as pool:
            for data, ours, etcds in pool.map(both, mutants(SEED, COMPARED)):
                if b"transfer-encoding" in data.lower():
                    # Here we close earlier: a length beside it, HTTP/1.0, LF alone in trailers.
                    etcds = etcds[: len(ours)]
                assert ours == etcds, data


def answers(port: int, data: bytes) -> list[str]:
    with Wire(port) as wire:
        wire.send(data + TAIL)
        with contextlib.suppress(OSError):  # it was answered and closed
            wire.half_close()
        return statuses(wire.rest())
