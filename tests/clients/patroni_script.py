"""What Patroni's driver `etcd3` does, checked against the server whose address is the argument.

A node of a PostgreSQL cluster has a cache that a thread fills from a watch; it holds its leader
key and its member key by a lease. A node of `patronictl` has neither and reads directly.
"""

from __future__ import annotations

import base64
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from patroni.dcs import Cluster, get_dcs
from patroni.dcs import etcd3 as driver
from patroni.utils import iter_response_objects

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.clients.python_checks import raises, run_checks, tell_server

DEADLINE_S = 20
SCOPES = itertools.count()


class Nodes:
    """Makes nodes of one PostgreSQL cluster."""

    def __init__(self, address: str) -> None:
        self.address, self.url = address, f"http://{address}"
        self._scope = f"cluster{next(SCOPES)}"
        self._made: list[Any] = []

    def __call__(self, name: str, **options: Any) -> Any:
        at = {} if "hosts" in options else {"host": self.address}
        usual = {"ttl": 30, "loop_wait": 10, "retry_timeout": 5}
        config = {"scope": self._scope, "name": name, "etcd3": {**at, **usual, **options}}
        self._made.append(get_dcs(config))
        return self._made[-1]

    @cached_property
    def ctl(self) -> Any:
        return self("ctl", patronictl=True)

    def close(self) -> None:
        """End the threads of the caches, which go on for ever otherwise."""
        for cache in [node._client._kv_cache for node in self._made]:
            if cache is not None:
                cache._build_cache = sys.exit
                until(lambda cache=cache: cache.kill_stream() or not cache.is_alive())


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def until(probe: Callable[[], Any]) -> Any:
    """What the probe returns, once that is true."""
    deadline_monotonic_s = time.monotonic() + DEADLINE_S
    while not (found := probe()):
        assert time.monotonic() < deadline_monotonic_s
        time.sleep(0.01)
    return found


def seen(node: Any, wanted: Callable[[Cluster], Any]) -> Cluster:
    """The cluster as the node's cache has it, once it is as wanted."""

    def look() -> tuple[Cluster] | None:
        cluster = node.get_cluster()
        return (cluster,) if wanted(cluster) else None

    # In a tuple, since a cluster without anything is false.
    return until(look)[0]


def is_led_by(name: str) -> Callable[[Cluster], bool]:
    return lambda cluster: cluster.leader is not None and cluster.leader.name == name


def revoke(nodes: Nodes, lease: str) -> None:
    nodes.ctl._client.call_rpc("/lease/revoke", {"ID": lease})


def machine_discovery(nodes: Nodes) -> None:
    client = nodes("a")._client
    assert client.machines == client.machines_cache == [client._base_uri] == [nodes.url]
    assert client.version_prefix == "/v3"
    assert len(client._cluster_version) == 3
    assert (3, 4, 0) <= client._cluster_version < (4, 0, 0)
    assert int(client._cluster_id) > 0
    assert client._raft_term > 0
    # At one of the hosts that are configured nobody listens; the other one says who is a member.
    some = nodes("b", hosts=f"127.0.0.1:1,{nodes.address}")
    assert some._client.machines_cache == [nodes.url]


def ranges(nodes: Nodes) -> None:
    client = nodes.ctl._client
    first = client.put("r/b", "1")["header"]["revision"]
    assert isinstance(first, str)
    for value in ("2", "3"):
        client.put("r/a", value)
    second, third = str(int(first) + 1), str(int(first) + 2)
    found = client.prefix("r/")
    assert found["kvs"] == [
        {
            "key": b64("r/a"), "create_revision": second, "mod_revision": third,
            "version": "2", "value": b64("3"),
        },
        {
            "key": b64("r/b"), "create_revision": first, "mod_revision": first,
            "version": "1", "value": b64("1"),
        },
    ]  # fmt: skip
    assert (found["count"], found["header"]["revision"]) == ("2", third)
    assert client.range("r/a", serializable=False)["kvs"] == found["kvs"][:1]
    missing = client.range("r/none")
    assert missing.keys() == {"header"}
    assert missing["header"]["cluster_id"] == client._cluster_id
    assert client.put("r/a", "4", mod_revision=first) == {}
    assert client.put("r/a", "4", mod_revision=third)["succeeded"] is True
    assert client.put("r/c", "1", create_revision="0")["succeeded"] is True
    assert client.put("r/c", "2", create_revision="0") == {}
    # Of a value that is empty nothing is said.
    client.put("empty", "")
    assert client.range("empty")["kvs"][0].keys() == {
        "key", "create_revision", "mod_revision", "version",
    }  # fmt: skip
    assert client.deleterange("r/c", mod_revision=first) == {}
    assert client.deleterange("r/c")["deleted"] == "1"
    assert "deleted" not in client.deleterange("r/c")
    assert client.deleteprefix("r/")["deleted"] == "2"


def leases(nodes: Nodes) -> None:
    client = nodes.ctl._client
    lease = client.lease_grant(30)
    assert isinstance(lease, str)
    client.put("l", "1", lease)
    assert client.range("l")["kvs"][0]["lease"] == lease
    assert client.lease_keepalive(lease) == "30"
    revoke(nodes, lease)
    assert "kvs" not in client.range("l")
    # No TTL in the answer: the driver takes another lease.
    assert client.lease_keepalive(lease) is None
    node = nodes("a")
    lease = node._lease
    assert node._do_refresh_lease(force=True) is False
    assert node._lease == lease
    revoke(nodes, lease)
    assert node._do_refresh_lease(force=True) is True
    assert node._lease not in (None, lease)


def refusals(nodes: Nodes) -> None:
    client = nodes.ctl._client
    now = int(client.put("a", "1")["header"]["revision"])
    client.put("a", "2")
    client.call_rpc("/kv/compaction", {"revision": now + 1})

    def read(revision: int) -> Any:
        return client.call_rpc("/kv/range", {"key": b64("a"), "revision": revision})

    lease_id = "1234"
    calls: list[tuple[Callable[[], Any], type[Exception], int, int, str]] = [
        (
            lambda: client.put("a", "1", lease_id),
            driver.LeaseNotFound, 5, 404, "requested lease not found",
        ),
        (lambda: client.put("", "1"), driver.InvalidArgument, 3, 400, "key is not provided"),
        (
            lambda: read(now + 1000),
            driver.Etcd3ClientError, 11, 400, "mvcc: required revision is a future revision",
        ),
        (
            lambda: read(now),
            driver.Etcd3ClientError, 11, 400, "mvcc: required revision has been compacted",
        ),
    ]  # fmt: skip
    for call, kind, code, status, text in calls:
        told = raises(kind, call).as_dict()
        assert (told["code"], told["status"]) == (code, status), told
        assert told["error"] == f"etcdserver: {text}"
    assert raises(driver.Etcd3ClientError, lambda: client.call_rpc("/no", {})).status == 404


def login_without_auth(nodes: Nodes) -> None:
    client = nodes.ctl._client
    client.username, client.password = "root", "secret"
    assert client.authenticate() is False
    assert client._token is None


def watch_stream(nodes: Nodes) -> None:
    client = nodes.ctl._client
    start = client.put("w/00", "x")["header"]["revision"]
    response = client.watchprefix("w/", start)
    for number in range(1, 10):
        client.put(f"w/{number:02}", "x")
    deleted = client.deleterange("w/00")["header"]["revision"]
    chunks = response.read_chunked(decode_content=False)
    created = json.loads(next(chunks))["result"]
    assert created.keys() == {"header", "created"}
    events: list[Any] = []
    while len(events) < 11:
        chunk = next(chunks)
        assert chunk.endswith(b"\n")
        assert chunk.count(b"\n") == 1
        events += json.loads(chunk)["result"]["events"]
    response.close()
    assert [event["kv"]["key"] for event in events[:-1]] == [b64(f"w/{n:02}") for n in range(10)]
    assert not [event for event in events[:-1] if "type" in event]
    assert events[-1] == {"type": "DELETE", "kv": {"key": b64("w/00"), "mod_revision": deleted}}


def watch_from_a_compacted_revision(nodes: Nodes) -> None:
    node = nodes("a")
    client, cache = node._client, node._client._kv_cache
    start = client.put("c", "1")["header"]["revision"]
    now = client.put("c", "2")["header"]["revision"]
    client.call_rpc("/kv/compaction", {"revision": now})
    response = client.watchprefix("c", start)
    raises(
        driver.Etcd3WatchCanceled,
        lambda: [cache._process_message(each) for each in iter_response_objects(response)],
    )
    response.close()


def leader_race(nodes: Nodes) -> None:
    a, b = nodes("a"), nodes("b")
    assert a.attempt_to_acquire_leader()
    assert not b.attempt_to_acquire_leader()
    cluster = seen(b, is_led_by("a"))
    assert cluster.leader.session == a._lease != b._lease
    assert a.update_leader(a.get_cluster(), 1000, {"slot": 7}, {"a": "http://a"}) is True
    updated = seen(b, lambda cluster: cluster.failsafe)
    assert updated.status.last_lsn == 1000
    assert updated.status.slots["slot"] == 7
    assert updated.failsafe == {"a": "http://a"}
    # The lease was renewed, the key of the leader not written again.
    assert updated.leader.version == cluster.leader.version
    assert b.delete_leader(updated.leader) is False
    assert a.delete_leader(a.get_cluster().leader, 2000) is True
    assert seen(b, lambda cluster: cluster.is_unlocked()).status.last_lsn == 2000
    assert b.attempt_to_acquire_leader()
    assert seen(a, is_led_by("b")).leader.session == b._lease
    assert a.take_leader()
    assert seen(b, is_led_by("a")).leader.session == a._lease


def replicas_wake(nodes: Nodes) -> None:
    a, b = nodes("a"), nodes("b")
    assert b.get_cluster().is_unlocked()
    assert a.set_config_value(json.dumps({"ttl": 30}))
    for change in (
        a.attempt_to_acquire_leader,
        lambda: a.update_leader(a.get_cluster(), 1),
        lambda: a.update_leader(a.get_cluster(), 2),
        lambda: a.set_config_value(json.dumps({"ttl": 20})),
        lambda: a.delete_leader(a.get_cluster().leader),
    ):
        assert change()
        assert b.watch(None, DEADLINE_S) is True
    # A member wakes nobody.
    assert a.touch_member({"state": "running"})
    seen(b, lambda cluster: cluster.members)
    assert b.watch(None, 0) is False


def session_ends(nodes: Nodes) -> None:
    a, b = nodes("a", ttl=3), nodes("b")
    b.get_cluster()
    assert a.touch_member({"state": "running"})
    assert a.attempt_to_acquire_leader()
    led, lost = a.get_cluster(), a._lease
    assert led.leader.session == lost
    assert b.watch(None, DEADLINE_S) is True
    # Nobody renews it: the leader and the member go, and the replica is woken.
    assert b.watch(None, DEADLINE_S) is True
    assert seen(b, lambda cluster: cluster.is_unlocked()).members == []
    assert b.attempt_to_acquire_leader()
    # The former leader finds itself replaced.
    assert a.update_leader(led, 1) is False
    assert a._lease != lost
    assert seen(a, is_led_by("b")).leader.session == b._lease


def leader_with_another_session(nodes: Nodes) -> None:
    a, ctl = nodes("a"), nodes.ctl
    assert a.attempt_to_acquire_leader()
    first = a._lease
    a.set_ttl(40)
    assert a.watch(None, 0) is True
    assert a.update_leader(a.get_cluster(), None) is True
    assert ctl.get_cluster().leader.session == a._lease != first
    # The key has gone with the lease: a nested transaction makes it again.
    cluster, second = a.get_cluster(), a._lease
    revoke(nodes, second)
    assert ctl.get_cluster().is_unlocked()
    assert a.update_leader(cluster, None) is True
    assert ctl.get_cluster().leader.session == a._lease != second


def lost_lease(nodes: Nodes) -> None:
    a = nodes("a")
    revoke(nodes, a._lease)
    assert a.touch_member({"state": "running"}) is False
    assert a.touch_member({"state": "running"}) is True
    lost = a._lease
    revoke(nodes, lost)
    assert a.attempt_to_acquire_leader()
    assert nodes.ctl.get_cluster().leader.session == a._lease != lost


def members(nodes: Nodes) -> None:
    a, b, ctl = nodes("a"), nodes("b"), nodes.ctl
    data = {"state": "running", "conn_url": "postgres://ä/", "version": "4.1.5"}
    assert a.touch_member(data) is True
    assert b.touch_member({"state": "starting"}) is True
    member = seen(b, lambda cluster: len(cluster.members) == 2).get_member("a", False)
    assert (member.data, member.session) == (data, a._lease)
    assert ctl.get_cluster().get_member("a", False) == member
    # What is there already is not written again.
    seen(a, lambda cluster: len(cluster.members) == 2)
    assert a.touch_member(data) is True
    assert ctl.get_cluster().get_member("a", False).version == member.version
    assert a.touch_member({"state": "stopped"}) is True
    changed = seen(b, lambda cluster: cluster.get_member("a", False).data != data)
    assert int(changed.get_member("a", False).version) > int(member.version)
    revoke(nodes, b._lease)
    assert [each.name for each in seen(a, lambda c: len(c.members) == 1).members] == ["a"]


def config_failover_and_history(nodes: Nodes) -> None:
    a, b, ctl = nodes("a"), nodes("b"), nodes.ctl
    assert a.initialize(sysid="12345")
    assert not b.initialize(sysid="67890")
    assert a.set_config_value(json.dumps({"ttl": 30}))
    cluster = seen(b, lambda cluster: cluster.config)
    assert (cluster.initialize, cluster.config.data) == ("12345", {"ttl": 30})
    version = cluster.config.version
    assert ctl.set_config_value(json.dumps({"ttl": 40}), version) is True
    assert ctl.set_config_value(json.dumps({"ttl": 50}), version) is False
    assert seen(a, lambda cluster: cluster.config.version != version).config.data == {"ttl": 40}
    assert ctl.manual_failover("a", "b") is True
    failover = seen(a, lambda cluster: cluster.failover).failover
    assert (failover.leader, failover.candidate) == ("a", "b")
    assert a.manual_failover("", "", version=failover.version) is True
    assert a.manual_failover("", "b", version=failover.version) is False
    assert not seen(b, lambda cluster: not cluster.failover.candidate).failover.leader
    assert a.set_history_value(json.dumps([[1, 100, "no recovery target specified"]])) is True
    assert seen(b, lambda cluster: cluster.history).history.lines[0][:2] == [1, 100]
    sync = a.write_sync_state("a", ["b"], 0)
    assert seen(b, lambda cluster: cluster.sync.leader).sync.version == sync.version
    assert not b.delete_sync_state(version="1")
    assert a.delete_sync_state(version=sync.version)
    assert a.cancel_initialization()
    seen(b, lambda cluster: not cluster.initialize and not cluster.sync.leader)
    assert ctl.delete_cluster()
    assert seen(b, lambda cluster: cluster.config is None).history is None


def cache_starts_again(nodes: Nodes) -> None:
    a, b = nodes("a"), nodes("b")
    for number in range(5):
        b._client._restart_watcher()
        assert a.set_config_value(json.dumps({"number": number}))
        seen(b, lambda cluster, n=number: cluster.config and cluster.config.data["number"] == n)


def server_restarts(nodes: Nodes) -> None:
    a, b = nodes("a"), nodes("b")
    assert a.touch_member({"state": "running"})
    assert a.attempt_to_acquire_leader()
    client, lease = a._client, a._lease
    cluster_id, term = client._cluster_id, client._raft_term
    tell_server("restart")
    assert a.update_leader(seen(a, is_led_by("a")), 1000) is True
    cluster = seen(b, lambda cluster: cluster.status.last_lsn == 1000)
    assert cluster.leader.session == cluster.get_member("a").session == a._lease == lease
    assert client._cluster_id == cluster_id
    assert client._raft_term > term
    b.event.clear()
    assert a.delete_leader(a.get_cluster().leader) is True
    assert b.watch(None, DEADLINE_S) is True
    seen(b, lambda cluster: cluster.is_unlocked())


def server_is_away(nodes: Nodes) -> None:
    def fails(call: Callable[[], Any]) -> bool:
        try:
            call()
        except driver.Etcd3Error:
            return True
        return False

    a, b = (nodes(name, retry_timeout=2) for name in "ab")
    assert a.attempt_to_acquire_leader()
    lease, led = a._lease, seen(b, is_led_by("a"))
    tell_server("kill")
    with ThreadPoolExecutor() as pool:
        update = pool.submit(fails, lambda: a.update_leader(led, 1000))
        # The cache notices that its stream has ended.
        until(lambda: fails(b.get_cluster))
        assert update.result()
    tell_server("start")
    until(lambda: not fails(a.get_cluster) and not fails(b.get_cluster))
    assert a.update_leader(a.get_cluster(), 2000) is True
    assert seen(b, lambda cluster: cluster.status.last_lsn == 2000).leader.session == lease


@contextmanager
def connect(host: str, port: int) -> Iterator[Nodes]:
    nodes = Nodes(f"{host}:{port}")
    try:
        yield nodes
    finally:
        nodes.close()


if __name__ == "__main__":
    run_checks(
        [
            machine_discovery, ranges, leases, refusals, login_without_auth, watch_stream,
            watch_from_a_compacted_revision, leader_race, replicas_wake, session_ends,
            leader_with_another_session, lost_lease, members, config_failover_and_history,
            cache_starts_again, server_restarts, server_is_away,
        ],
        connect,
        lambda nodes: nodes.ctl._client.deleterange("\0", "\0"),
    )  # fmt: skip
