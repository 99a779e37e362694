"""A compacted revision is gone for clients of the API server, and they find the way back.

Without its watch cache, which would answer from memory: each list and watch reaches the store.
"""

from __future__ import annotations

import pytest

from kvstore.keys import KeyRange
from kvstore.types import RangeOp
from tests.kubernetes.api import ApiError
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.conftest import MakeCluster

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def uncached(make_cluster: MakeCluster) -> Cluster:
    return make_cluster(api_flags=["--watch-cache=false"])


def make(cluster: Cluster, *names: str) -> None:
    for name in names:
        cluster.api.post(CONFIGMAPS, {"metadata": {"name": name}})


def compact(cluster: Cluster) -> None:
    cluster.etcd.compact(cluster.etcd.range(RangeOp(KeyRange(b"any"))).revision)


def listed(page: dict[str, list[dict[str, dict[str, str]]]]) -> list[str]:
    return [item["metadata"]["name"] for item in page["items"]]


def test_a_list_that_was_begun_goes_on_with_a_new_token(uncached: Cluster) -> None:
    make(uncached, "a", "b", "c")
    page = uncached.api.get(CONFIGMAPS, limit=1)
    assert listed(page) == ["a"]
    make(uncached, "d")
    compact(uncached)
    with pytest.raises(ApiError) as gone:
        uncached.api.get(CONFIGMAPS, **{"continue": page["metadata"]["continue"]})
    assert (gone.value.status, gone.value.reason) == (410, "Expired")
    onwards = gone.value.body["metadata"]["continue"]
    rest = listed(uncached.api.get(CONFIGMAPS, **{"continue": onwards}))
    assert [name for name in rest if len(name) == 1] == ["b", "c", "d"]


def test_a_watch_from_before_is_told_410_and_a_new_list_sees_all(uncached: Cluster) -> None:
    make(uncached, "a")
    before = uncached.api.get(CONFIGMAPS)["metadata"]["resourceVersion"]
    make(uncached, "b", "c")
    compact(uncached)
    with uncached.api.watch(CONFIGMAPS, resourceVersion=before) as watch:
        event = watch.next()
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    now = uncached.api.get(CONFIGMAPS)
    assert {"a", "b", "c"} <= set(listed(now))
    with uncached.api.watch(
        CONFIGMAPS, resourceVersion=now["metadata"]["resourceVersion"]
    ) as watch:
        make(uncached, "d")
        assert watch.next()["object"]["metadata"]["name"] == "d"
