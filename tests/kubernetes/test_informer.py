"""An informer sees every change exactly once, whatever is killed, and finds back after compaction.

With the watch cache of the API server, and without it, when each watch of a client is one of the
store.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kvstore.keys import KeyRange
from kvstore.types import PutOp, RangeOp, Txn
from tests.kubernetes.api import ApiError, eventually
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.conftest import MakeCluster
from tests.kubernetes.examples import require

if TYPE_CHECKING:
    from tests.kubernetes.informer import Informer

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
CHANGES = 200
KILLS = 5
SEED = 5
SEE_TIMEOUT_S = 30.0

# The type of an event, the object's name, and what it has as `n`: informer.Seen.
Change = tuple[str, str, str]


class Writer:
    """Makes, changes and deletes ConfigMaps one after the other; `written` is what it did.

    An attempt whose outcome is not known is looked up before the next one, so each change is made
    once, and `written` has all events that there can be, in their order.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.written: list[Change] = []
        self.there: dict[str, str] = {}
        self._cluster, self._random = cluster, random.Random(SEED)
        self._names = 0

    def change(self) -> None:
        n = str(len(self.written))
        kind = self._random.choice(["make", "change", "change", "delete"])
        if kind == "make" or not self.there:
            name = f"item-{self._names}"
            self._names += 1
            eventually(lambda: self._make(name, n), f"{name} is made")
            self.written.append(("ADDED", name, n))
            self.there[name] = n
            return
        name = self._random.choice(sorted(self.there))
        if kind == "change":
            eventually(lambda: self._change(name, n), f"{name} is changed to {n}")
            self.written.append(("MODIFIED", name, n))
            self.there[name] = n
        else:
            eventually(lambda: self._delete(name), f"{name} is deleted")
            self.written.append(("DELETED", name, self.there.pop(name)))

    def _make(self, name: str, n: str) -> bool:
        if self._found(name) is None:
            self._cluster.api.post(CONFIGMAPS, {"metadata": {"name": name}, "data": {"n": n}})
        return True

    def _change(self, name: str, n: str) -> bool:
        found = self._found(name)
        assert found is not None
        if found["data"]["n"] != n:
            found["data"]["n"] = n
            self._cluster.api.put(f"{CONFIGMAPS}/{name}", found)
        return True

    def _delete(self, name: str) -> bool:
        if self._found(name) is not None:
            self._cluster.api.delete(f"{CONFIGMAPS}/{name}")
        return True

    def _found(self, name: str) -> dict[str, dict[str, str]] | None:
        try:
            found: dict[str, dict[str, str]] = self._cluster.api.get(f"{CONFIGMAPS}/{name}")
            return found
        except ApiError as failure:
            if failure.status == 404:
                return None
            raise


def follow(cluster: Cluster) -> Informer:
    require("kubernetes")
    from tests.kubernetes.informer import Informer

    return Informer(cluster.kubectl.kubeconfig, "default", "item-")


def kill_store(cluster: Cluster) -> None:
    cluster.store.kill()
    cluster.store.start()


def kill_api_server(cluster: Cluster) -> None:
    cluster.api_server.restart(kill=True)


@pytest.mark.parametrize("kill", [kill_store, kill_api_server])
@pytest.mark.parametrize("flags", [[], ["--watch-cache=false"]], ids=["cached", "uncached"])
def test_it_sees_every_change_once(
    make_cluster: MakeCluster, flags: list[str], kill: Callable[[Cluster], None]
) -> None:
    cluster = make_cluster(api_flags=flags)
    writer = Writer(cluster)
    with follow(cluster) as informer:
        eventually(lambda: informer.watches, "it watches")
        for _ in range(KILLS):
            # It is killed while the writer goes on, and is back before the next time.
            killer = threading.Thread(target=kill, args=(cluster,))
            for number in range(CHANGES // KILLS):
                if number == CHANGES // KILLS // 2:
                    killer.start()
                writer.change()
            killer.join()
        eventually(
            lambda: len(informer.seen) >= CHANGES or informer.failure,
            f"all changes are seen by {informer}",
            SEE_TIMEOUT_S,
        )
    assert informer.seen == writer.written
    assert informer.versions == sorted(set(informer.versions))
    assert informer.cache == writer.there
    assert informer.lists == 1


def test_it_lists_again_when_its_version_is_compacted(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(api_flags=["--watch-cache=false"])
    writer = Writer(cluster)
    with follow(cluster) as informer:
        eventually(lambda: informer.watches, "it watches")
        writer.change()
        eventually(lambda: informer.seen == writer.written, "the first change is seen")
        # Away while things change and are compacted: its version is gone when it comes back.
        cluster.api_server.kill()
        for _ in range(3):
            cluster.etcd.txn(Txn((), (PutOp(b"unrelated"),), ()))
        cluster.etcd.compact(cluster.etcd.range(RangeOp(KeyRange(b"any"))).revision)
        cluster.api_server.start()
        for _ in range(20):
            writer.change()
        eventually(lambda: informer.cache == writer.there, "it has what is there", SEE_TIMEOUT_S)
    assert informer.lists == 2
