"""Kubernetes' own programs, built from its Go modules into `.cache/kubernetes-X.Y.Z/`.

    python -m tests.kubernetes.build [1.36] [1.37]      build what is not there yet, all by default

Each `vX.Y/` beside this file is a Go module without code. Its go.mod names a release of
k8s.io/kubernetes, pins every module of that repository to the same release and lists the three
commands as tools, which is what keeps their requirements in it. To move to another release change
the numbers in go.mod and run `go mod tidy` there.

A build takes a quarter of an hour on two cores and about 3 GB of Go's build cache, so it runs at
the lowest priority, and a stamp file with a digest of go.mod and go.sum says that it is done. The
binaries are used without Go too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["VERSIONS", "Binaries", "GoMissing", "build", "built"]

VERSIONS = ("1.36", "1.37")
"""The minor versions that can be built, oldest first."""

_HERE = Path(__file__).parent
_CACHE = _HERE.parents[1] / ".cache"
_COMMANDS = ("kube-apiserver", "kube-controller-manager", "kubectl")
# Two compilers at once: a link of the API server alone takes 2 GB.
_PARALLEL = 2
# Where the programs keep what they say about themselves in /version and `kubectl version`.
_STAMPED = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


class GoMissing(Exception):
    """There is no Go toolchain, and the programs were not built before."""


@dataclass(frozen=True)
class Binaries:
    """The programs of one release, such as `v1.36.3`, in `directory`."""

    release: str
    directory: Path

    @property
    def apiserver(self) -> Path:
        return self.directory / "kube-apiserver"

    @property
    def controller_manager(self) -> Path:
        return self.directory / "kube-controller-manager"

    @property
    def kubectl(self) -> Path:
        return self.directory / "kubectl"


def built(version: str) -> Binaries | None:
    """The programs of a minor version when they are there and up to date, else None."""
    binaries = _binaries(version)
    stamp = _stamp(binaries)
    ready = stamp.exists() and stamp.read_text() == _digest(version)
    return binaries if ready else None


def build(version: str) -> Binaries:
    """The programs of a minor version, made when they are not there.

    The compilers' output goes to stderr. Raises GoMissing, or subprocess.CalledProcessError when
    a download or the build fails.
    """
    binaries = _binaries(version)
    _CACHE.mkdir(exist_ok=True)
    with (_CACHE / f"{binaries.directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if built(version) is None:
            go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
            if go is None:
                raise GoMissing(f"Kubernetes {version} cannot be built: there is no `go` on PATH")
            _stamp(binaries).unlink(missing_ok=True)
            binaries.directory.mkdir(exist_ok=True)
            subprocess.run(
                ["nice", "-n", "19", go, *_arguments(binaries)],
                cwd=_source(version),
                env={**os.environ, "CGO_ENABLED": "0"},
                check=True,
            )
            _stamp(binaries).write_text(_digest(version))
    return binaries


def _arguments(binaries: Binaries) -> list[str]:
    major, minor, _ = binaries.release.removeprefix("v").split(".")
    said = {"gitVersion": binaries.release, "gitMajor": major, "gitMinor": minor}
    flags = ["-s", "-w"]
    for package in _STAMPED:
        flags += [f"-X {package}.{name}={value}" for name, value in said.items()]
    packages = [f"k8s.io/kubernetes/cmd/{name}" for name in _COMMANDS]
    # A relative path has a checkout that is moved keep what was built.
    output = ["-o", f"../../../.cache/{binaries.directory.name}/"]
    how = ["-p", str(_PARALLEL), "-trimpath", "-buildvcs=false", "-ldflags", " ".join(flags)]
    return ["build", *how, *output, *packages]


def _source(version: str) -> Path:
    return _HERE / f"v{version}"


def _binaries(version: str) -> Binaries:
    module = (_source(version) / "go.mod").read_text()
    required = re.search(r"k8s\.io/kubernetes (v[\d.]+)", module)
    assert required is not None, f"go.mod of {version} requires no k8s.io/kubernetes"
    return Binaries(required[1], _CACHE / f"kubernetes-{required[1].removeprefix('v')}")


def _stamp(binaries: Binaries) -> Path:
    return binaries.directory / "built"


def _digest(version: str) -> str:
    """What the programs are made of: the modules and how they are built."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((_source(version) / name).read_bytes())
    digest.update(repr(_arguments(_binaries(version))).encode())
    return digest.hexdigest()


def main(versions: list[str]) -> int:
    for version in versions or VERSIONS:
        try:
            binaries = build(version)
        except GoMissing as missing:
            print(missing, file=sys.stderr)
            return 1
        print(f"Kubernetes {binaries.release} is in {binaries.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
