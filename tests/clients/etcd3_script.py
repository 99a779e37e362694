"""What the `etcd3` client offers, checked against the server whose address is the argument."""

from __future__ import annotations

import io
import queue
import sys
import threading
from pathlib import Path
from typing import Any

import etcd3
import grpc
from etcd3 import etcdrpc
from etcd3.etcdrpc import kv_pb2

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.clients.python_checks import raises, run_checks

DEADLINE_S = 15


def put_and_get(client: Any) -> None:
    before = client.put("a", "1").header.revision
    put = client.put("a", b"2", prev_kv=True)
    assert put.header.revision == before + 1
    assert put.prev_kv.value == b"1"
    assert put.prev_kv.mod_revision == before
    value, meta = client.get("a")
    assert value == b"2"
    assert (meta.create_revision, meta.mod_revision, meta.version) == (before, before + 1, 2)
    assert (meta.key, meta.lease_id) == (b"a", 0)
    assert meta.response_header.revision == before + 1
    assert client.get("a", serializable=True)[0] == b"2"
    assert client.get("missing") == (None, None)
    assert client.get_response("a").count == 1
    client.put("ключ", "значение")
    assert client.get("ключ")[0].decode() == "значение"
    client.put("empty", "")
    assert client.get("empty")[0] == b""
    client.put("large", b"x" * 1_000_000)
    assert len(client.get("large")[0]) == 1_000_000


def ranges(client: Any) -> None:
    for key, value in (("p/b", "1"), ("p/a", "3"), ("p/c", "2"), ("q", "4")):
        client.put(key, value)
    client.put("p/a", "3")

    def keys(found: Any) -> list[bytes]:
        return [meta.key for _, meta in found]

    assert keys(client.get_prefix("p/")) == [b"p/a", b"p/b", b"p/c"]
    assert keys(client.get_prefix("p/", sort_order="descend")) == [b"p/c", b"p/b", b"p/a"]
    for target, expected in (
        ("key", "abc"), ("value", "bca"), ("create", "bac"), ("mod", "bca"),
    ):  # fmt: skip
        found = client.get_prefix("p/", sort_order="ascend", sort_target=target)
        assert b"".join(key[-1:] for key in keys(found)).decode() == expected, target
    found = client.get_prefix("p/", sort_order="descend", sort_target="version")
    assert keys(found)[0] == b"p/a"
    assert keys(client.get_range("p/b", "q")) == [b"p/b", b"p/c"]
    assert keys(client.get_range("q", "p")) == []
    assert keys(client.get_all()) == [b"p/a", b"p/b", b"p/c", b"q"]
    assert [value for value, _ in client.get_all(keys_only=True)] == [b""] * 4
    assert client.get_prefix_response("p/").count == 3
    assert list(client.get_prefix("none/")) == []


def delete(client: Any) -> None:
    for key in ("a", "p/1", "p/2"):
        client.put(key, key)
    assert client.delete("a") is True
    assert client.delete("a") is False
    response = client.delete("p/1", prev_kv=True, return_response=True)
    assert response.deleted == 1
    assert [kv.value for kv in response.prev_kvs] == [b"p/1"]
    assert client.delete_prefix("p/").deleted == 1
    assert client.delete_prefix("p/").deleted == 0
    assert list(client.get_all()) == []


def put_if_not_exists_and_replace(client: Any) -> None:
    assert client.put_if_not_exists("a", "1") is True
    assert client.put_if_not_exists("a", "2") is False
    assert client.replace("a", "1", "3") is True
    assert client.replace("a", "1", "4") is False
    assert client.replace("missing", "1", "4") is False
    assert client.get("a")[0] == b"3"


def transaction_compares(client: Any) -> None:
    first = client.put("a", "1").header.revision
    client.put("a", "2")
    txn = client.transactions
    exact = {txn.version: 2, txn.create: first, txn.mod: first + 1}
    for target, value in exact.items():
        for offset in (-1, 0, 1):
            operand = value + offset
            for outcome, compare in (
                (offset == 0, target("a") == operand),
                (offset != 0, target("a") != operand),
                (offset > 0, target("a") < operand),
                (offset < 0, target("a") > operand),
            ):
                succeeded, _ = client.transaction(compare=[compare], success=[], failure=[])
                assert succeeded is outcome, compare
    for outcome, compare in (
        (True, txn.value("a") == "2"), (False, txn.value("a") != "2"),
        (True, txn.value("a") < "3"), (True, txn.value("a") > "1"), (False, txn.value("a") > "2"),
        (False, txn.value("missing") == ""), (False, txn.value("missing") != "x"),
        (True, txn.version("missing") == 0), (True, txn.create("missing") == 0),
        (True, txn.version("a", "c") > 0), (False, txn.version("a", "c") > 2),
    ):  # fmt: skip
        assert client.transaction([compare], [], [])[0] is outcome, compare


def transaction_operations(client: Any) -> None:
    client.put("a", "1")
    client.put("b", "1")
    txn = client.transactions
    succeeded, responses = client.transaction(
        compare=[txn.value("a") == "1", txn.version("b") == 1],
        success=[
            txn.put("a", "2", prev_kv=True), txn.get("a"), txn.get("a", "c"),
            txn.delete("b", prev_kv=True), txn.get("b"),
        ],
        failure=[txn.put("a", "failed")],
    )  # fmt: skip
    assert succeeded
    assert responses[0].response_put.prev_kv.value == b"1"
    assert [value for value, _ in responses[1]] == [b"2"]
    assert [meta.key for _, meta in responses[2]] == [b"a", b"b"]
    assert responses[3].response_delete_range.deleted == 1
    assert responses[4] == []
    succeeded, responses = client.transaction(
        compare=[txn.value("a") == "1"], success=[], failure=[txn.get("a")]
    )
    assert not succeeded
    assert [value for value, _ in responses[0]] == [b"2"]


def transaction_nested(client: Any) -> None:
    client.put("a", "1")
    txn = client.transactions
    inner = txn.txn(
        compare=[txn.value("a") == "1"],
        success=[txn.put("inner", "then"), txn.get("a")],
        failure=[txn.put("inner", "else")],
    )
    succeeded, responses = client.transaction(
        compare=[txn.version("a") > 0], success=[txn.put("a", "2"), inner], failure=[]
    )
    assert succeeded
    # Every compare is decided on the state before the transaction; its reads see the writes.
    nested = responses[1].response_txn
    assert nested.succeeded
    assert nested.responses[1].response_range.kvs[0].value == b"2"
    assert client.get("inner")[0] == b"then"
    assert client.get("inner")[1].mod_revision == client.get("a")[1].mod_revision
    innermost = txn.txn([], [txn.txn([], [txn.delete("a")], [])], [])
    client.transaction([], [innermost], [])
    assert client.get("a") == (None, None)


def refusals(client: Any) -> None:
    txn = client.transactions
    for call, code, text in (
        (lambda: client.put("", "1"), "INVALID_ARGUMENT", "key is not provided"),
        (lambda: client.get(""), "INVALID_ARGUMENT", "key is not provided"),
        (lambda: client.put("a", "1", lease=1234), "NOT_FOUND", "requested lease not found"),
        (lambda: client.revoke_lease(1234), "NOT_FOUND", "requested lease not found"),
        (lambda: client.compact(10**9), "OUT_OF_RANGE", "required revision is a future revision"),
        (
            lambda: client.transaction([], [txn.put("a", "1"), txn.put("a", "2")], []),
            "INVALID_ARGUMENT", "duplicate key given in txn request",
        ),
        (
            lambda: client.transaction([], [txn.get("a")] * 129, []),
            "INVALID_ARGUMENT", "too many operations in txn request",
        ),
    ):  # fmt: skip
        error = raises(grpc.RpcError, call)
        assert error.code().name == code, error
        assert error.details().endswith(text), error
    raises(
        etcd3.exceptions.PreconditionFailedError,
        lambda: [client.lease(60, lease_id=77) for _ in range(2)],
    )
    client.revoke_lease(77)


def watch_callback(client: Any) -> None:
    responses: queue.Queue[Any] = queue.Queue()
    watch_id = client.add_watch_callback("a", responses.put)
    other = client.add_watch_prefix_callback("p/", responses.put)
    assert watch_id != other
    revision = client.put("a", "1").header.revision
    response = responses.get(timeout=DEADLINE_S)
    assert response.header.revision == revision
    assert [(type(e).__name__, e.key, e.value) for e in response.events] == [
        ("PutEvent", b"a", b"1")
    ]
    client.put("p/1", "x")
    assert responses.get(timeout=DEADLINE_S).events[0].key == b"p/1"
    client.delete("a")
    event = responses.get(timeout=DEADLINE_S).events[0]
    assert (type(event).__name__, event.key, event.value) == ("DeleteEvent", b"a", b"")
    client.cancel_watch(watch_id)
    client.put("a", "unseen")
    client.put("p/2", "seen")
    assert responses.get(timeout=DEADLINE_S).events[0].key == b"p/2"
    client.cancel_watch(other)


def watch_iterator(client: Any) -> None:
    events, cancel = client.watch("a", prev_kv=True)
    client.put("a", "1")
    client.put("a", "2")
    client.delete("a")
    seen = [next(events) for _ in range(3)]
    assert [e.value for e in seen] == [b"1", b"2", b""]
    assert [e.prev_value for e in seen] == [b"", b"1", b"2"]
    assert [e.version for e in seen] == [1, 2, 0]
    timer = threading.Timer(0, cancel)
    timer.start()
    assert list(events) == []
    timer.join()


def watch_prefix_and_history(client: Any) -> None:
    start = client.put("p/1", "x").header.revision
    client.put("q", "outside")
    client.delete("p/1")
    client.put("p/2", "y")
    events, cancel = client.watch_prefix("p/", start_revision=start)
    client.put("p/3", "live")
    seen = [(type(e).__name__, e.key, e.mod_revision - start) for e in map(next, [events] * 4)]
    cancel()
    assert seen == [
        ("PutEvent", b"p/1", 0), ("DeleteEvent", b"p/1", 2),
        ("PutEvent", b"p/2", 3), ("PutEvent", b"p/3", 4),
    ]  # fmt: skip
    responses, cancel = client.watch_response("a", range_end="z", start_revision=start + 1)
    keys = [e.key for response in (next(responses),) for e in response.events]
    cancel()
    assert keys[0] == b"q"


def watch_filters_and_progress(client: Any) -> None:
    # The client itself cannot set filters with a current protobuf, so its stub is used.
    create = etcdrpc.WatchCreateRequest
    start = client.put("a", "1").header.revision
    client.delete("a")
    client.put("a", "2")
    for unwanted, expected in (
        ([create.NOPUT], [kv_pb2.Event.DELETE]),
        ([create.NODELETE], [kv_pb2.Event.PUT, kv_pb2.Event.PUT]),
    ):
        request = create(
            key=b"a", start_revision=start, filters=unwanted, progress_notify=True, prev_kv=True
        )
        requests: queue.Queue[Any] = queue.Queue()
        requests.put(etcdrpc.WatchRequest(create_request=request))
        call = etcdrpc.WatchStub(client.channel).Watch(iter(requests.get, None), timeout=DEADLINE_S)
        created = next(call)
        assert created.created
        types: list[int] = []
        while len(types) < len(expected):
            types.extend(event.type for event in next(call).events)
        assert types == expected
        cancel = etcdrpc.WatchCancelRequest(watch_id=created.watch_id)
        requests.put(etcdrpc.WatchRequest(cancel_request=cancel))
        assert next(call).canceled
        # Half closing does not end a watch stream.
        requests.put(None)
        call.cancel()


def watch_once(client: Any) -> None:
    start = client.put("a", "1").header.revision
    assert client.watch_once("a", timeout=DEADLINE_S, start_revision=start).value == b"1"
    event = client.watch_prefix_once("a", timeout=DEADLINE_S, start_revision=start)
    assert event.key == b"a"
    response = client.watch_once_response("a", timeout=DEADLINE_S, start_revision=start)
    assert response.header.revision == start
    raises(etcd3.exceptions.WatchTimedOut, lambda: client.watch_once("nothing", timeout=0.05))


def watch_whole_revisions(client: Any) -> None:
    responses, cancel = client.watch_prefix_response("p/")
    txn = client.transactions
    client.transaction([], [txn.put(f"p/{number:03}", "x") for number in range(100)], [])
    response = next(responses)
    cancel()
    assert [e.key for e in response.events] == [b"p/%03d" % number for number in range(100)]
    assert len({e.mod_revision for e in response.events}) == 1


def watch_compacted(client: Any) -> None:
    start = client.put("a", "1").header.revision
    for number in range(3):
        client.put("a", str(number))
    client.compact(start + 2)
    events, cancel = client.watch("a", start_revision=start)
    error = raises(etcd3.exceptions.RevisionCompactedError, lambda: next(events))
    assert error.compacted_revision == start + 2
    cancel()
    events, cancel = client.watch("a", start_revision=start + 2)
    assert [next(events).value for _ in range(2)] == [b"1", b"2"]
    cancel()


def lease(client: Any) -> None:
    granted = client.lease(60)
    client.put("a", "1", lease=granted)
    client.put("b", "1", lease=granted.id)
    assert granted.ttl == granted.granted_ttl == 60
    assert 45 < granted.remaining_ttl <= 60
    assert sorted(granted.keys) == [b"a", b"b"]
    assert client.get("a")[1].lease_id == granted.id
    assert [response.TTL for response in granted.refresh()] == [60]
    granted.revoke()
    assert client.get("a") == client.get("b") == (None, None)
    assert granted.remaining_ttl == -1
    chosen = client.lease(60, lease_id=4711)
    assert chosen.id == 4711
    chosen.revoke()
    assert [response.TTL for response in client.refresh_lease(4711)] == [0]


def lease_expiry(client: Any) -> None:
    events, cancel = client.watch("a")
    client.put("a", "1", lease=client.lease(1))
    assert [type(next(events)).__name__ for _ in range(2)] == ["PutEvent", "DeleteEvent"]
    cancel()


def lock(client: Any) -> None:
    # Waiting for a lock does not work in this client with a current tenacity.
    other = client.lock("name", ttl=30)
    with client.lock("name", ttl=30) as held:
        assert held.is_acquired()
        assert [response.TTL for response in held.refresh()] == [30]
        assert not other.is_acquired()
        assert not other.release()
        assert held.is_acquired()
    assert not held.is_acquired()
    assert other.acquire(timeout=DEADLINE_S)
    other.lease.revoke()
    assert not other.is_acquired()


def compaction(client: Any) -> None:
    revision = client.put("a", "1").header.revision
    client.put("a", "2")
    client.compact(revision)
    client.compact(revision + 1, physical=True)
    error = raises(grpc.RpcError, lambda: client.compact(revision))
    assert error.details().endswith("required revision has been compacted")
    assert client.get("a")[0] == b"2"


def status_and_members(client: Any) -> None:
    status = client.status()
    assert status.version.startswith("3.")
    assert status.db_size > 0
    assert status.raft_index > 0
    assert status.raft_term > 0
    members = list(client.members)
    assert [member.id for member in members] == [status.leader.id]
    assert members[0].name == "default"
    assert len(members[0].client_urls) == 1


def alarms(client: Any) -> None:
    assert list(client.list_alarms()) == []
    member = next(iter(client.members))
    assert list(member.active_alarms) == []
    raised = client.create_alarm(member_id=member.id)
    assert [(a.alarm_type, a.member_id) for a in raised] == [(etcdrpc.NOSPACE, member.id)]
    error = raises(grpc.RpcError, lambda: client.put("a", "1"))
    assert error.details() == "etcdserver: mvcc: database space exceeded"
    assert len(list(client.list_alarms())) == 1
    assert len(client.disarm_alarm(member_id=member.id)) == 1
    client.put("a", "1")


def defragment(client: Any) -> None:
    client.put("a", "1")
    client.defragment()
    assert client.get("a")[0] == b"1"


def hashing(client: Any) -> None:
    assert isinstance(client.hash(), int)


def snapshot(client: Any) -> None:
    blob = io.BytesIO()
    client.snapshot(blob)
    assert len(blob.getvalue()) % 512 == 32


if __name__ == "__main__":
    run_checks(
        [
            put_and_get, ranges, delete, put_if_not_exists_and_replace, transaction_compares,
            transaction_operations, transaction_nested, refusals, watch_callback, watch_iterator,
            watch_prefix_and_history, watch_filters_and_progress, watch_once, watch_whole_revisions,
            watch_compacted, lease, lease_expiry, lock, compaction, status_and_members, alarms,
            defragment, hashing, snapshot,
        ],
        lambda host, port: etcd3.client(host=host, port=port, timeout=DEADLINE_S),
        lambda client: client.transaction([], [client.transactions.delete(b"\0", b"\0")], []),
    )  # fmt: skip
