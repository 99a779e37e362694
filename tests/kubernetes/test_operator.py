"""An operator and kube-controller-manager converge, though the store dies again and again.

Editors write Pages through the API server, the operator of examples/kubernetes/ publishes them, and
the garbage collector removes what belonged to deleted ones. In every round the store is killed
while they are at it. Each editor goes on until it knows that its edit is there, so afterwards every
line is in its Page exactly once, and what was published is what the Pages say.
"""

from __future__ import annotations

import http.client
import os
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.kubernetes.api import ApiError, eventually
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.conftest import MakeCluster
from tests.kubernetes.examples import install_pages, page_operator, pages_path
from tests.kubernetes.results import record

ROUNDS = int(os.environ.get("KVSTORE_KUBERNETES_ROUNDS", "10"))
SEED = 20
EDITORS = 3
EDITS_OF_A_ROUND = 8
EDIT_TIMEOUT_S = 120.0
CONVERGE_TIMEOUT_S = 60.0
NAMESPACE = "press"
PAGES = pages_path(NAMESPACE)
CONFIGMAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"

Desired = dict[str, list[str]]


class Editors:
    """Threads that make Pages, add lines to them and delete them; `desired` is where that leads.

    The plan of a round is made from the seed before it begins, so the state that it leads to is
    known, however the edits of its threads are interleaved. `interrupted` counts the attempts that
    failed because the store was away.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.desired: Desired = {}
        self._cluster = cluster
        self._random = random.Random(SEED)
        self._done = threading.Semaphore(0)
        self._interrupted = threading.Semaphore(0)
        self.interrupted = 0

    def plan(self, number: int) -> list[list[Callable[[], None]]]:
        """The edits of round `number`, a list for each thread; `desired` is as if they were done.

        All threads add lines to the same Pages, those that live through the round.
        """
        made, doomed = f"page{number:02}", f"brief{number:02}"
        shared = [*self.desired, made]
        self.desired[made] = []
        plans: list[list[Callable[[], None]]] = [
            [lambda: self._make(made)],
            [lambda: self._make(doomed), lambda: self._delete(doomed)],
            [],
        ]
        if number % 3 == 2:
            old = self._random.choice(shared[:-1])
            shared.remove(old)
            del self.desired[old]
            plans[2].append(lambda: self._delete(old))
        for editor, plan in enumerate(plans):
            for edit in range(EDITS_OF_A_ROUND):
                name, line = self._random.choice(shared), f"{number}.{editor}.{edit}"
                self.desired[name].append(line)
                plan.append(lambda name=name, line=line: self._add_line(name, line))
        return plans

    def run(
        self, plans: Sequence[Sequence[Callable[[], None]]], meanwhile: Callable[[], None]
    ) -> None:
        """Carry out the plans, each in a thread; call `meanwhile` when some of it is done."""
        failures: list[BaseException] = []

        def edit(plan: Sequence[Callable[[], None]]) -> None:
            try:
                for step in plan:
                    step()
                    self._done.release()
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=edit, args=(plan,)) for plan in plans]
        count = sum(map(len, plans))
        before = self._random.randrange(1, count)
        for thread in threads:
            thread.start()
        for _ in range(before):
            assert self._done.acquire(timeout=EDIT_TIMEOUT_S), failures
        meanwhile()
        for thread in threads:
            thread.join()
        assert failures == []
        for _ in range(count - before):
            assert self._done.acquire(blocking=False)
        while self._interrupted.acquire(blocking=False):
            self.interrupted += 1

    def _insist(self, attempt: Callable[[], bool], what: str) -> None:
        """Attempt it until it is known to be done; an outcome that is not known is looked up."""

        def counted() -> bool:
            try:
                return attempt()
            except (OSError, http.client.HTTPException):
                self._interrupted.release()
                raise
            except ApiError as failure:
                if failure.status >= 500:
                    self._interrupted.release()
                raise

        eventually(counted, what, EDIT_TIMEOUT_S)

    def _make(self, name: str) -> None:
        page = {
            "apiVersion": "kvstore.example/v1",
            "kind": "Page",
            "metadata": {"name": name},
            "spec": {"title": f"About {name}"},
        }

        def attempt() -> bool:
            try:
                self._cluster.api.get(f"{PAGES}/{name}")
            except ApiError as failure:
                if failure.status != 404:
                    raise
                self._cluster.api.post(PAGES, page)
            return True

        self._insist(attempt, f"{name} is made")

    def _add_line(self, name: str, line: str) -> None:
        path = f"{PAGES}/{name}"

        def attempt() -> bool:
            page = self._cluster.api.get(path)
            if line not in page["spec"]["lines"]:
                page["spec"]["lines"].append(line)
                # With the resourceVersion that was read: refused when somebody came in between.
                self._cluster.api.put(path, page)
            return True

        self._insist(attempt, f"{line} is in {name}")

    def _delete(self, name: str) -> None:
        """Delete a Page that the operator holds; it may go on existing until it is let go.

        A deletion that comes while the finalizer is being added can pass it by: the API server
        looks at the finalizers before it deletes, and not again when it lost the first compare and
        deletes what it finds then. It does so over etcd, too, so we wait for the finalizer.
        """
        path = f"{PAGES}/{name}"

        def attempt() -> bool:
            try:
                if not self._cluster.api.get(path)["metadata"].get("finalizers"):
                    return False
                self._cluster.api.delete(path)
            except ApiError as failure:
                if failure.status != 404:
                    raise
            return True

        self._insist(attempt, f"{name} is deleted")


def state(cluster: Cluster) -> dict[str, Any]:
    """What is there, in the form of `wanted`."""
    pages = {page["metadata"]["name"]: page for page in cluster.api.get(PAGES)["items"]}
    maps = {item["metadata"]["name"]: item for item in cluster.api.get(CONFIGMAPS)["items"]}
    index = maps.pop("pages", {})
    maps.pop("kube-root-ca.crt", None)
    return {
        "pages": {name: sorted(page["spec"]["lines"]) for name, page in pages.items()},
        "counted": {name: page.get("status", {}).get("lines") for name, page in pages.items()},
        "titles": index.get("data", {}),
        "published": {
            name: (item["data"]["text"], item["metadata"]["ownerReferences"][0]["uid"])
            for name, item in maps.items()
        },
        "expected of the published": {
            f"page-{name}": (
                "".join(f"{line}\n" for line in [page["spec"]["title"], *page["spec"]["lines"]]),
                page["metadata"]["uid"],
            )
            for name, page in pages.items()
        },
    }


def wanted(desired: Desired, found: dict[str, Any]) -> dict[str, Any]:
    """The state that the edits lead to; only the order of the lines is as it was found."""
    return {
        "pages": {name: sorted(lines) for name, lines in desired.items()},
        "counted": {name: len(lines) for name, lines in desired.items()},
        "titles": {name: f"About {name}" for name in desired},
        "published": found["expected of the published"],
        "expected of the published": found["expected of the published"],
    }


def converged(cluster: Cluster, desired: Desired) -> None:
    """Wait until everything is as it should be; show the difference when it does not get there."""
    found: dict[str, Any] = {}

    def probe() -> bool:
        found.clear()
        found.update(state(cluster))
        return found == wanted(desired, found)

    try:
        eventually(probe, "the cluster converges", CONVERGE_TIMEOUT_S)
    except AssertionError:
        assert found == wanted(desired, found)
        raise


def test_everything_converges_over_ten_deaths_of_the_store(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    # Before the garbage collector looks for the kinds that there are: it does so every 30 s only.
    install_pages(cluster)
    cluster.start_controllers()
    cluster.kubectl("create", "namespace", NAMESPACE)
    editors = Editors(cluster)
    took_s = []

    def kill() -> None:
        cluster.store.kill()
        cluster.store.start()

    with page_operator(cluster) as operator:
        for number in range(ROUNDS):
            editors.run(editors.plan(number), meanwhile=kill)
            began_monotonic_s = time.monotonic()
            converged(cluster, editors.desired)
            took_s.append(round(time.monotonic() - began_monotonic_s, 2))
        cluster.kubectl("delete", "pages", "--all", "-n", NAMESPACE)
        converged(cluster, {})
        # kopf gives up a watch without any event after 70 s and opens another one, which would
        # hide that it hung.
        assert "is inactive, reconnecting" not in operator.log()
        handling = len(re.findall(r"failed; will retry|will try again", operator.log()))
    interrupted = {"edits": editors.interrupted, "steps of the operator": handling}
    assert sum(interrupted.values()) > 0, "no kill came while anybody wrote"
    where = f"{cluster.binaries.release} over {type(cluster.store).__name__}"
    record(f"{where}: interrupted by {ROUNDS} kills", interrupted)
    record(f"{where}: operator converged after the edits of a round with a kill, s", took_s)
