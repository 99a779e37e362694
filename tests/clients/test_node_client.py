"""Node's client `etcd3`, which is on @grpc/grpc-js, observes the same of ours as of a real etcd."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.servers import Pair, Server, running_pair
from tests.support.etcd import EtcdVersion, unavailable
from tests.support.npm import node_environment

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parent / "nodeclient"
RUN_DEADLINE_S = 120.0


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with running_pair(tmp_path, EtcdVersion.ETCD_37) as servers:
        yield servers


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    found = node_environment(SOURCE, "nodeclient")
    if found is None:
        unavailable("no Node and npm on this machine")
    assert found is not None
    return found


def test_the_checks_print_the_same(pair: Pair, environment: dict[str, str]) -> None:
    def run(server: Server) -> tuple[int, list[str]]:
        done = subprocess.run(
            ["node", "main.js", server.target],
            cwd=SOURCE,
            env=environment,
            capture_output=True,
            text=True,
            timeout=RUN_DEADLINE_S,
        )
        # How long it took, and how far the client had come, is the client's own and varies.
        said = re.sub(r"Deadline exceeded after .*", "Deadline exceeded", done.stdout)
        return done.returncode, [*said.splitlines(), done.stderr[-2000:]]

    with ThreadPoolExecutor(2) as pool:
        expected, actual = pool.map(run, pair)
    assert expected[0] == 0, expected
    assert len(expected[1]) > 50
    assert expected == actual
