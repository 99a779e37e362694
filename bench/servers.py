"""The servers that are measured, as child processes that end with their block."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import kvstore

__all__ = [
    "Running",
    "StartFailed",
    "etcd",
    "etcd37",
    "etcd_version",
    "free_port",
    "is_installed",
    "kvstore_server",
    "resident_mb",
    "wait_for_port",
]

START_TIMEOUT_S = 20.0
_WITHOUT_COLLECTOR = (
    "import gc, runpy; gc.disable(); runpy.run_module('kvstore', run_name='__main__')"
)
STOP_TIMEOUT_S = 10.0


class Running(NamedTuple):
    """A server of the loopback."""

    port: int
    pid: int

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


class StartFailed(Exception):
    """The child ended, or took no connection in time; the text holds the end of its log."""


def is_installed(command: str) -> bool:
    return shutil.which(command) is not None


def etcd_version() -> str:
    """Of the etcd on PATH: `3.4.23`."""
    done = subprocess.run(["etcd", "--version"], capture_output=True, text=True, timeout=10)
    return done.stdout.partition("\n")[0].rpartition(" ")[2]


def free_port() -> int:
    """A port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def kvstore_server(directory: Path, *, collects: bool = True) -> Iterator[Running]:
    """`kvstore serve` on the data in `directory`, when it takes connections.

    Without `collects` the collector of reference cycles never runs, whose pauses hide others.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = ["-m", "kvstore"] if collects else ["-c", _WITHOUT_COLLECTOR]
    command = [sys.executable, *program, "serve", "--data-dir", str(directory / "kvstore")]
    command += ["--listen-client-urls", url, "--advertise-client-urls", url]
    with _running(command, directory / "kvstore.log", port) as running:
        yield running


@contextmanager
def etcd(directory: Path, binary: Path = Path("etcd")) -> Iterator[Running]:
    """A real etcd of one member on the data in `directory`, with its defaults otherwise."""
    port = free_port()
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    command = [str(binary), "--data-dir", str(directory / "etcd"), "--log-outputs", "stderr"]
    command += ["--logger", "zap", "--log-level", "error"]
    command += ["--listen-client-urls", client, "--advertise-client-urls", client]
    command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    command += ["--initial-cluster", f"default={peer}"]
    with _running(command, directory / "etcd.log", port) as running:
        yield running


@contextmanager
def etcd37(directory: Path, binary: Path) -> Iterator[Running]:
    """The same for `tests/support/etcd371`, whose flags are few and whose defaults are short."""
    port = free_port()
    command = [str(binary), "--data-dir", str(directory / "etcd")]
    command += ["--listen-client-url", f"http://127.0.0.1:{port}"]
    command += ["--listen-peer-url", f"http://127.0.0.1:{free_port()}"]
    command += ["--heartbeat-interval", "100", "--election-timeout", "1000"]
    with _running(command, directory / "etcd.log", port) as running:
        yield running


@contextmanager
def _running(command: Sequence[str], log_path: Path, port: int) -> Iterator[Running]:
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=Path(kvstore.__file__).parents[1],
            env=_environment(),
        )
    try:
        try:
            wait_for_port(process, port)
        except StartFailed as error:
            raise StartFailed(f"{error}: {log_path.read_text(errors='replace')[-2000:]}") from None
        yield Running(port, process.pid)
    finally:
        _end(process)


def _environment() -> dict[str, str]:
    """Ours, without what would configure a server or turn on costly checks."""
    own = ("ETCD_", "ETCDCTL_", "KVSTORE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    """Raises StartFailed when nothing listens in time."""
    deadline_monotonic_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_monotonic_s:
        if process.poll() is not None:
            raise StartFailed(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.002)
    raise StartFailed(f"{process.args!r} took no connection in {START_TIMEOUT_S} s")


def resident_mb(pid: int, what: str = "VmRSS") -> float:
    """VmRSS, which counts what is in memory of the mapped database file; RssAnon does not."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(each for each in status.splitlines() if each.startswith(f"{what}:"))
    return int(line.split()[1]) / 1024


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
