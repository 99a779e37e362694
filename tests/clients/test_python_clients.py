"""The Python clients pass the same checks against ours and a real etcd.

`etcd3` and `aetcd` speak gRPC, `etcd3gw`, Patroni and `tooz` the JSON gateway.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryFile
from threading import Timer

import pytest

from tests.clients.servers import NOT_SERVED, Pair, Server

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CLIENTS = ("etcd3", "aetcd", "etcd3gw", "patroni", "tooz")
SCRIPTS = {client: HERE / f"{client}_script.py" for client in CLIENTS}
RUN_DEADLINE_S = 120.0


def names(script: Path) -> list[str]:
    """The checks of a script, as its last list names them."""
    listed = script.read_text().rpartition("run_checks(\n        [")[2].partition("]")[0]
    return re.findall(r"\w+", listed)


def outcomes(client: str, server: Server) -> dict[str, str]:
    """Run a client's script against a server; the line of each check by its name."""
    # The messages of etcd3 are older than the compiled protobuf runtimes accept.
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    command = [sys.executable, str(SCRIPTS[client]), server.target]
    with (
        TemporaryFile("w+") as errors,
        Popen(command, env=environment, stdin=PIPE, stdout=PIPE, stderr=errors, text=True) as child,
    ):
        deadline = Timer(RUN_DEADLINE_S, child.kill)
        deadline.start()
        try:
            lines = list(verdicts(child, server))
            code = child.wait()
        finally:
            deadline.cancel()
        errors.seek(0)
        assert code == 0, errors.read()
    return {line.split()[1].rstrip(":"): line for line in lines}


def verdicts(child: Popen[str], server: Server) -> Iterator[str]:
    """The lines of the checks; what the script wants to happen to the server is done meanwhile."""
    assert child.stdin is not None
    assert child.stdout is not None
    controls = {"restart": server.restart, "kill": server.kill, "start": server.start}
    for line in child.stdout:
        kind, _, rest = line.rstrip("\n").partition(" ")
        if kind == "server":
            controls[rest]()
            print(rest, file=child.stdin, flush=True)
        elif kind in ("ok", "failed"):
            yield line.rstrip("\n")


@cache
def outcomes_of_both(client: str, pair: Pair) -> tuple[dict[str, str], dict[str, str]]:
    """The outcomes of the real etcd come first. At once: much of the time is waiting for leases."""
    with ThreadPoolExecutor(2) as pool:
        expected, actual = pool.map(lambda server: outcomes(client, server), pair)
    return expected, actual


CHECKS = [(client, check) for client, script in SCRIPTS.items() for check in names(script)]
MISSING = {
    ("etcd3", "alarms"),  # it raises one
    *((client, check) for client in SCRIPTS for check in ("defragment", "hashing", "snapshot")),
}


@pytest.mark.parametrize(("client", "check"), CHECKS)
def test_a_real_etcd_passes(pair: Pair, client: str, check: str) -> None:
    assert outcomes_of_both(client, pair)[0][check] == f"ok {check}"


@pytest.mark.parametrize(
    ("client", "check"),
    [pytest.param(*c, marks=[NOT_SERVED] if c in MISSING else []) for c in CHECKS],
)
def test_ours_passes(pair: Pair, client: str, check: str) -> None:
    assert outcomes_of_both(client, pair)[1][check] == f"ok {check}"
