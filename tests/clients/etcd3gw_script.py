"""What the `etcd3gw` client offers, checked against the server whose address is the argument."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import etcd3gw
from etcd3gw import exceptions

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.clients.python_checks import raises, run_checks

DEADLINE_S = 15
BINARY = bytes(range(256))
KEYED_BY_REVISION = ("revision", "create_revision", "mod_revision")


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def revision(client: Any) -> int:
    return int(client.transaction({"success": []})["header"]["revision"])


def relative(answer: Any, start: int) -> Any:
    """An answer without what names the server, its revisions counted from `start`."""
    if isinstance(answer, list):
        return [relative(each, start) for each in answer]
    if not isinstance(answer, dict):
        return answer
    return {
        name: int(value) - start if name in KEYED_BY_REVISION else relative(value, start)
        for name, value in answer.items()
        if name not in ("cluster_id", "member_id", "raft_term")
    }


def put_and_get(client: Any) -> None:
    start = revision(client)
    assert client.put("a", "1")
    assert client.put("a", b"2")
    assert client.put("empty", "")
    assert client.get("a") == [b"2"]
    assert client.get("empty") == [b""]
    assert client.get("missing") == []
    [(value, meta)] = client.get("a", metadata=True)
    assert value == b"2"
    assert relative(meta, start) == {
        "key": b"a", "create_revision": 1, "mod_revision": 2, "version": "2",
    }  # fmt: skip
    assert client.get("a", revision=start + 1) == [b"1"]
    assert client.get("a", serializable=True) == [b"2"]
    client.put("large", b"x" * 1_000_000)
    assert client.get("large") == [b"x" * 1_000_000]


def binary_keys_and_values(client: Any) -> None:
    assert client.put(BINARY, BINARY)
    assert client.get(BINARY) == [BINARY]
    [(value, meta)] = client.get_prefix(BINARY[:3])
    assert (value, meta["key"]) == (BINARY, BINARY)
    assert client.create(b"\xff\xfe", b"\x00")
    assert client.get(b"\xff\xfe") == [b"\x00"]
    assert client.replace(b"\xff\xfe", b"\x00", b"\x80\n")
    events, cancel = client.watch(b"\xff\xfe", start_revision=revision(client))
    event = next(events)
    cancel()
    assert (event["kv"]["key"], event["kv"]["value"]) == (b"\xff\xfe", b"\x80\n")
    assert client.delete(b"\xff\xfe")


def ranges(client: Any) -> None:
    start = revision(client)
    for key, value in (("p/b", "1"), ("p/a", "3"), ("p/c", "2"), ("q", "4"), ("p/a", "3")):
        client.put(key, value)

    def keys(found: Any) -> str:
        return "".join(meta["key"].decode()[-1] for _, meta in found)

    assert keys(client.get_prefix("p/")) == "abc"
    for target, up, down in (
        ("key", "abc", "cba"), ("value", "bca", "acb"), ("create", "bac", "cab"),
        ("mod", "bca", "acb"),
    ):  # fmt: skip
        assert keys(client.get_prefix("p/", "ascend", target)) == up, target
        assert keys(client.get_prefix("p/", "descend", target)) == down, target
    assert keys(client.get_prefix("p/", "descend", "version"))[0] == "a"
    assert keys(client.get_all()) == "abcq"
    assert keys(client.get_all(sort_order="descend")) == "qcba"
    assert keys(client.get("p/", True, range_end="p0", limit=2)) == "ab"
    assert client.get("p/", range_end="p0", keys_only=True) == [b""] * 3
    assert client.get("p/", range_end="p0", count_only=True) == []
    assert keys(client.get("p/", True, range_end="p0", min_mod_revision=start + 4)) == "a"
    assert keys(client.get("p/", True, range_end="p0", max_mod_revision=start + 1)) == "b"
    assert keys(client.get("p/", True, range_end="p0", min_create_revision=start + 3)) == "c"
    assert keys(client.get("p/", True, range_end="p0", max_create_revision=start + 2)) == "ab"
    assert client.get_prefix("none/") == []


def delete(client: Any) -> None:
    for key in ("a", "p/1", "p/2"):
        client.put(key, key)
    assert client.delete("a") is True
    assert client.delete("a") is False
    assert client.delete("p/1", prev_kv=True) is True
    assert client.delete_prefix("p/") is True
    assert client.delete_prefix("p/") is False
    assert client.get_all() == []


def create_and_replace(client: Any) -> None:
    assert client.create("a", "1") is True
    assert client.create("a", "2") is False
    assert client.replace("a", "1", "3") is True
    assert client.replace("a", "1", "4") is False
    assert client.replace("missing", "1", "4") is False
    assert client.get("a") == [b"3"]
    lease = client.lease(60)
    assert client.create("b", "1", lease=lease) is True
    assert lease.keys() == [b"b"]
    lease.revoke()


def transactions(client: Any) -> None:
    start = revision(client)
    client.put("a", "1")
    done = client.transaction(
        {
            "compare": [
                {"key": b64("a"), "result": "EQUAL", "target": "VALUE", "value": b64("1")},
                {"key": b64("a"), "result": "GREATER", "target": "VERSION", "version": "0"},
            ],
            "success": [
                {"request_put": {"key": b64("a"), "value": b64("2"), "prev_kv": True}},
                {"request_range": {"key": b64("a")}},
                {"requestDeleteRange": {"key": b64("none")}},
                {"request_txn": {"success": [{"request_put": {"key": b64("b"), "value": ""}}]}},
            ],
        }
    )
    header = {"revision": 2}
    meta = {"key": b64("a"), "create_revision": 1}
    first = {**meta, "mod_revision": 1, "version": "1", "value": b64("1")}
    second = {**meta, "mod_revision": 2, "version": "2", "value": b64("2")}
    put = {"response_put": {"header": header}}
    found = {"response_range": {"header": header, "kvs": [second], "count": "1"}}
    assert relative(done, start) == {
        "header": header,
        "succeeded": True,
        "responses": [
            {"response_put": {"header": header, "prev_kv": first}},
            found,
            {"response_delete_range": {"header": header}},
            {"response_txn": {"header": {}, "succeeded": True, "responses": [put]}},
        ],
    }
    failed = client.transaction(
        {
            "compare": [{"key": b64("a"), "target": "CREATE", "create_revision": 0}],
            "success": [{"request_put": {"key": b64("a"), "value": b64("never")}}],
            "failure": [{"request_range": {"key": b64("a")}}],
        }
    )
    assert relative(failed, start) == {"header": header, "responses": [found]}


def lock(client: Any) -> None:
    held, other = client.lock("name", ttl=30), client.lock("name", ttl=30)
    assert held.acquire() is True
    assert other.acquire() is False
    assert (held.is_acquired(), other.is_acquired()) == (True, False)
    assert held.refresh() == 30
    assert other.release() is False
    assert held.release() is True
    assert held.is_acquired() is False
    assert other.acquire() is True
    other.lease.revoke()
    assert other.is_acquired() is False
    assert other.refresh() == -1
    with client.lock("name", ttl=30) as third:
        assert third.is_acquired()
        assert held.acquire() is False
    assert held.acquire() is True


def leases(client: Any) -> None:
    lease = client.lease(60)
    assert client.put("a", "1", lease=lease)
    assert client.put("b", "1", lease=lease)
    assert 45 < lease.ttl() <= 60
    assert sorted(lease.keys()) == [b"a", b"b"]
    assert client.get("a", metadata=True)[0][1]["lease"] == str(lease.id)
    assert lease.refresh() == 60
    assert lease.revoke() is True
    assert client.get_all() == []
    assert (lease.ttl(), lease.refresh(), lease.keys()) == (-1, -1, [])


def lease_expiry(client: Any) -> None:
    events, cancel = client.watch("a")
    client.put("a", "1", lease=client.lease(1))
    assert [next(events).get("type") for _ in range(2)] == [None, "DELETE"]
    cancel()


def watch(client: Any) -> None:
    start = revision(client)
    events, cancel = client.watch("a", prev_kv=True)
    client.put("a", "1")
    client.put("other", "1")
    client.put("a", "2")
    client.delete("a")
    seen = [next(events) for _ in range(3)]
    meta = {"key": b"a", "create_revision": 1}
    # What stood there before comes as it is in JSON.
    before = {"key": b64("a"), "create_revision": 1}
    assert relative(seen, start) == [
        {"kv": {**meta, "mod_revision": 1, "version": "1", "value": b"1"}},
        {
            "kv": {**meta, "mod_revision": 3, "version": "2", "value": b"2"},
            "prev_kv": {**before, "mod_revision": 1, "version": "1", "value": b64("1")},
        },
        {
            "type": "DELETE",
            "kv": {"key": b"a", "mod_revision": 4},
            "prev_kv": {**before, "mod_revision": 3, "version": "2", "value": b64("2")},
        },
    ]
    cancel()
    client.put("a", "unseen")
    assert list(events) == []


def watch_prefix_and_history(client: Any) -> None:
    start = revision(client) + 1
    client.put("p/1", "x")
    client.put("q", "outside")
    client.delete("p/1")
    events, cancel = client.watch_prefix("p/", start_revision=start)
    client.put("p/2", "live")
    seen = [next(events) for _ in range(3)]
    cancel()
    assert [each["kv"]["key"] for each in seen] == [b"p/1", b"p/1", b"p/2"]
    assert [int(each["kv"]["mod_revision"]) - start for each in seen] == [0, 2, 3]
    for unwanted, expected in (("NOPUT", "DELETE"), ("NODELETE", None)):
        events, cancel = client.watch_prefix("p/", start_revision=start, filters=[unwanted])
        assert next(events).get("type") == expected
        cancel()


def watch_many(client: Any) -> None:
    # Each message must be a chunk of its own: the client parses chunk by chunk.
    events, cancel = client.watch_prefix("p/")
    for number in range(200):
        client.put(f"p/{number:03}", "x")
    assert [next(events)["kv"]["key"] for _ in range(200)] == [b"p/%03d" % n for n in range(200)]
    puts = [{"request_put": {"key": b64(f"p/{n}"), "value": b64("y" * 2000)}} for n in range(100)]
    client.transaction({"success": puts})
    assert len({next(events)["kv"]["mod_revision"] for _ in range(100)}) == 1
    cancel()


def watch_once(client: Any) -> None:
    start = revision(client) + 1
    client.put("A/a", "1")
    assert client.watch_once("A/a", timeout=DEADLINE_S, start_revision=start)["kv"]["value"] == b"1"
    # The client encodes the end of the prefix twice, which this prefix is still below.
    event = client.watch_prefix_once("A/", timeout=DEADLINE_S, start_revision=start)
    assert event["kv"]["key"] == b"A/a"
    raises(exceptions.WatchTimedOut, lambda: client.watch_once("nothing", timeout=0.05))
    raises(exceptions.WatchTimedOut, lambda: client.watch_prefix_once("nothing", timeout=0.05))


def errors(client: Any) -> None:
    lease, key = client.lease(60), {"key": b64("a")}
    lease.revoke()
    now = revision(client)
    client.put("a", "1")
    client.post(client.get_url("/kv/compaction"), json={"revision": now + 1})
    puts = [{"request_put": key}] * 2
    calls: list[tuple[Callable[[], Any], int, str, str]] = [
        (lambda: client.put("a", "1", lease=lease), 5, "Not Found", "requested lease not found"),
        (lease.revoke, 5, "Not Found", "requested lease not found"),
        (lambda: client.put("", "1"), 3, "Bad Request", "key is not provided"),
        (
            lambda: client.get("a", revision=now + 1000),
            11, "Bad Request", "mvcc: required revision is a future revision",
        ),
        (
            lambda: client.get("a", revision=now),
            11, "Bad Request", "mvcc: required revision has been compacted",
        ),
        (
            lambda: client.transaction({"success": puts}),
            3, "Bad Request", "duplicate key given in txn request",
        ),
        (
            lambda: client.transaction({"success": [{"request_range": key}] * 129}),
            3, "Bad Request", "too many operations in txn request",
        ),
    ]  # fmt: skip
    for call, code, reason, text in calls:
        error = raises(exceptions.Etcd3Exception, call)
        said = f"etcdserver: {text}"
        assert error.args == (reason,), error.detail_text
        assert json.loads(error.detail_text) == {"code": code, "error": said, "message": said}
    unknown = raises(exceptions.Etcd3Exception, lambda: client.post(client.get_url("/no"), json={}))
    assert unknown.args == ("Not Found",)
    assert client.get("a") == [b"1"]


def login_without_auth(client: Any) -> None:
    # Of 3.4 this is a PreconditionFailedError, of later ones its base class.
    url, login = client.get_url("/auth/authenticate"), {"name": "root", "password": "secret"}
    error = raises(exceptions.Etcd3Exception, lambda: client.post(url, json=login))
    told = json.loads(error.detail_text)
    assert (told["code"], told["message"]) == (9, "etcdserver: authentication is not enabled")


def status_and_members(client: Any) -> None:
    assert client.api_path == "/v3/"
    status = client.status()
    assert status["version"].startswith("3.")
    assert {"header", "version", "dbSize", "leader", "raftIndex", "raftTerm"} <= status.keys()
    assert int(status["header"]["raft_term"]) > 0
    [member] = client.members()
    assert member["ID"] == status["leader"] == status["header"]["member_id"]
    assert member["name"] == "default"
    assert member["clientURLs"] == [client.base_url]


@contextmanager
def connect(host: str, port: int) -> Iterator[Any]:
    client = etcd3gw.client(host=host, port=port, timeout=DEADLINE_S)
    with client.session:
        yield client


if __name__ == "__main__":
    run_checks(
        [
            put_and_get, binary_keys_and_values, ranges, delete, create_and_replace, transactions,
            lock, leases, lease_expiry, watch, watch_prefix_and_history, watch_many, watch_once,
            errors, login_without_auth, status_and_members,
        ],
        connect,
        lambda client: client.delete("\0", range_end="\0"),
    )  # fmt: skip
