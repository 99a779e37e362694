"""What Patroni's etcd3 driver asks of its store, checked against the server at the argument.

The driver speaks the gateway by itself and keeps what it watches in a cache of its own. A second
argument has it wait for restarts of the server: it prints `restart`, and goes on when it is
told on stdin that the server is there again.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from patroni.dcs import Cluster
from patroni.dcs.etcd3 import Etcd3, LeaseNotFound
from patroni.postgresql.mpp import get_mpp

from tests.clients.python_checks import raises, run_checks

DEADLINE_S = 15
_scopes = count()
Join = Callable[..., Any]


def eventually(cluster: Callable[[], Cluster], holds: Callable[[Cluster], Any]) -> Cluster:
    """The first view of a cluster of which it holds: the caches follow by their watches."""
    end = time.monotonic() + DEADLINE_S
    while not holds(seen := cluster()):
        assert time.monotonic() < end, seen
        time.sleep(0.01)
    return seen


def discovery(join: Join) -> None:
    client = join("one")._client
    # `host` is the only machine that it was told; the members say their addresses themselves.
    assert client.machines == [client._base_uri]
    assert client.version_prefix == "/v3"
    with urllib.request.urlopen(client._base_uri + "/version") as answer:
        told = json.load(answer)
    assert client._cluster_version == tuple(map(int, told["etcdcluster"].split(".")))
    assert len(client._cluster_version) == 3
    assert client._raft_term > 0
    assert int(client._cluster_id) > 0
    assert client._token is None


def login(join: Join) -> None:
    # Where authentication is off a password is not wrong: the driver goes on without a token.
    client = join("one")._client
    client.username, client.password = "root", "secret"
    assert client.authenticate() is False
    assert client._token is None


def ranges(join: Join) -> None:
    client = join("one")._client
    for name, value in (("p/a", "1"), ("p/b", "é"), ("q", "")):
        assert int(client.put(name, value)["header"]["revision"]) > 0
    found = client.prefix("p/", serializable=False)
    assert found["count"] == "2"
    assert [sorted(kv) for kv in found["kvs"]] == [
        ["create_revision", "key", "mod_revision", "value", "version"]
    ] * 2
    assert "value" not in client.range("q")["kvs"][0]
    revision = found["kvs"][0]["mod_revision"]
    assert client.put("p/a", "2", mod_revision="1") == {}
    assert client.put("p/a", "2", mod_revision=revision)["succeeded"] is True
    assert client.put("p/a", "3", create_revision="0") == {}
    assert client.deleterange("p/a", mod_revision=revision) == {}
    assert client.deleteprefix("p/")["deleted"] == "2"
    error = raises(LeaseNotFound, lambda: client.put("p/a", "1", lease="4711"))
    assert error.as_dict() == {
        "error": "etcdserver: requested lease not found", "code": 5, "codeText": "NotFound",
        "status": 404,
    }  # fmt: skip


def session(join: Join) -> None:
    one = join("one")
    assert one._client.lease_keepalive(one._lease) == str(one.ttl)
    assert one.refresh_lease() is False
    lease = one._lease
    one._client.call_rpc("/kv/lease/revoke", {"ID": lease})
    assert one._client.lease_keepalive(lease) is None
    one._last_lease_refresh = 0
    assert one.refresh_lease() is True
    assert one._lease not in (None, lease)


def members(join: Join) -> None:
    one, two = join("one"), join("two")
    one.get_cluster()
    assert one.touch_member({"conn_url": "postgres://one", "state": "running"}) is True
    assert two.touch_member({"conn_url": "postgres://two", "state": "running"}) is True
    seen = eventually(one.get_cluster, lambda cluster: len(cluster.members) == 2)
    member = seen.get_member("two")
    assert (member.session, member.conn_url) == (two._lease, "postgres://two")
    two._client.call_rpc("/lease/revoke", {"ID": two._lease})
    assert [each.name for each in eventually(
        one.get_cluster, lambda cluster: len(cluster.members) == 1
    ).members] == ["one"]  # fmt: skip
    eventually(one.get_cluster, lambda cluster: two.touch_member({}) and len(cluster.members) == 2)


def leader_race(join: Join) -> None:
    one, two = join("one"), join("two")
    assert one.attempt_to_acquire_leader()
    assert not two.attempt_to_acquire_leader()
    seen = eventually(two.get_cluster, lambda cluster: cluster.leader)
    assert (seen.leader.name, seen.leader.session) == ("one", one._lease)
    assert one.update_leader(one.get_cluster(), 4711, {"slot": 4700}, {"one": "http://one"})
    seen = eventually(two.get_cluster, lambda cluster: cluster.failsafe)
    assert (seen.status.last_lsn, seen.status.slots["slot"]) == (4711, 4700)
    assert seen.failsafe == {"one": "http://one"}
    # With another lease the key moves to it in a nested transaction.
    one._client.call_rpc("/lease/revoke", {"ID": one._lease})
    assert one.update_leader(seen, 4712)
    seen = eventually(
        two.get_cluster, lambda cluster: cluster.leader and cluster.leader.session == one._lease
    )
    assert not two.delete_leader(seen.leader)
    assert one.delete_leader(seen.leader, 4713)
    eventually(two.get_cluster, lambda cluster: not cluster.leader)
    assert two.attempt_to_acquire_leader()
    assert one.take_leader()
    seen = eventually(two.get_cluster, lambda cluster: cluster.leader.name == "one")
    assert not two._update_leader(seen.leader)


def leader_without_lease(join: Join) -> None:
    one = join("one")
    one._client.call_rpc("/lease/revoke", {"ID": one._lease})
    lease = one._lease
    assert one.attempt_to_acquire_leader()
    assert one._lease != lease
    seen = eventually(one.get_cluster, lambda cluster: cluster.leader)
    assert seen.leader.session == one._lease


def watch(join: Join) -> None:
    one, two = join("one"), join("two")
    eventually(two.get_cluster, lambda cluster: cluster.leader is None)
    assert two.watch(None, 0) is False
    for change in (one.take_leader, lambda: one.delete_leader(one.get_cluster().leader)):
        assert change()
        assert two.watch(None, DEADLINE_S) is True
    # Status wakes a replica; members do not.
    one.get_cluster()
    one.touch_member({"state": "running"})
    one.write_leader_optime(5)
    assert two.watch(None, DEADLINE_S) is True
    assert [member.name for member in two.get_cluster().members] == ["one"]


def leader_expiry(join: Join) -> None:
    one, two = join("one", ttl=2), join("two")
    two.get_cluster()
    assert one.take_leader()
    assert two.watch(None, DEADLINE_S) is True
    began = time.monotonic()
    assert two.watch(None, DEADLINE_S) is True
    assert time.monotonic() - began > 1
    assert two.get_cluster().leader is None


def cluster_keys(join: Join) -> None:
    one, two = join("one"), join("two")
    assert one.initialize(sysid="1234")
    assert not two.initialize(sysid="5678")
    assert one.set_config_value('{"ttl":30}')
    assert one.manual_failover("one", "two")
    assert one.set_history_value('[[1,2,"why"]]')
    sync = one.write_sync_state("one", ["two"], 0)
    assert sync
    seen = eventually(two.get_cluster, lambda cluster: cluster.sync.leader)
    assert seen.initialize == "1234"
    assert seen.config.data == {"ttl": 30}
    assert (seen.failover.leader, seen.failover.candidate) == ("one", "two")
    assert [list(line) for line in seen.history.lines] == [[1, 2, "why"]]
    assert (seen.sync.leader, seen.sync.sync_standby) == ("one", "two")
    assert str(seen.sync.version) == str(sync.version)
    assert not two.set_config_value("{}", version="1")
    assert two.set_config_value('{"ttl":20}', version=seen.config.version)
    assert two.manual_failover("", "", version=seen.failover.version)
    assert not two.delete_sync_state(version="1")
    assert two.delete_sync_state(version=seen.sync.version)
    seen = eventually(one.get_cluster, lambda cluster: cluster.sync.is_empty)
    assert seen.config.data == {"ttl": 20}
    assert one.cancel_initialization()
    assert one.delete_cluster()
    eventually(two.get_cluster, Cluster.is_empty)


def server_restart(join: Join) -> None:
    one, two = join("one"), join("two")
    assert one.take_leader()
    seen = eventually(two.get_cluster, lambda cluster: cluster.leader)
    lease, term, cluster_id = one._lease, one._client._raft_term, one._client._cluster_id
    print("restart", flush=True)
    assert sys.stdin.readline() == "restarted\n"
    assert one.update_leader(seen, 17)
    assert one._lease == lease
    assert eventually(one.get_cluster, lambda cluster: cluster.status.last_lsn == 17).leader
    assert one._client._raft_term > term
    assert one._client._cluster_id == cluster_id
    # The watch of the other came back too: it sees what happens now.
    eventually(two.get_cluster, lambda cluster: cluster.status.last_lsn == 17)
    two.event.clear()
    assert one.delete_leader(one.get_cluster().leader)
    assert two.watch(None, DEADLINE_S) is True
    assert two.get_cluster().leader is None


@contextmanager
def connect(host: str, port: int) -> Iterator[Join]:
    scope = f"scope{next(_scopes)}"

    def join(name: str, ttl: int = 30, **more: Any) -> Etcd3:
        config = {"host": f"{host}:{port}", "scope": scope, "name": name, "ttl": ttl, **more}
        return Etcd3({**config, "loop_wait": 10, "retry_timeout": 10}, get_mpp({}))

    yield join


def empty(join: Join) -> None:
    """Nothing: each check has a scope of its own, and caches that watch go on until the end."""


if __name__ == "__main__" and len(sys.argv) > 2:
    run_checks([server_restart], connect, empty)
elif __name__ == "__main__":
    run_checks(
        [
            discovery, login, ranges, session, members, leader_race, leader_without_lease, watch,
            leader_expiry, cluster_keys,
        ],
        connect,
        empty,
    )  # fmt: skip
