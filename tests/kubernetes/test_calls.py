"""A kube-apiserver makes exactly the calls of `calls.CALLS`, and each of them is answered.

Everything is asked of the API server alone, so that the record has no calls of others. Types with
a watch cache show how it keeps up; events, which have none, show lists, pages and watches that
reach the store. The compactor is made fast: it alone compacts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any
from urllib.request import urlopen

import pytest

from tests.kubernetes.api import MERGE_PATCH, ApiError, eventually
from tests.kubernetes.calls import CALLS
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.conftest import MakeCluster
from tests.kubernetes.examples import install_pages, pages_path
from tests.server.metrics.pages import Page

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
EVENTS = "/api/v1/namespaces/default/events"
PAGES = pages_path("default")
EXACT = {"resourceVersionMatch": "Exact"}
WRITERS = 6
CANCELED = " -> CANCELED"
WATCH = {
    "grpc_type": "bidi_stream",
    "grpc_service": "etcdserverpb.Watch",
    "grpc_method": "Watch",
}


def test_it_makes_the_calls_of_the_table_and_no_others(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(
        store="kvstore",
        store_flags=["--debug-record-calls"],
        api_flags=["--etcd-compaction-interval=1s"],
    )
    cluster.start_controllers()
    use_custom_resources(cluster)
    use_what_is_cached(cluster)
    use_what_is_not_cached(cluster)
    watch_what_is_not_cached(cluster)
    contend(cluster, CONFIGMAPS, {"data": {}}, lambda n: {"data": {"n": n}})
    contend(cluster, EVENTS, event(""), lambda n: {"message": n})
    ask_for_what_is_gone(cluster)
    cluster.api.get("/metrics")
    cluster.api_server.restart(kill=True)
    eventually(lambda: lost_compaction(cluster), "the compactor finds that it was there before")

    cluster.controller_manager.kill()
    cluster.api_server.kill()
    eventually(lambda: have_ended(cluster), "every call has ended")
    version = cluster.binaries.release.removeprefix("v").rpartition(".")[0]
    expected = {call.shape: call for call in CALLS if version in call.versions}
    seen = record(cluster)
    assert sorted(shape for shape in seen if not is_expected(shape, set(expected))) == []
    sure = {shape for shape, call in expected.items() if call.is_sure}
    assert sorted(sure - set(seen)) == []
    # Nothing passed the record by: all that was answered is in it, and each message of a watch.
    metrics = Page(read(cluster, "metrics"))
    assert answered(seen) == answered_by_metrics(metrics)
    messages = sum(count for shape, count in seen.items() if " -> " not in shape)
    assert messages == metrics.at("grpc_server_msg_received_total", **WATCH)


# -- the record --------------------------------------------------------------------------------


def read(cluster: Cluster, path: str) -> str:
    with urlopen(f"http://{cluster.store.target}/{path}", timeout=30) as answer:
        return answer.read().decode()  # type: ignore[no-any-return]


def record(cluster: Cluster) -> dict[str, int]:
    return json.loads(read(cluster, "debug/calls"))  # type: ignore[no-any-return]


def is_expected(shape: str, expected: set[str]) -> bool:
    """Whoever sends a call may also give it up: at its deadline, or when he is killed."""
    if shape in expected:
        return True
    request = shape.removesuffix(CANCELED)
    return request != shape and any(each.partition(" -> ")[0] == request for each in expected)


def answered(seen: dict[str, int]) -> dict[tuple[str, str], int]:
    """How often each method was answered with each status, but for calls that were given up."""
    counts: Counter[tuple[str, str]] = Counter()
    for shape, count in seen.items():
        request, arrow, answer = shape.partition(" -> ")
        if arrow and not shape.endswith(CANCELED):
            status = answer.split()[0].replace("_", "").lower()
            counts[request.split()[0], status] += count
    return dict(counts)


def answered_by_metrics(metrics: Page) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for (name, labels), value in metrics.samples.items():
        if name == "grpc_server_handled_total" and value:
            said = dict(labels)
            method = f"{said['grpc_service'].rpartition('.')[2]}/{said['grpc_method']}"
            counts[method, said["grpc_code"].lower()] = int(value)
    return {key: n for key, n in counts.items() if key[1] not in ("canceled", "deadlineexceeded")}


def total(cluster: Cluster, sample: str) -> float:
    samples = Page(read(cluster, "metrics")).samples
    return sum(value for (name, _), value in samples.items() if name == sample)


def have_ended(cluster: Cluster) -> bool:
    began, ended = "grpc_server_started_total", "grpc_server_handled_total"
    return total(cluster, began) == total(cluster, ended) > 0


def lost_compaction(cluster: Cluster) -> bool:
    return any("version=0" in shape and "=false" in shape for shape in record(cluster))


# -- the scenario ------------------------------------------------------------------------------


def event(name: str) -> dict[str, Any]:
    about = {"kind": "ConfigMap", "name": "c0", "namespace": "default"}
    return {"metadata": {"name": name}, "involvedObject": about, "reason": "Asked"}


def names(page: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in page["items"]]


def use_custom_resources(cluster: Cluster) -> None:
    install_pages(cluster)
    version, kind = "kvstore.example/v1", "Page"
    for number in range(6):
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": f"p{number}"}}
        cluster.api.post(PAGES, {**body, "spec": {"title": "A", "lines": ["b"]}})
    assert [len(page["items"]) for page in cluster.api.pages(PAGES, 4)] == [4, 2]
    with cluster.api.watch(PAGES, resourceVersion="0") as watch:
        cluster.api.patch(f"{PAGES}/p0", {"spec": {"title": "B"}}, MERGE_PATCH)
        watch.until(name="p0", event="MODIFIED")
        cluster.api.delete(f"{PAGES}/p0")
        watch.until(name="p0", event="DELETED")
    cluster.kubectl("delete", "crd", "pages.kvstore.example")


def use_what_is_cached(cluster: Cluster) -> None:
    api = cluster.api
    for number in range(6):
        api.post(CONFIGMAPS, {"metadata": {"name": f"c{number}"}})
    with pytest.raises(ApiError, match="AlreadyExists"):
        api.post(CONFIGMAPS, {"metadata": {"name": "c0"}})
    api.patch(f"{CONFIGMAPS}/c0", {"data": {"a": "1"}}, MERGE_PATCH)
    api.delete(f"{CONFIGMAPS}/c1")
    ours = [name for page in api.pages(CONFIGMAPS, 2) for name in names(page) if name[0] == "c"]
    assert ours == ["c0", "c2", "c3", "c4", "c5"]


def use_what_is_not_cached(cluster: Cluster) -> None:
    api = cluster.api
    for number in range(6):
        api.post(EVENTS, event(f"e{number}"))
    with pytest.raises(ApiError, match="AlreadyExists"):
        api.post(EVENTS, event("e0"))
    api.patch(f"{EVENTS}/e0", {"message": "m"}, MERGE_PATCH)
    listed = api.get(EVENTS)
    assert names(listed) == [f"e{number}" for number in range(6)]
    exact = {"resourceVersion": listed["metadata"]["resourceVersion"], **EXACT}
    assert names(api.get(EVENTS, **exact)) == names(listed)
    by_name = {"fieldSelector": "metadata.name=e1"}
    assert names(api.get(EVENTS, **by_name)) == names(api.get(EVENTS, **by_name, **exact)) == ["e1"]
    assert [len(page["items"]) for page in api.pages(EVENTS, 4)] == [4, 2]
    selected = api.pages(EVENTS, 4, fieldSelector="reason=Asked")
    assert [len(page["items"]) for page in selected] == [4, 2]
    with pytest.raises(ApiError) as early:
        api.get(EVENTS, resourceVersion=1_000_000, **EXACT)
    assert early.value.status == 504


def watch_what_is_not_cached(cluster: Cluster) -> None:
    """Three at once, so that two of them end while their stream goes on; and one of one name."""
    api = cluster.api
    with ExitStack() as last:
        last.enter_context(api.watch(EVENTS)).until(name="e1")
        version = api.get(EVENTS)["metadata"]["resourceVersion"]
        with ExitStack() as first:
            watches = [
                first.enter_context(api.watch(EVENTS, resourceVersion=version)) for _ in range(2)
            ]
            api.post(EVENTS, event("seen"))
            assert [len(watch.until(name="seen")) for watch in watches] == [1, 1]
        cancelled = "Watch/Watch cancel_request(watch_id)"
        eventually(lambda: cancelled in record(cluster), "the ended watches are cancelled")
    with api.watch(EVENTS, fieldSelector="metadata.name=e1") as watch:
        watch.until(name="e1")


def contend(
    cluster: Cluster, path: str, body: dict[str, Any], change: Callable[[str], Any]
) -> None:
    """Several change one object and one deletes it, until an update and a deletion came late.

    That shows as a transaction that failed for each, since the API server goes by what it has in
    its cache or has read just before.
    """
    put = "put(key value lease)" if path == EVENTS else "put(key value)"
    late = [f"success[request_{put}]", "success[request_delete_range(key)]"]
    rounds: Iterator[int] = iter(range(100))

    def has_been_late() -> bool:
        fight(cluster, path, {**body, "metadata": {"name": f"fought{next(rounds)}"}}, change)
        failed = [
            shape
            for shape in record(cluster)
            if "mod_revision]" in shape and shape.endswith("=false")
        ]
        return all(any(op in shape for shape in failed) for op in late)

    eventually(has_been_late, "an update and a deletion came late")


def fight(cluster: Cluster, path: str, body: dict[str, Any], change: Callable[[str], Any]) -> None:
    cluster.api.post(path, body)
    target = f"{path}/{body['metadata']['name']}"

    def patch(writer: int) -> None:
        with suppress(ApiError):  # it is gone, or too many were faster
            for number in range(10):
                cluster.api.patch(target, change(f"{writer}.{number}"), MERGE_PATCH)

    with ThreadPoolExecutor(WRITERS) as pool:
        patches = [pool.submit(patch, writer) for writer in range(WRITERS)]
        cluster.api.delete(target)
        for each in patches:
            each.result()


def ask_for_what_is_gone(cluster: Cluster) -> None:
    """A page after a first one that the compactor has overtaken."""
    page = cluster.api.get(EVENTS, limit=1)

    def is_gone() -> bool:
        cluster.api.post(EVENTS, {**event(""), "metadata": {"generateName": "later-"}})
        try:
            cluster.api.get(EVENTS, limit=1, **{"continue": page["metadata"]["continue"]})
        except ApiError as gone:
            return (gone.status, gone.reason) == (410, "Expired")
        return False

    eventually(is_gone, "the revision of the first page is compacted")
