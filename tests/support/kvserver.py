"""Our own server as a child process: `python -m kvstore serve`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.process import ChildProcess

__all__ = ["KvServer"]


class KvServer:
    """One server in `data_dir`, on a port that it picks itself and keeps when it is restarted.

    `verify` off leaves its costly invariants out, for tests with large amounts of data. `scheme`
    is https for a server whose `flags` name certificates.
    """

    def __init__(
        self,
        data_dir: Path,
        flags: Sequence[str] = (),
        *,
        verify: bool = True,
        scheme: str = "http",
    ) -> None:
        self.data_dir, self.flags, self.verify = data_dir, tuple(flags), verify
        self.scheme = scheme
        self.target = ""
        self._child: ChildProcess | None = None
        self.start()

    def __repr__(self) -> str:
        return f"<KvServer {self.target}>"

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def start(self) -> None:
        command = [sys.executable, "-m", "kvstore", "serve", "--data-dir", str(self.data_dir)]
        url = f"{self.scheme}://{self.target or '127.0.0.1:0'}"
        command += ["--listen-client-urls", url, "--advertise-client-urls", url, *self.flags]
        self._child = ChildProcess(
            command, self.data_dir.with_suffix(".log"), {"KVSTORE_VERIFY": str(int(self.verify))}
        )
        self._child.wait_for("ready to serve client requests")
        bound = self._child.wait_for(r"https?://(127\.0\.0\.1:[1-9]\d*)")
        self.target = bound[1]

    def logged(self, pattern: str) -> str:
        """The first group of what it logged; waits for it."""
        assert self._child is not None
        return self._child.wait_for(pattern)[1]

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
