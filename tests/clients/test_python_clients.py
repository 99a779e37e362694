"""The Python clients pass the same checks against ours and a real etcd.

`etcd3` and `aetcd` speak gRPC; `etcd3gw`, `tooz` and Patroni live on the JSON gateway.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.clients.servers import NOT_SERVED, Pair

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CLIENTS = ("etcd3", "aetcd", "etcd3gw", "tooz", "patroni")
SCRIPTS = {client: HERE / f"{client}_script.py" for client in CLIENTS}
RUN_DEADLINE_S = 120.0


def names(script: Path) -> list[str]:
    """The checks of a script, as its last list names them."""
    listed = script.read_text().rpartition("run_checks(\n        [")[2].partition("]")[0]
    return re.findall(r"\w+", listed)


@cache
def outcomes(client: str, target: str) -> dict[str, str]:
    """Run a client's script against a server; the line of each check by its name."""
    # The messages of etcd3 are older than the compiled protobuf runtimes accept.
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    done = subprocess.run(
        [sys.executable, str(SCRIPTS[client]), target],
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("ok ", "failed "))]
    return {line.split()[1].rstrip(":"): line for line in lines}


CHECKS = [(client, check) for client, script in SCRIPTS.items() for check in names(script)]
MISSING = {"alarms", "defragment", "hashing", "snapshot", "login_without_auth", "login"}


@pytest.mark.parametrize(("client", "check"), CHECKS)
def test_a_real_etcd_passes(pair: Pair, client: str, check: str) -> None:
    assert outcomes(client, pair.etcd.target)[check] == f"ok {check}"


@pytest.mark.parametrize(
    ("client", "check"),
    [pytest.param(*c, marks=[NOT_SERVED] if c[1] in MISSING else []) for c in CHECKS],
)
def test_ours_passes(pair: Pair, client: str, check: str) -> None:
    assert outcomes(client, pair.ours.target)[check] == f"ok {check}"


@pytest.mark.parametrize("which", Pair._fields)
def test_patroni_lives_through_a_restart(pair: Pair, which: str) -> None:
    server = getattr(pair, which)
    command = [sys.executable, str(SCRIPTS["patroni"]), server.target, "restart"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as script:
        try:
            assert script.stdin is not None
            assert script.stdout is not None
            assert script.stdout.readline() == "restart\n"
            server.restart()
            said, log = script.communicate("restarted\n", timeout=RUN_DEADLINE_S)
        finally:
            script.kill()
    assert said == "ok server_restart\n", log
