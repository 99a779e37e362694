"""The programs of `examples/kubernetes/`, run against a cluster as their docstrings say.

install_pages(cluster)                      the custom resource Page is served
with page_operator(cluster) as operator:    kopf with the operator, its log at operator.log()
with gitops(cluster, repository, ...):      the loop over a local git repository

Both programs are users of their own, `operator` and `gitops`: the API server tells them apart.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.kubernetes.api import eventually
from tests.kubernetes.cluster import Cluster
from tests.support.etcd import unavailable
from tests.support.process import ChildProcess

__all__ = ["gitops", "install_pages", "page_operator", "pages_path", "require"]

_EXAMPLES = Path(__file__).parents[2] / "examples" / "kubernetes"
_GROUP_PATH = "/apis/kvstore.example/v1"
_STOP_TIMEOUT_S = 30.0


def require(*modules: str) -> None:
    """Skip the test, or fail it where everything has to be there, without these modules."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        unavailable(f"no {', '.join(missing)}: `pip install --group kubernetes` installs them")


def pages_path(namespace: str) -> str:
    """Where the API server has the Pages of a namespace."""
    return f"{_GROUP_PATH}/namespaces/{namespace}/pages"


def install_pages(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", str(_EXAMPLES / "crd.yaml"))
    eventually(lambda: cluster.api.get(pages_path("default")), "the custom resource is served")


@contextmanager
def page_operator(cluster: Cluster) -> Iterator[ChildProcess]:
    """The operator over all namespaces; it says every step it takes in its log."""
    require("kopf", "kubernetes")
    program = str(_EXAMPLES / "page_operator.py")
    kopf = ["kopf", "run", "--verbose", "--standalone", "--all-namespaces", program]
    with _running(cluster, "operator", ["-m", *kopf]) as child:
        child.wait_for("Starting the watch-stream for pages")
        yield child


@contextmanager
def gitops(
    cluster: Cluster, repository: Path, namespace: str, interval_s: float
) -> Iterator[ChildProcess]:
    """The loop; it makes the namespace equal to the branch `main`."""
    command = [str(_EXAMPLES / "gitops.py"), str(repository), f"--namespace={namespace}"]
    command += [f"--interval={interval_s}", f"--kubectl={cluster.binaries.kubectl}"]
    with _running(cluster, "gitops", command) as child:
        yield child


@contextmanager
def _running(cluster: Cluster, name: str, arguments: Sequence[str]) -> Iterator[ChildProcess]:
    user = cluster.credentials.client(name, organization="system:masters")
    kubeconfig = cluster.credentials.kubeconfig(name, cluster.api_server.url, user)
    env = {"KUBECONFIG": str(kubeconfig), "HOME": str(cluster.directory / "home")}
    child = ChildProcess([sys.executable, *arguments], cluster.directory / f"{name}.log", env)
    try:
        yield child
    finally:
        child.stop(_STOP_TIMEOUT_S)
