"""What people do with kubectl: objects, custom resources, conflicts, pages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kubernetes.api import JSON_PATCH, MERGE_PATCH, ApiError, eventually
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.kubectl import KubectlFailed

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gardens.kvstore.test"},
    "spec": {
        "group": "kvstore.test",
        "scope": "Namespaced",
        "names": {"plural": "gardens", "singular": "garden", "kind": "Garden"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Beds", "type": "integer", "jsonPath": ".spec.beds"}
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "description": "What grows where.",
                                "properties": {"beds": {"type": "integer"}},
                                "x-kubernetes-validations": [
                                    {"rule": "self.beds > 0", "message": "a garden has beds"}
                                ],
                            },
                            "status": {
                                "type": "object",
                                "properties": {"wet": {"type": "boolean"}},
                            },
                        },
                    }
                },
            }
        ],
    },
}
GARDENS = "/apis/kvstore.test/v1/namespaces/default/gardens"


def garden(name: str, beds: int, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kvstore.test/v1",
        "kind": "Garden",
        "metadata": {"name": name, **metadata},
        "spec": {"beds": beds},
    }


@pytest.fixture(scope="module")
def crd(cluster: Cluster) -> Cluster:
    cluster.kubectl("apply", "-f", "-", stdin=CRD)
    cluster.kubectl("wait", "--for=condition=Established", "crd/gardens.kvstore.test")
    eventually(lambda: cluster.api.get(GARDENS), "the custom resource is served")
    return cluster


def test_namespaces_configmaps_and_secrets(cluster: Cluster) -> None:
    kubectl = cluster.kubectl
    kubectl("create", "namespace", "trio")
    kubectl("create", "configmap", "c", "--from-literal=a=1", "-n", "trio")
    kubectl("create", "secret", "generic", "s", "--from-literal=p=hidden", "-n", "trio")
    assert kubectl.json("get", "configmap", "c", "-n", "trio")["data"] == {"a": "1"}
    assert kubectl.json("get", "secret", "s", "-n", "trio")["data"] == {"p": "aGlkZGVu"}
    kubectl("delete", "configmap", "c", "-n", "trio")
    with pytest.raises(KubectlFailed, match="NotFound"):
        kubectl("get", "configmap", "c", "-n", "trio")


def test_a_custom_resource_is_patched_in_every_way(crd: Cluster) -> None:
    kubectl, api = crd.kubectl, crd.api
    kubectl("apply", "--server-side", "-f", "-", stdin=garden("rose", 1))
    kubectl("patch", "garden", "rose", "--type=merge", "-p", '{"spec":{"beds":2}}')
    assert api.get(f"{GARDENS}/rose")["spec"] == {"beds": 2}
    replace = [{"op": "replace", "path": "/spec/beds", "value": 3}]
    assert api.patch(f"{GARDENS}/rose", replace, JSON_PATCH)["spec"] == {"beds": 3}
    api.patch(f"{GARDENS}/rose/status", {"status": {"wet": True}}, MERGE_PATCH)
    assert api.get(f"{GARDENS}/rose")["status"] == {"wet": True}
    with pytest.raises(KubectlFailed, match="conflict"):
        kubectl("apply", "--server-side", "--field-manager=b", "-f", "-", stdin=garden("rose", 9))
    with pytest.raises(KubectlFailed, match="a garden has beds"):
        kubectl("patch", "garden", "rose", "--type=merge", "-p", '{"spec":{"beds":0}}')
    rows = kubectl("get", "gardens", "rose").splitlines()
    assert rows[0].split() == ["NAME", "BEDS"]
    assert rows[1].split() == ["rose", "3"]
    eventually(
        lambda: "What grows where." in kubectl.run("explain", "garden.spec").stdout,
        "the schema is published",
    )
    diff = kubectl.run("diff", "-f", "-", stdin=garden("rose", 4))
    assert diff.returncode == 1
    assert "+  beds: 4" in diff.stdout


def test_a_stale_resource_version_is_a_conflict(crd: Cluster) -> None:
    api = crd.api
    old = api.post(GARDENS, garden("stale", 1))
    api.put(f"{GARDENS}/stale", {**old, "spec": {"beds": 2}})
    with pytest.raises(ApiError) as refused:
        api.put(f"{GARDENS}/stale", {**old, "spec": {"beds": 3}})
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")
    assert api.get(f"{GARDENS}/stale")["spec"] == {"beds": 2}


def test_pages_are_one_list_though_it_changes_meanwhile(crd: Cluster) -> None:
    api, kubectl = crd.api, crd.kubectl
    kubectl("create", "namespace", "pages")
    path = "/apis/kvstore.test/v1/namespaces/pages/gardens"
    for number in range(25):
        api.post(path, garden(f"g{number:02}", 1))
    pages = api.pages(path, 10)
    found = [item["metadata"]["name"] for item in next(pages)["items"]]
    api.post(path, garden("g99", 1))
    api.delete(f"{path}/g20")
    sizes = [len(found)]
    for page in pages:
        sizes.append(len(page["items"]))
        found += [item["metadata"]["name"] for item in page["items"]]
    assert found == [f"g{number:02}" for number in range(25)]
    assert sizes == [10, 10, 5]
    listed = kubectl("get", "gardens", "-n", "pages", "--chunk-size=7", "-o", "name").split()
    expected = [f"g{number:02}" for number in range(25) if number != 20] + ["g99"]
    assert listed == [f"garden.kvstore.test/{name}" for name in expected]


def test_a_finalizer_keeps_what_is_deleted(crd: Cluster) -> None:
    kubectl, api = crd.kubectl, crd.api
    api.post(GARDENS, garden("kept", 1, finalizers=["kvstore.test/hold"]))
    kubectl("delete", "garden", "kept", "--wait=false")
    assert "deletionTimestamp" in api.get(f"{GARDENS}/kept")["metadata"]
    api.patch(f"{GARDENS}/kept", {"metadata": {"finalizers": None}}, MERGE_PATCH)
    with pytest.raises(ApiError) as gone:
        api.get(f"{GARDENS}/kept")
    assert gone.value.status == 404


def test_a_followed_list_shows_each_change(crd: Cluster) -> None:
    crd.kubectl("apply", "-f", "-", stdin=garden("followed", 5))
    with crd.kubectl.following("get", "garden", "followed", "-w") as output:
        assert output.until("followed")[-1].split() == ["followed", "5"]
        crd.kubectl("patch", "garden", "followed", "--type=merge", "-p", '{"spec":{"beds":6}}')
        assert output.until("followed")[-1].split() == ["followed", "6"]
