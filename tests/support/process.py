"""Child processes of tests: start one, wait for a line of its log, end it by its pid."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["ChildProcess", "StartFailed", "free_ports"]


class StartFailed(Exception):
    """The child ended, or said nothing in time; the text holds the end of its log."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class ChildProcess:
    """A child whose output goes to a file that is watched while it starts."""

    def __init__(
        self, command: Sequence[str], log_path: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.command, self.log_path = list(command), log_path
        with log_path.open("ab") as log:
            self._log_start = log.tell()
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """What it wrote since it was started."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def wait_for(self, pattern: str, timeout_s: float = 30.0) -> re.Match[str]:
        """The first match in the log. Raises StartFailed when it ends or stays silent."""
        return self._poll(lambda: re.search(pattern, self.log()), pattern, timeout_s)

    def _poll(
        self, probe: Callable[[], re.Match[str] | None], what: str, timeout_s: float
    ) -> re.Match[str]:
        deadline_monotonic_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_monotonic_s:
            found = probe()
            if found is not None:
                return found
            if self.process.poll() is not None:
                raise StartFailed(f"ended with {self.process.returncode}: {self.log()[-4000:]}")
            time.sleep(0.01)
        self.kill()
        raise StartFailed(f"no {what!r} in {timeout_s} s: {self.log()[-4000:]}")

    def stop(self, timeout_s: float = 10.0) -> int:
        """Ask it to end and wait; a child that does not is killed. Returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                return self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
