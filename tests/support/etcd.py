"""Real etcd servers for tests: the distribution's 3.4 and a 3.7.1 built from its Go module.

    ETCD_34    the `etcd` of Debian, found on the PATH
    ETCD_37    `etcd371/`, our own main around etcd's embed package, built once into `.cache/`

Where a server cannot be had the tests that need it are skipped, except in CI (`CI=true`), where
`unavailable` fails them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from enum import Enum
from functools import cache
from pathlib import Path

import pytest

from tests.support.gobuild import go_binary
from tests.support.process import ChildProcess, StartFailed, free_ports

__all__ = ["EtcdServer", "EtcdVersion", "etcd_binary", "unavailable"]

_SOURCE = Path(__file__).parent / "etcd371"
_START_ATTEMPTS = 5


class EtcdVersion(Enum):
    ETCD_34 = "etcd34"
    ETCD_37 = "etcd37"


def unavailable(reason: str) -> None:
    """Skip the test, or fail it in CI, where every server has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"in CI this may not be missing: {reason}")
    pytest.skip(reason)


@cache
def etcd_binary(version: EtcdVersion) -> Path | None:
    """The executable, None when it cannot be had; 3.7.1 is built when it is not there yet.

    Raises subprocess.CalledProcessError when Go is there and the build fails.
    """
    if version is EtcdVersion.ETCD_34:
        found = shutil.which("etcd")
        return Path(found) if found else None
    return go_binary(_SOURCE, "etcd-3.7.1")


class EtcdServer:
    """One member in `data_dir`, serving on a free port of the loopback until it is stopped.

    `flags` are further command line flags in the words of 3.7. `restart` goes on with the
    same data on the same port.
    """

    def __init__(self, version: EtcdVersion, data_dir: Path, flags: Sequence[str] = ()) -> None:
        self.version, self.data_dir, self.flags = version, data_dir, tuple(flags)
        binary = etcd_binary(version)
        if binary is None:
            unavailable(f"no {version.value} server on this machine")
        assert binary is not None
        self._binary = binary
        self._ports: list[int] = []
        self._child: ChildProcess | None = None
        self.start()

    def __repr__(self) -> str:
        return f"<EtcdServer {self.version.value} {self.target}>"

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def start(self) -> None:
        """Start and wait until it serves; other ports are tried when these were taken meanwhile."""
        first = not self._ports
        for attempt in range(_START_ATTEMPTS):
            if first:
                self._ports = free_ports(2)
            self._child = ChildProcess(
                self._command(), self.data_dir.with_suffix(".log"), {"ETCD_UNSUPPORTED_ARCH": ""}
            )
            try:
                self._child.wait_for("ready to serve client requests")
                return
            except StartFailed as failure:
                if attempt == _START_ATTEMPTS - 1 or "address already in use" not in str(failure):
                    raise

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    def wait(self, timeout_s: float = 30.0) -> int:
        """The exit code, once it has ended. Raises subprocess.TimeoutExpired when it does not."""
        assert self._child is not None
        return self._child.process.wait(timeout_s)

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        if self._child is not None:
            self._child.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _command(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._ports)
        shared = ["--data-dir", str(self.data_dir)]
        # A short election timeout makes a start fast; it also makes the minimum lease TTL 1 s.
        shared += ["--heartbeat-interval", "10", "--election-timeout", "100"]
        if self.version is EtcdVersion.ETCD_34:
            shared += ["--listen-client-urls", client, "--advertise-client-urls", client]
            shared += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            shared += ["--initial-cluster", f"default={peer}"]
        else:
            shared += ["--listen-client-url", client, "--listen-peer-url", peer]
            shared += ["--unsafe-no-fsync"]
        return [str(self._binary), *shared, *(self._flag(flag) for flag in self.flags)]

    def _flag(self, flag: str) -> str:
        """The name that this version has for a flag of 3.7."""
        if self.version is EtcdVersion.ETCD_34:
            return flag.replace("--watch-progress", "--experimental-watch-progress")
        return flag
