"""controller-runtime's envtest takes `kvstore` for its etcd, under a link of that name.

The program in `envtest/` starts an API server as the tests of controllers do, installs the custom
resource of examples/kubernetes/, and runs a controller; a real etcd in the same place shows that
the program itself is sound.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.kubernetes.build import Binaries
from tests.support.etcd import EtcdVersion, etcd_binary, unavailable
from tests.support.gobuild import go_binary

SOURCE = Path(__file__).parent / "envtest"
CRD = Path(__file__).parents[2] / "examples" / "kubernetes" / "crd.yaml"
TIMEOUT_S = 180.0


@pytest.fixture(scope="module")
def program() -> Path:
    found = go_binary(SOURCE, "envtest")
    if found is None:
        unavailable("no `go` on PATH, which builds tests/kubernetes/envtest/")
    assert found is not None
    return found


@pytest.fixture(params=["kvstore", "etcd34"])
def etcd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A link `etcd` to the command that is installed beside this Python, or to Debian's etcd."""
    command: Path | None = Path(sysconfig.get_path("scripts"), "kvstore")
    if request.param == "etcd34":
        command = etcd_binary(EtcdVersion.ETCD_34)
    if command is None or not command.exists():
        unavailable(f"no {request.param} on this machine")
    assert command is not None
    link = tmp_path / "etcd"
    link.symlink_to(command)
    return link


def test_a_controller_runs_on_envtest(program: Path, etcd: Path, binaries: Binaries) -> None:
    assets = {"TEST_ASSET_ETCD": etcd, "TEST_ASSET_KUBE_APISERVER": binaries.apiserver}
    done = subprocess.run(
        [program, CRD],
        env={**os.environ, **{name: str(path) for name, path in assets.items()}},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    started = re.fullmatch(rf"started {re.escape(str(etcd))} on (127\.0\.0\.1):(\d+)", first)
    assert started is not None, first
    assert others == [
        "created and published",
        "edited and published",
        "a stale update is a conflict",
        "deleted and published again",
        "stopped",
    ]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((started[1], int(started[2]))).close()
