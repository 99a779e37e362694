"""kubectl as a person uses it: a command, its output, its exit code.

    kubectl = Kubectl(binary, kubeconfig, home)
    kubectl("apply", "-f", "-", stdin=manifest)       stdout; KubectlFailed when it fails
    kubectl.json("get", "configmap", "a")             with `-o json`, decoded
    kubectl.run("diff", "-f", "-", stdin=manifest)    whatever the exit code
    with kubectl.following("get", "configmaps", "-w") as output:
        output.until("a ")

Manifests are dicts or lists of dicts here: kubectl takes JSON as well as YAML.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

__all__ = ["Following", "Kubectl", "KubectlFailed"]

Manifest = dict[str, Any] | Sequence[dict[str, Any]] | str | None


class KubectlFailed(Exception):
    """kubectl ended with another code than 0; `stderr` is what it said."""

    def __init__(self, command: Sequence[str], done: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"{' '.join(command)}: {done.returncode}: {done.stderr or done.stdout}")
        self.returncode, self.stderr = done.returncode, done.stderr


class Kubectl:
    """Runs `binary` with a kubeconfig file; its caches are in `home`."""

    def __init__(self, binary: Path, kubeconfig: Path, home: Path) -> None:
        self._binary, self.kubeconfig = binary, kubeconfig
        self._env = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(home)}

    def __call__(self, *arguments: str, stdin: Manifest = None) -> str:
        done = self.run(*arguments, stdin=stdin)
        if done.returncode != 0:
            raise KubectlFailed(["kubectl", *arguments], done)
        return done.stdout

    def json(self, *arguments: str, stdin: Manifest = None) -> Any:
        return json.loads(self(*arguments, "-o", "json", stdin=stdin))

    def run(
        self, *arguments: str, stdin: Manifest = None, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._binary), *arguments],
            input=_text(stdin),
            env=self._env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def following(self, *arguments: str) -> Following:
        """A command that goes on until it is closed, such as `get -w`."""
        return Following([str(self._binary), *arguments], self._env)


class Following:
    """The lines that a running command writes to stdout."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def next(self, timeout_s: float = 60.0) -> str | None:
        """A line without its end; None when the command ended. Raises queue.Empty in vain."""
        return self._lines.get(timeout=timeout_s)

    def until(self, part: str) -> list[str]:
        """The lines up to the first one that has `part` in it, that one included."""
        seen: list[str] = []
        while True:
            line = self.next()
            assert line is not None, f"it ended without {part!r}: {seen}"
            seen.append(line)
            if part in line:
                return seen

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


def _text(stdin: Manifest) -> str | None:
    match stdin:
        case None | str():
            return stdin
        case dict():
            return json.dumps(stdin)
        case _:
            return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(stdin)})
