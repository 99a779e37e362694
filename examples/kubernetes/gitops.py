"""Keep a namespace equal to the commit that a branch of a local git repository is at.

    python examples/kubernetes/gitops.py REPOSITORY [--branch main] [--namespace default]
                                         [--interval 5] [--kubectl kubectl]

Every `interval` seconds the manifests of the commit are applied on the server's side: what somebody
else changed in them is changed back, what is missing is made, and what an earlier commit had and
this one has not is deleted. kubectl keeps the list of what was applied in an ApplySet, whose parent
is the ConfigMap `gitops` of the namespace, so nothing that was made by others is ever pruned.

A pass that fails, because the API server or its store is away, is reported; the next one begins
anew. A commit without any manifest counts as such a failure, and deletes nothing.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

APPLY_SET = "configmaps/gitops"
PASS_TIMEOUT_S = 120


def head(repository: Path, branch: str) -> str:
    """The commit that the branch is at."""
    return _output("git", "-C", str(repository), "rev-parse", "--verify", f"refs/heads/{branch}")


def check_out(repository: Path, commit: str, directory: Path) -> None:
    """Write the files of a commit into a directory; the repository's own files do not matter."""
    archive = subprocess.run(
        ["git", "-C", str(repository), "archive", "--format=tar", commit],
        stdout=subprocess.PIPE,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(directory, filter="data")


def apply(kubectl: str, directory: Path, namespace: str) -> str:
    """Make the namespace equal to the manifests in a directory; what kubectl said of each."""
    return _output(
        kubectl,
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=gitops",
        "--prune",
        f"--applyset={APPLY_SET}",
        f"--namespace={namespace}",
        "--recursive",
        f"--filename={directory}",
    )


def reconcile(repository: Path, branch: str, namespace: str, kubectl: str) -> str:
    """One pass. Returns the commit that the cluster is at now.

    Raises subprocess.SubprocessError when git or kubectl fails.
    """
    commit = head(repository, branch)
    with tempfile.TemporaryDirectory() as directory:
        check_out(repository, commit, Path(directory))
        print(apply(kubectl, Path(directory), namespace), flush=True)
    return commit


def main() -> int:
    parser = argparse.ArgumentParser(description="Keep a namespace equal to a git branch.")
    parser.add_argument("repository", type=Path)
    parser.add_argument("--branch", default="main")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two passes")
    parser.add_argument("--kubectl", default="kubectl")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        try:
            commit = reconcile(given.repository, given.branch, given.namespace, given.kubectl)
            print(f"at commit {commit}", flush=True)
        except subprocess.CalledProcessError as failure:
            said = (failure.stderr or "").strip()
            print(f"pass failed: {failure}\n{said}", file=sys.stderr, flush=True)
        except subprocess.TimeoutExpired as failure:
            print(f"pass failed: {failure}", file=sys.stderr, flush=True)
        time.sleep(given.interval)


def _output(*command: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, "KUBECTL_APPLYSET": "true"},
        capture_output=True,
        text=True,
        timeout=PASS_TIMEOUT_S,
        check=True,
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
