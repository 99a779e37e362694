"""What the `aetcd` client offers, checked against the server whose address is the argument."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aetcd

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.clients.python_checks import run_checks

DEADLINE_S = 15


async def raises(kind: type[BaseException], call: Callable[[], Awaitable[Any]]) -> Any:
    try:
        await call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


async def take(watch: Any, count: int) -> list[Any]:
    """The next events of a watch; each is a kind, a key and a value."""
    events: list[Any] = []
    async for event in watch:
        events.append((event.kind, event.kv.key, event.kv.value))
        if len(events) == count:
            break
    return events


async def put_and_get(client: Any) -> None:
    before = (await client.put(b"a", b"1")).header.revision
    put = await client.put(b"a", b"2", prev_kv=True)
    assert put.header.revision == before + 1
    assert (put.prev_kv.value, put.prev_kv.mod_revision) == (b"1", before)
    got = await client.get(b"a")
    assert (got.key, got.value, got.version, got.lease) == (b"a", b"2", 2, 0)
    assert (got.create_revision, got.mod_revision) == (before, before + 1)
    assert got.header.revision == before + 1
    assert (await client.get(b"a", serializable=True)).value == b"2"
    assert await client.get(b"missing") is None


async def ranges(client: Any) -> None:
    for key, value in ((b"p/b", b"1"), (b"p/a", b"3"), (b"p/c", b"2"), (b"q", b"4")):
        await client.put(key, value)
    await client.put(b"p/a", b"3")
    for target, expected in (
        ("key", b"abc"), ("value", b"bca"), ("create", b"bac"), ("mod", b"bca"),
    ):  # fmt: skip
        for order, wanted in (("ascend", expected), ("descend", expected[::-1])):
            found = await client.get_prefix(b"p/", sort_order=order, sort_target=target)
            assert b"".join(kv.key[-1:] for kv in found) == wanted, (target, order)
    found = await client.get_range(b"p/b", b"q")
    assert [kv.key for kv in found] == [b"p/b", b"p/c"]
    assert (found.count, found.more) == (2, False)
    assert (await client.get_range(b"q", b"p")).count == 0
    found = await client.get_all(keys_only=True)
    assert [(kv.key, kv.value) for kv in found] == [
        (b"p/a", b""), (b"p/b", b""), (b"p/c", b""), (b"q", b""),
    ]  # fmt: skip
    assert not await client.get_prefix(b"none/")


async def delete(client: Any) -> None:
    for key in (b"a", b"p/1", b"p/2", b"r/1", b"r/2"):
        await client.put(key, key)
    deleted = await client.delete(b"a", prev_kv=True)
    assert (deleted.deleted, deleted.prev_kv.value) == (1, b"a")
    assert await client.delete(b"a") is None
    found = await client.delete_prefix(b"p/", prev_kv=True)
    assert [kv.value for kv in found] == [b"p/1", b"p/2"]
    assert (await client.delete_range(b"r/1", b"r/2")).deleted == 1
    assert (await client.delete_range(b"z", b"r")).deleted == 0
    assert (await client.get_all()).count == 1


async def replace(client: Any) -> None:
    await client.put(b"a", b"1")
    assert await client.replace(b"a", b"1", b"2") is True
    assert await client.replace(b"a", b"1", b"3") is False
    assert (await client.get(b"a")).value == b"2"


async def transactions(client: Any) -> None:
    first = (await client.put(b"a", b"1")).header.revision
    await client.put(b"a", b"2")
    txn = client.transactions
    for outcome, compare in (
        (True, txn.value(b"a") == b"2"), (True, txn.value(b"a") != b"1"),
        (True, txn.value(b"a") < b"3"), (False, txn.value(b"a") > b"2"),
        (True, txn.version(b"a") == 2), (False, txn.version(b"a") != 2),
        (True, txn.create(b"a") == first), (True, txn.create(b"a") > first - 1),
        (True, txn.mod(b"a") == first + 1), (False, txn.mod(b"a") < first + 1),
        (True, txn.create(b"missing") == 0), (False, txn.value(b"missing") != b""),
    ):  # fmt: skip
        assert (await client.transaction([compare], [], []))[0] is outcome, compare
    inner = txn.txn([txn.version(b"a") == 2], [txn.get(b"a")], [txn.delete(b"c")])
    succeeded, responses = await client.transaction(
        compare=[txn.version(b"a") > 0],
        success=[txn.put(b"a", b"3", prev_kv=True), txn.get(b"a"), inner, txn.delete(b"b")],
        failure=[txn.delete(b"a")],
    )
    assert succeeded
    assert responses[0].response_put.prev_kv.value == b"2"
    assert [kv[0] for kv in responses[1]] == [b"3"]
    assert responses[2].response_txn.responses[0].response_range.kvs[0].value == b"3"
    assert responses[3].response_delete_range.deleted == 0


async def refusals(client: Any) -> None:
    invalid = aetcd.InvalidArgumentError
    error = await raises(invalid, lambda: client.put(b"", b"1"))
    assert str(error).endswith("key is not provided")
    txn = client.transactions
    twice = [txn.put(b"a", b"1"), txn.put(b"a", b"2")]
    error = await raises(invalid, lambda: client.transaction([], twice, []))
    assert str(error).endswith("duplicate key given in txn request")
    error = await raises(aetcd.ClientError, lambda: client.put(b"a", b"1", lease=1234))
    assert str(error).endswith("requested lease not found")
    error = await raises(aetcd.ClientError, lambda: client.compact(10**9))
    assert str(error).endswith("required revision is a future revision")
    granted = await client.lease(60)
    await raises(aetcd.DuplicateLeaseError, lambda: client.lease(60, lease_id=granted.id))
    await granted.revoke()


async def watch_events(client: Any) -> None:
    watch = await client.watch(b"a")
    await client.put(b"a", b"1")
    await client.put(b"b", b"1")
    await client.delete(b"a")
    assert await take(watch, 2) == [("PUT", b"a", b"1"), ("DELETE", b"a", b"")]
    await watch.cancel()


async def watch_history_and_prefix(client: Any) -> None:
    start = (await client.put(b"p/1", b"x")).header.revision
    await client.delete(b"p/1")
    await client.put(b"p/2", b"y")
    watch = await client.watch_prefix(b"p/", start_revision=start, prev_kv=True)
    await client.put(b"p/2", b"z")
    events = []
    async for event in watch:
        events.append((event.kind, event.kv.key, event.prev_kv.value))
        if len(events) == 4:
            break
    await watch.cancel()
    assert events == [
        ("PUT", b"p/1", b""), ("DELETE", b"p/1", b"x"), ("PUT", b"p/2", b""), ("PUT", b"p/2", b"y"),
    ]  # fmt: skip


async def watch_kinds(client: Any) -> None:
    start = (await client.put(b"a", b"1")).header.revision
    await client.delete(b"a")
    await client.put(b"a", b"2")
    for kind, expected in (
        (aetcd.EventKind.PUT, [("PUT", b"a", b"1"), ("PUT", b"a", b"2")]),
        (aetcd.EventKind.DELETE, [("DELETE", b"a", b"")]),
    ):
        watch = await client.watch(b"a", start_revision=start, kind=kind, progress_notify=True)
        assert await take(watch, len(expected)) == expected
        await watch.cancel()


async def watch_once(client: Any) -> None:
    start = (await client.put(b"a", b"1")).header.revision
    event = await client.watch_once(b"a", timeout=DEADLINE_S, start_revision=start)
    assert event.kv.value == b"1"
    event = await client.watch_prefix_once(b"a", timeout=DEADLINE_S, start_revision=start)
    assert event.kv.key == b"a"
    await raises(aetcd.WatchTimeoutError, lambda: client.watch_once(b"nothing", timeout=0.05))


async def watch_many(client: Any) -> None:
    watches = [await client.watch(b"key%d" % number) for number in range(20)]
    assert len({watch.watch_id for watch in watches}) == 20
    for number in range(20):
        await client.put(b"key%d" % number, b"x")
    taken = await asyncio.gather(*(take(watch, 1) for watch in watches))
    assert taken == [[("PUT", b"key%d" % number, b"x")] for number in range(20)]
    for watch in watches:
        await watch.cancel()


async def watch_compacted(client: Any) -> None:
    start = (await client.put(b"a", b"1")).header.revision
    await client.put(b"a", b"2")
    await client.put(b"a", b"3")
    await client.compact(start + 1)
    watch = await client.watch(b"a", start_revision=start)
    error = await raises(aetcd.RevisionCompactedError, lambda: take(watch, 1))
    assert error.compacted_revision == start + 1


async def lease(client: Any) -> None:
    granted = await client.lease(60)
    await client.put(b"a", b"1", lease=granted)
    assert await granted.granted_ttl() == 60
    assert 45 < await granted.remaining_ttl() <= 60
    assert list(await granted.keys()) == [b"a"]
    assert (await client.get(b"a")).lease == granted.id
    await granted.refresh()
    await granted.revoke()
    assert await client.get(b"a") is None
    assert await granted.remaining_ttl() == -1


async def lock(client: Any) -> None:
    async with client.lock(b"name", ttl=30) as held:
        assert await held.is_acquired()
        await held.refresh()
        other = client.lock(b"name", ttl=30)
        waiting = asyncio.create_task(other.acquire(timeout=DEADLINE_S))
        third = client.lock(b"name", ttl=30)
        assert await third.acquire(timeout=0) is False
        assert not waiting.done()
    assert await waiting is True
    assert await other.release() is True
    assert not await other.is_acquired()


async def compaction(client: Any) -> None:
    revision = (await client.put(b"a", b"1")).header.revision
    await client.compact(revision, physical=True)
    error = await raises(aetcd.ClientError, lambda: client.compact(revision))
    assert str(error).endswith("required revision has been compacted")


async def status_and_members(client: Any) -> None:
    status = await client.status()
    assert status.version.startswith("3.")
    assert status.db_size > 0
    members = [member async for member in client.members()]
    assert [member.id for member in members] == [status.leader.id]
    assert members[0].name == "default"


async def alarms(client: Any) -> None:
    assert [alarm async for alarm in client.list_alarms()] == []


async def defragment(client: Any) -> None:
    await client.put(b"a", b"1")
    await client.defragment()
    assert (await client.get(b"a")).value == b"1"


async def hashing(client: Any) -> None:
    assert isinstance(await client.hash(), int)


async def snapshot(client: Any) -> None:
    blob = io.BytesIO()
    await client.snapshot(blob)
    assert len(blob.getvalue()) % 512 == 32


if __name__ == "__main__":
    run_checks(
        [
            put_and_get, ranges, delete, replace, transactions, refusals, watch_events,
            watch_history_and_prefix, watch_kinds, watch_once, watch_many, watch_compacted, lease,
            lock, compaction, status_and_members, alarms, defragment, hashing, snapshot,
        ],
        lambda host, port: aetcd.Client(host=host, port=port, timeout=DEADLINE_S),
    )  # fmt: skip
