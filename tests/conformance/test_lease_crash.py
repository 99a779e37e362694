"""Servers killed and restarted: what was answered stays, and no answer is wrong meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.client.grpc import GrpcStore
from kvstore.errors import Compacted, StoreError
from tests.support.ops import Watching, delete, get, get_all, put, revision, values
from tests.support.sites import REMOTE, Site, open_site


@pytest.fixture(params=REMOTE)
def server_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    site = open_site(request.param, tmp_path)
    yield site
    site.close()


def kill_and_restart(site: Site) -> None:
    assert site.server is not None
    site.server.kill()
    site.restart()


def test_answered_writes_survive_a_kill(server_site: Site) -> None:
    # behaviour 7
    store = server_site.store
    lease = store.lease_grant(3600)
    for n in range(20):
        put(store, b"k%d" % (n % 5), b"%d" % n, lease=lease.id if n % 2 else 0)
    delete(store, b"k3")
    before = get_all(store)
    kill_and_restart(server_site)
    store = server_site.store
    assert before == get_all(store)
    held = [kv.key for kv in before.kvs if kv.lease]
    assert held == list(store.lease_time_to_live(lease.id, keys=True).keys)


def test_kill_after_compacting_a_last_tombstone_takes_no_revision_back(server_site: Site) -> None:
    # behaviours 87 and 88
    store = server_site.store
    for n in range(50):
        put(store, b"k%d" % n, b"v")
        put(store, b"k%d" % n, b"w")
    gone = delete(store, b"k", b"l").revision
    store.compact(gone)
    kill_and_restart(server_site)
    store = server_site.store
    assert gone == revision(store)
    assert values(get_all(store)) == {}
    with pytest.raises(Compacted):
        get_all(store, revision=gone - 1)
    assert gone + 1 == put(store, b"k").revision


def test_watch_resumed_after_a_kill_misses_nothing(server_site: Site) -> None:
    store = server_site.store
    watching = Watching(store)
    watching.create(b"k")
    for n in range(5):
        put(store, b"k", b"%d" % n)
    seen = watching.events(2)[-1].kv.mod_revision
    kill_and_restart(server_site)
    resumed = Watching(server_site.store)
    resumed.create(b"k", start_revision=seen + 1)
    assert [event.kv.mod_revision for event in resumed.events(3)] == [4, 5, 6]
    resumed.close()


def test_renewals_during_a_restart_give_the_right_ttl_or_an_error(server_site: Site) -> None:
    # behaviour 167
    store = server_site.store
    assert isinstance(store, GrpcStore)
    lease = store.lease_grant(3600)
    answers: list[int] = []
    done = threading.Event()

    def renew(target: str) -> None:
        with GrpcStore(target, timeout_s=5) as own:
            while not done.is_set():
                try:
                    answers.append(own.lease_keep_alive(lease.id).ttl_s)
                except StoreError:
                    done.wait(0.01)

    renewers = [threading.Thread(target=renew, args=(store.target,)) for _ in range(4)]
    for renewer in renewers:
        renewer.start()
    kill_and_restart(server_site)
    assert server_site.store.lease_keep_alive(lease.id).ttl_s == 3600
    done.set()
    for renewer in renewers:
        renewer.join()
    assert set(answers) <= {3600}
    assert get(server_site.store, b"k").count == 0
