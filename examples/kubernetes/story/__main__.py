"""The story of Kubernetes on kvstore, told from the first key to the last, in under a minute.

    make example-kubernetes              or, with the packages of the group `kubernetes` installed,
    python -m examples.kubernetes.story [--kubernetes 1.37] [--directory DIR]

A store, a kube-apiserver over it, a custom resource, an operator, a GitOps loop over a local git
repository; then the store is killed. For every change three lines show it as it passes: the REST
call, the key with its revision in the store, the watch event that the API server hands on.
Everything listens on the loopback and ends with the story; the exit status is 0 when all of it
happened, and 1 with the reason when it did not.

The control plane is the one that the tests of this repository use (tests/kubernetes/).
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.kubernetes.build import VERSIONS, Binaries, GoMissing, build, built

_PYTHON_MODULES = ("kopf", "kubernetes", "pytest", "cryptography")
_LOG_LINES = 15


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.kubernetes.story")
    parser.add_argument("--kubernetes", choices=VERSIONS, default=VERSIONS[-1])
    parser.add_argument("--directory", type=Path, help="a new one, to keep what is written")
    given = parser.parse_args()
    # As if by Ctrl-C: whatever was started is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if missing := _missing():
        return _failed(f"{missing} is missing")
    if built(given.kubernetes) is None:
        print(f"Kubernetes {given.kubernetes} is built with Go; this takes minutes, once.")
    try:
        binaries = build(given.kubernetes)
    except GoMissing as missing_go:
        return _failed(f"{missing_go}; https://go.dev/dl/ has it")
    except subprocess.CalledProcessError as failure:
        return _failed(str(failure))
    try:
        return _tell_in(given.directory, binaries)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _missing() -> str:
    """What has to be installed first, in words; empty when nothing has to."""
    if shutil.which("git") is None:
        return "git, which GitOps is about,"
    modules = [name for name in _PYTHON_MODULES if importlib.util.find_spec(name) is None]
    install = "`make example-kubernetes` installs what it needs into .venv; in this Python"
    return f"{install} {', '.join(modules)}" if modules else ""


def _tell_in(directory: Path | None, binaries: Binaries) -> int:
    """Tell the story in a directory, or in one that is removed unless the story fails."""
    # Only now, since these need the modules that `_missing` looks for.
    from examples.kubernetes.story.chapters import tell
    from examples.kubernetes.story.layers import NotSeen
    from tests.kubernetes.kubectl import KubectlFailed
    from tests.support.process import StartFailed

    place = directory or Path(tempfile.mkdtemp(prefix="kvstore-story-"))
    place.mkdir(parents=True, exist_ok=True)
    keep = directory is not None
    try:
        tell(binaries, place)
    except (
        NotSeen,
        KubectlFailed,
        StartFailed,
        AssertionError,
        OSError,
        subprocess.SubprocessError,
    ) as failure:
        keep = True
        for log in sorted(place.rglob("*.log")):
            print(f"\n== the end of {log}", *_end_of(log), sep="\n", file=sys.stderr)
        return _failed(f"{type(failure).__name__}: {failure}; all logs are in {place}")
    finally:
        if not keep:
            shutil.rmtree(place)
    return 0


def _end_of(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-_LOG_LINES:]


def _failed(reason: str) -> int:
    print(f"\nThe story cannot be told: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
