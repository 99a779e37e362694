"""The chapters of the story, in the order in which they are told."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from examples.kubernetes.story.layers import Layers, Tail
from examples.kubernetes.story.teller import TIMEOUT_S, Teller, Wanted
from examples.kubernetes.story.terminal import chapter, command, show_call, show_end, show_line
from kvstore.keys import KeyRange
from kvstore.types import RangeOp
from tests.kubernetes.api import eventually
from tests.kubernetes.build import Binaries
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.examples import gitops, install_pages, page_operator
from tests.kubernetes.repository import Repository

__all__ = ["tell"]

NAMESPACE = "press"
_POLICY = Path(__file__).with_name("audit.yaml")
_GITOPS_INTERVAL_S = 0.5
_OWN_NAMESPACES = 4
_ESTABLISHED = '"type": "Established", "status": "True"'
_DEFINITION = "customresourcedefinitions/pages.kvstore.example"
# What is followed: collections of the API, and where the API server keeps them in the store.
_PAGES = ("/apis/kvstore.example/v1/pages", "/registry/kvstore.example/pages/")
_OTHERS = (
    ("/api/v1/namespaces", "/registry/namespaces/"),
    (f"/api/v1/namespaces/{NAMESPACE}/configmaps", f"/registry/configmaps/{NAMESPACE}/"),
    (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/registry/apiextensions.k8s.io/customresourcedefinitions/",
    ),
)


def tell(binaries: Binaries, directory: Path) -> None:
    """The whole story; everything that it writes is in `directory`, the logs of the programs, too.

    Raises NotSeen when something does not follow, and what the programs fail with.
    """
    audit_log = directory / "audit.jsonl"
    audit = [f"--audit-policy-file={_POLICY}", f"--audit-log-path={audit_log}"]
    with ExitStack() as stack:
        layers = stack.enter_context(Layers(audit_log))
        chapter("kube-apiserver starts over an empty kvstore")
        cluster = stack.enter_context(Cluster(binaries, directory / "cluster", api_flags=audit))
        repository = Repository(directory / "repository")
        story = _Story(cluster, layers, repository)
        story.started()
        story.define_pages()
        chapter("An operator starts, and watches the Pages")
        stack.enter_context(page_operator(cluster))
        story.make_page()
        story.edit_page()
        story.delete_page()
        story.commit_first()
        stack.enter_context(gitops(cluster, repository.directory, NAMESPACE, _GITOPS_INTERVAL_S))
        story.deliver()
        story.prune()
        story.drift()
        story.kill_store()
    _end(cluster)
    show_end(story.shown)


class _Story(Teller):
    """The chapters over a cluster that is ready."""

    def __init__(self, cluster: Cluster, layers: Layers, repository: Repository) -> None:
        super().__init__(layers, cluster.kubectl, repository)
        self._cluster = cluster
        self._operator = Tail(cluster.directory / "operator.log")
        self._gitops = Tail(cluster.directory / "gitops.log")

    def started(self) -> None:
        cluster, etcd = self._cluster, self._cluster.etcd
        show_line("store", f"kvstore serve on {cluster.store.target}")
        ready = f"ready after {cluster.api_server.ready_s:.1f} s"
        show_line("rest", f"kube-apiserver {cluster.binaries.release}: {ready}")
        own = RangeOp(KeyRange.prefix(b"/registry/namespaces/"))
        eventually(lambda: len(etcd.range(own).kvs) == _OWN_NAMESPACES, "its own namespaces")
        for kv in etcd.range(own).kvs:
            show_line("store", f"{'':<10} PUT    {kv.key.decode()} rev {kv.mod_revision}")
        everything = etcd.range(RangeOp(KeyRange.prefix(b"/registry/"), count_only=True))
        said = f"{everything.count} keys of its own, the store is at rev {everything.revision}"
        show_line("store", said)
        self._layers.follow_store(etcd, everything.revision)

    def define_pages(self) -> None:
        chapter("A custom resource is defined: the Page")
        cluster = self._cluster
        for path, prefix in _OTHERS:
            self._layers.follow_api(cluster.api, path, prefix)
        command("kubectl apply -f examples/kubernetes/crd.yaml")
        install_pages(cluster)
        self.changes(Wanted("ADDED", _DEFINITION), Wanted("MODIFIED", _DEFINITION, _ESTABLISHED))
        self._layers.follow_api(cluster.api, *_PAGES)
        self.kubectl("create", "namespace", NAMESPACE)
        self.changes(Wanted("ADDED", f"namespaces/{NAMESPACE}"))
        # Only now: the garbage collector looks for new kinds every 30 s.
        cluster.start_controllers(["garbage-collector-controller"])

    def make_page(self) -> None:
        opened = self._layers.until_watched("operator", "/pages", TIMEOUT_S)
        show_call(opened, "(a watch, which stays open)")
        chapter("A Page is made; the operator publishes it as a ConfigMap")
        self.kubectl("apply", "--namespace", NAMESPACE, "-f", "examples/kubernetes/page.yaml")
        self.changes(Wanted("ADDED", "pages/press/home"))
        self.changes(Wanted("MODIFIED", "pages/press/home", "metadata.finalizers"))
        self._published("home", "All of this is kept in kvstore.", listed=True)

    def edit_page(self) -> None:
        chapter("The Page is edited, and published again")
        self._patch("page/home", '{"spec": {"lines": ["All of this is kept in kvstore.", "All."]}}')
        self.changes(Wanted("MODIFIED", "pages/press/home", "spec.lines"))
        self._published("home", "All.")

    def delete_page(self) -> None:
        chapter("The Page is deleted; a finalizer keeps it until it is off the list of Pages")
        self.kubectl("delete", "page/home", "--namespace", NAMESPACE, "--wait=false")
        self.changes(Wanted("MODIFIED", "pages/press/home", "metadata.deletionTimestamp"))
        self._handler("home", "withdraw", "is invoked")
        self.changes(Wanted("MODIFIED", "configmaps/press/pages", "data.home is gone"))
        self._handler("home", "withdraw", "succeeded")
        self.changes(Wanted("DELETED", "pages/press/home"))
        self.changes(Wanted("DELETED", "configmaps/press/page-home"))

    def commit_first(self) -> None:
        chapter("GitOps: a loop makes the namespace equal to a commit")
        self.commit(_motto(), _configmap("draft", "Not yet."), _news("One."))

    def deliver(self) -> None:
        self.changes(
            Wanted("ADDED", "configmaps/press/motto"),
            Wanted("ADDED", "configmaps/press/draft"),
            Wanted("ADDED", "pages/press/news"),
            Wanted("MODIFIED", "pages/press/news", "metadata.finalizers"),
        )
        self.says("gitops", self._gitops, r"at commit \w+")
        self._published("news", "One.", listed=True)

    def prune(self) -> None:
        chapter("GitOps: the next commit; what is no longer in it is pruned")
        self.commit(_motto(), _news("One."))
        self.changes(Wanted("DELETED", "configmaps/press/draft"))
        self.says("gitops", self._gitops, "configmap/draft pruned")

    def drift(self) -> None:
        chapter("GitOps: what somebody changes by hand is changed back")
        self._patch("configmap/motto", '{"data": {"text": "Watch nothing."}}')
        self.changes(Wanted("MODIFIED", "configmaps/press/motto", "Watch nothing."))
        self.changes(Wanted("MODIFIED", "configmaps/press/motto", "Watch everything."))
        self.kubectl("delete", "configmap/motto", "--namespace", NAMESPACE)
        self.changes(Wanted("DELETED", "configmaps/press/motto"))
        self.changes(Wanted("ADDED", "configmaps/press/motto", "Watch everything."))

    def kill_store(self) -> None:
        chapter("The store is killed and started again; every watch goes on")
        store = self._cluster.store
        command(f"kill -KILL {store.pid}    # kvstore serve")
        store.kill()
        store.start()
        show_line("store", f"kvstore serve on {store.target}")
        self.commit(_motto(), _news("One.", "Two, after a kill."))
        self.changes(Wanted("MODIFIED", "pages/press/news", "spec.lines"))
        self._published("news", "Two, after a kill.")

    def _published(self, name: str, text: str, *, listed: bool = False) -> None:
        """The operator puts `text` into the ConfigMap of a Page, perhaps lists it, and says so."""
        wanted = [Wanted("", f"configmaps/press/page-{name}", text)]
        if listed:
            wanted.append(Wanted("", "configmaps/press/pages", f"data.{name} = "))
        self._handler(name, "publish", "is invoked")
        self.changes(*wanted)
        self._handler(name, "publish", "succeeded")
        self.changes(Wanted("MODIFIED", f"pages/press/{name}", "status.lines"))

    def _handler(self, name: str, handler: str, does: str) -> None:
        # kopf adds the field that a handler is about to its name.
        pattern = rf"\[{NAMESPACE}/{name}\] Handler '{handler}(/spec)?' {does}"
        self.says("operator", self._operator, pattern)

    def _patch(self, what: str, patch: str) -> None:
        self.kubectl("patch", what, "--namespace", NAMESPACE, "--type=merge", "--patch", patch)


def _end(cluster: Cluster) -> None:
    """All programs are gone; what is left is the store's directory."""
    chapter("The end: every program has ended, and the store's files are whole")
    data_dir = cluster.directory / "store"
    command(f"kvstore check {data_dir}")
    checked = subprocess.run(
        [sys.executable, "-m", "kvstore", "check", str(data_dir)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    show_line("store", checked.stdout.strip())


def _configmap(name: str, text: str) -> dict[str, Any]:
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": text}}


def _motto() -> dict[str, Any]:
    return _configmap("motto", "Watch everything.")


def _news(*lines: str) -> dict[str, Any]:
    return {
        "apiVersion": "kvstore.example/v1",
        "kind": "Page",
        "metadata": {"name": "news"},
        "spec": {"title": "News", "lines": list(lines)},
    }
