"""An API server comes up on an empty store, and again whatever is restarted."""

from __future__ import annotations

import pytest

from tests.kubernetes.api import eventually
from tests.kubernetes.cluster import STORES, Cluster
from tests.kubernetes.conftest import MakeCluster
from tests.kubernetes.results import record

OWN_OBJECTS = {
    "/api/v1/namespaces": {"default", "kube-node-lease", "kube-public", "kube-system"},
    "/api/v1/namespaces/default/services": {"kubernetes"},
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices": {"kubernetes"},
    "/apis/rbac.authorization.k8s.io/v1/clusterroles": {"admin", "cluster-admin", "edit", "view"},
    "/apis/scheduling.k8s.io/v1/priorityclasses": {
        "system-cluster-critical",
        "system-node-critical",
    },
    "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas": {"catch-all", "exempt"},
}
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def names(cluster: Cluster, path: str) -> set[str]:
    return {item["metadata"]["name"] for item in cluster.api.get(path)["items"]}


def write(cluster: Cluster, name: str) -> None:
    """As a client does it who tries again until it is there."""
    body = {"metadata": {"name": name}}

    def attempt() -> bool:
        if name not in names(cluster, CONFIGMAPS):
            cluster.api.post(CONFIGMAPS, body)
        return True

    eventually(attempt, f"the ConfigMap {name} is written")


@pytest.mark.parametrize("store", STORES)
def test_it_becomes_ready_and_makes_its_own_objects(make_cluster: MakeCluster, store: str) -> None:
    cluster = make_cluster(store=store, verify=False)
    record(f"{cluster.binaries.release} ready on an empty {store}, s", cluster.api_server.ready_s)
    for path, expected in OWN_OBJECTS.items():
        eventually(lambda path=path, expected=expected: names(cluster, path) >= expected, path)
    ready = cluster.kubectl("get", "--raw", "/readyz?verbose")
    checks = [line for line in ready.splitlines() if line.startswith("[")]
    assert "[+]etcd ok" in checks
    assert [line for line in checks if not line.startswith("[+]")] == []


def test_it_finds_everything_after_restarts(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    write(cluster, "first")
    cluster.api_server.restart(kill=True)
    assert "first" in names(cluster, CONFIGMAPS)

    cluster.store.kill()
    cluster.store.start()
    write(cluster, "second")

    cluster.api_server.kill()
    cluster.store.kill()
    cluster.store.start()
    cluster.api_server.start()
    assert {"first", "second"} <= names(cluster, CONFIGMAPS)


def test_a_watch_goes_on_over_the_death_of_the_store(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    write(cluster, "before")
    version = cluster.api.get(CONFIGMAPS)["metadata"]["resourceVersion"]
    with cluster.api.watch(CONFIGMAPS, resourceVersion=version) as watch:
        write(cluster, "during")
        watch.until(name="during")
        cluster.store.kill()
        cluster.store.start()
        write(cluster, "after")
        seen = watch.until(name="after")
    assert [event["object"]["metadata"]["name"] for event in seen] == ["after"]
