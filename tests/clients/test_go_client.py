"""etcd's own Go client observes the same of ours as of a real etcd."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.servers import NOT_SERVED, Pair, running_pair
from tests.support.etcd import EtcdVersion, unavailable

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parent / "goclient"
CACHE = Path(__file__).parents[2] / ".cache"
RUN_DEADLINE_S = 120.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    # The client is of this version too, and uses what older servers do not have.
    with running_pair(tmp_path_factory.mktemp("servers"), EtcdVersion.ETCD_37) as servers:
        yield servers


@pytest.fixture(scope="module")
def program() -> Path:
    """Build the client once into the cache; parallel test processes wait for the first."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        unavailable("no Go compiler on this machine")
    assert go is not None
    CACHE.mkdir(exist_ok=True)
    built = CACHE / "goclient"
    with (CACHE / "goclient.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [go, "build", "-buildvcs=false", "-o", str(built), "."],
            cwd=SOURCE,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    return built


@pytest.fixture(scope="module")
def observations(pair: Pair, program: Path) -> tuple[list[str], list[str]]:
    """Run the client against both servers at once; the lines of the real etcd come first."""

    def run(target: str) -> list[str]:
        done = subprocess.run(
            [str(program), target], capture_output=True, text=True, timeout=RUN_DEADLINE_S
        )
        assert done.returncode in (0, 1), (
            done.returncode,
            done.stdout[-2000:],
            done.stderr[-4000:],
        )
        return done.stdout.splitlines()

    with ThreadPoolExecutor(2) as pool:
        expected, actual = pool.map(run, [server.target for server in pair])
    return expected, actual


CHECKS = [
    "put", "get", "get options", "delete", "txn", "txn compares", "txn refused", "compact",
    "maintenance", "alarms", "hash", "defragment", "members refused",
    "watch live", "watch history", "watch filters", "watch prev", "watch progress",
    "watch compacted", "watch fragment", "watch cancel", "watch many", "watch future",
    "watch whole transactions", "lease", "lease keepalive", "lease expiry", "lease refused",
    "mutex", "mutex counter", "election", "stm serializable", "stm snapshot", "stm repeatable",
    "stm committed", "namespace", "ordering", "mirror",
]  # fmt: skip
MISSING = {"hash", "defragment", "members refused"}


@pytest.mark.parametrize(
    "check", [pytest.param(c, marks=[NOT_SERVED] if c in MISSING else []) for c in CHECKS]
)
def test_observations_are_equal(observations: tuple[list[str], list[str]], check: str) -> None:
    expected, actual = (
        [line for line in lines if line.startswith(f"{check}: ")] for lines in observations
    )
    assert expected, "the check printed nothing"
    assert not [line for line in expected if "STOPPED" in line]
    assert expected == actual


def test_every_check_is_compared(observations: tuple[list[str], list[str]]) -> None:
    assert set(CHECKS) == {line.partition(": ")[0] for line in observations[0]}
