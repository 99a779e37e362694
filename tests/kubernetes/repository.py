"""A git repository for the GitOps loop of `examples/kubernetes/`, written by a program.

repository = Repository(directory)
repository.commit({"motto": {"apiVersion": "v1", "kind": "ConfigMap", ...}})
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["Manifests", "Repository"]

Manifests = dict[str, dict[str, Any]]


class Repository:
    """A git repository whose commits hold one manifest to a file, and nothing else."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.committed: Manifests = {}
        directory.mkdir()
        self._git("init", "--quiet", "--initial-branch=main")

    def commit(self, manifests: Manifests) -> None:
        """Make these, by file name, the content of the branch `main`."""
        for path in self.directory.glob("*/*.json"):
            path.unlink()
        for name, manifest in manifests.items():
            path = self.directory / manifest["kind"] / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(manifest))
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message=A state of the namespace")
        self.committed = manifests

    def _git(self, *arguments: str) -> None:
        who = {"NAME": "tests", "EMAIL": "tests@example.invalid"}
        env = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in who.items()}
        # Nobody's own settings, which may sign commits or run hooks.
        env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        subprocess.run(
            ["git", *arguments], cwd=self.directory, env={**os.environ, **env}, check=True
        )
