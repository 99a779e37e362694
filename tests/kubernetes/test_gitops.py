"""A loop over a local git repository makes a namespace equal to its commit, whatever is restarted.

The loop of examples/kubernetes/ applies on the server's side, prunes and changes drift back, while
the store is killed under it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.api import MERGE_PATCH, ApiError, eventually
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.conftest import MakeCluster
from tests.kubernetes.examples import gitops, install_pages, pages_path
from tests.kubernetes.repository import Manifests, Repository
from tests.support.etcd import unavailable

NAMESPACE = "delivery"
CONFIGMAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
PAGES = pages_path(NAMESPACE)
INTERVAL_S = 0.2
ROUNDS = 5
CONVERGE_TIMEOUT_S = 60.0


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    if shutil.which("git") is None:
        unavailable("no git on PATH")
    return Repository(tmp_path / "repository")


@pytest.fixture
def delivered(make_cluster: MakeCluster, repository: Repository) -> Iterator[Cluster]:
    """A cluster with the loop running in it, at a first commit."""
    cluster = make_cluster()
    install_pages(cluster)
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.api.post(CONFIGMAPS, {"metadata": {"name": "of-others"}, "data": {"a": "1"}})
    repository.commit(state(0))
    with gitops(cluster, repository.directory, NAMESPACE, INTERVAL_S):
        equals(cluster, repository)
        yield cluster


def state(number: int) -> Manifests:
    """What commit `number` holds: some of it in every commit, some changed, some new or gone."""
    made: Manifests = {}
    for each in range(number, number + 6):
        made[f"config-{each}"] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"config-{each}"},
            "data": {"commit": str(number), "steady": str(each)},
        }
    for each in range(number, number + 3):
        made[f"page-{each}"] = {
            "apiVersion": "kvstore.example/v1",
            "kind": "Page",
            "metadata": {"name": f"page-{each}"},
            "spec": {"title": f"Page {each}", "lines": [f"of commit {number}"]},
        }
    return made


def found(cluster: Cluster) -> dict[str, Any]:
    """The contents in the namespace, by name, but for what the cluster and the loop keep there."""
    maps = {item["metadata"]["name"]: item for item in cluster.api.get(CONFIGMAPS)["items"]}
    pages = {item["metadata"]["name"]: item for item in cluster.api.get(PAGES)["items"]}
    for name in ("gitops", "kube-root-ca.crt"):
        maps.pop(name, None)
    return {name: item["data"] for name, item in maps.items()} | {
        name: item["spec"] for name, item in pages.items()
    }


def wanted(repository: Repository) -> dict[str, Any]:
    contents = {
        name: manifest["data"] if manifest["kind"] == "ConfigMap" else manifest["spec"]
        for name, manifest in repository.committed.items()
    }
    return contents | {"of-others": {"a": "1"}}


def equals(cluster: Cluster, repository: Repository) -> None:
    """Wait until the namespace is what was committed; show the difference when it is not."""
    expected = wanted(repository)
    try:
        eventually(
            lambda: found(cluster) == expected, "the cluster is the commit", CONVERGE_TIMEOUT_S
        )
    except AssertionError:
        assert found(cluster) == expected
        raise


def restart_store(cluster: Cluster) -> None:
    cluster.store.kill()
    cluster.store.start()


def test_the_namespace_follows_commits_over_deaths_of_the_store(
    delivered: Cluster, repository: Repository
) -> None:
    for number in range(1, ROUNDS + 1):
        repository.commit(state(number))
        # The loop is at it, at whatever step: a pass takes longer than the pause between two.
        eventually(partial(changed_since, delivered, number), "the commit begins to be applied")
        restart_store(delivered)
        equals(delivered, repository)


def changed_since(cluster: Cluster, number: int) -> bool:
    """Whether anything of commit `number` is there."""
    item = cluster.api.get(f"{CONFIGMAPS}/config-{number}")
    return bool(item["data"]["commit"] == str(number))


def test_drift_is_changed_back(delivered: Cluster, repository: Repository) -> None:
    api = delivered.api
    api.patch(f"{CONFIGMAPS}/config-1", {"data": {"steady": "drifted"}}, MERGE_PATCH)
    api.patch(f"{PAGES}/page-1", {"spec": {"lines": ["of somebody else"]}}, MERGE_PATCH)
    api.delete(f"{CONFIGMAPS}/config-2")
    restart_store(delivered)
    equals(delivered, repository)


def test_what_others_made_stays_and_what_was_pruned_is_gone(
    delivered: Cluster, repository: Repository
) -> None:
    repository.commit({"config-1": state(0)["config-1"]})
    equals(delivered, repository)
    with pytest.raises(ApiError) as gone:
        delivered.api.get(f"{PAGES}/page-0")
    assert gone.value.status == 404
    assert delivered.api.get(f"{CONFIGMAPS}/of-others")["data"] == {"a": "1"}
