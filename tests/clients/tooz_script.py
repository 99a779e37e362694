"""What tooz's driver `etcd3+http` offers, checked against the server at the argument's address."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tooz
from tooz import coordination

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.clients.python_checks import raises, run_checks, tell_server

DEADLINE_S = 15
Start = Callable[[bytes], Any]


def start_heartbeat_and_stop(start: Start) -> None:
    one, two = start(b"one"), start(b"two")
    assert one.is_started
    assert one.heartbeat() == 20
    assert 10 < one._membership_lease.ttl() <= 20
    one.create_group(b"g").get()
    one.join_group(b"g").get()
    member = "tooz/groups/g/one"
    assert len(two.client.get(member)) == 1
    one.stop()
    assert not one.is_started
    assert two.client.get(member) == []
    # A lease that is gone is noticed, and another one taken.
    two._membership_lease.revoke()
    gone = two._membership_lease.id
    assert two.heartbeat() == 20
    assert two._membership_lease.id != gone


def heart(start: Start) -> None:
    one = start(b"one")
    beaten, heartbeat = threading.Event(), one.heartbeat
    one.heartbeat = lambda: (heartbeat(), beaten.set())[0]
    one.heart.start()
    assert beaten.wait(DEADLINE_S)
    assert one.heart.is_alive()
    one.stop()
    assert not one.heart.is_alive()


def locks(start: Start) -> None:
    first, second = start(b"one").get_lock(b"name"), start(b"two").get_lock(b"name")
    other = start(b"two").get_lock(b"another name")
    assert first.acquire() is True
    assert other.acquire(blocking=False) is True
    assert second.acquire(blocking=False) is False
    assert first.acquire(blocking=False) is False
    assert (first.acquired, second.acquired) == (True, False)
    assert second.release() is False
    assert (first.heartbeat(), second.heartbeat()) == (True, False)
    assert first.release() is True
    assert first.release() is False
    with second:
        failed = raises(coordination.LockAcquireFailed, first(blocking=False).__enter__)
        assert str(failed) == "Acquiring lock name failed"
    with first:
        assert second.acquire(blocking=False) is False
    raises(tooz.NotImplemented, lambda: first.acquire(shared=True))


def lock_is_waited_for(start: Start) -> None:
    one, two = start(b"one"), start(b"two")
    held, wanted = one.get_lock(b"name"), two.get_lock(b"name")
    refused, transaction = threading.Event(), two.client.transaction
    two.client.transaction = lambda txn: (transaction(txn), refused.set())[0]
    assert held.acquire() is True
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wanted.acquire)
        assert refused.wait(DEADLINE_S)
        assert not waiting.done()
        assert held.release() is True
        assert waiting.result(DEADLINE_S) is True
    assert held.acquire(blocking=False) is False


def lock_is_broken(start: Start) -> None:
    first, second = start(b"one").get_lock(b"name"), start(b"two").get_lock(b"name")
    assert first.acquire() is True
    assert second.break_() is True
    assert second.break_() is False
    assert second.acquire(blocking=False) is True
    # The former owner does not release what is another's now.
    assert first.release() is False
    assert first.acquire(blocking=False) is False
    assert second.break_() is True
    assert first.acquire(blocking=False) is True


def lock_ends_with_its_lease(start: Start) -> None:
    first, second = start(b"one").get_lock(b"name"), start(b"two").get_lock(b"name")
    assert first.acquire(timeout=30) is True
    assert 20 < first._lease.ttl() <= 30
    first._lease.revoke()
    assert second.acquire(blocking=False) is True
    assert first.release() is False


def groups_and_members(start: Start) -> None:
    one, two = start(b"one"), start(b"two")
    for name in (b"g", b"h"):
        one.create_group(name).get()
    raises(coordination.GroupAlreadyExist, one.create_group(b"g").get)
    assert one.get_groups().get() == [b"g", b"h"]
    for name in (b"g", b"h"):
        two.delete_group(name).get()
    raises(coordination.GroupNotCreated, one.delete_group(b"h").get)
    assert one.get_groups().get() == []
    raises(coordination.GroupNotCreated, one.join_group(b"g").get)
    raises(coordination.GroupNotCreated, one.get_members(b"g").get)
    one.create_group(b"g").get()
    events: list[Any] = []
    one.watch_join_group(b"g", events.append)
    one.watch_leave_group(b"g", events.append)
    one.join_group(b"g", {"weight": 1}).get()
    one.run_watchers()
    two.join_group(b"g", b"plain").get()
    one.run_watchers()
    raises(coordination.MemberAlreadyExist, one.join_group(b"g").get)
    assert one.get_members(b"g").get() == {b"one", b"two"}
    assert two.get_members_with_capabilities(b"g").get() == {
        b"one": {"weight": 1}, b"two": b"plain",
    }  # fmt: skip
    one.update_capabilities(b"g", {"weight": 2}).get()
    assert two.get_member_capabilities(b"g", b"one").get() == {"weight": 2}
    raises(coordination.GroupNotEmpty, one.delete_group(b"g").get)
    two.leave_group(b"g").get()
    raises(coordination.MemberNotJoined, two.leave_group(b"g").get)
    one.run_watchers()
    joined, left = coordination.MemberJoinedGroup, coordination.MemberLeftGroup
    assert [(type(each), each.member_id) for each in events] == [
        (joined, b"one"), (joined, b"two"), (left, b"two"),
    ]  # fmt: skip
    # A member goes with the lease of its coordinator.
    one._membership_lease.revoke()
    assert two.get_members(b"g").get() == set()
    two.delete_group(b"g").get()


def server_is_away(start: Start) -> None:
    one, two = start(b"one"), start(b"two")
    held, wanted = one.get_lock(b"name"), two.get_lock(b"name")
    assert held.acquire() is True
    membership = one._membership_lease.id
    tell_server("kill")
    raises(coordination.ToozConnectionError, held.heartbeat)
    raises(coordination.ToozConnectionError, lambda: wanted.acquire(blocking=False))
    tell_server("start")
    assert one.heartbeat() == 20
    assert one._membership_lease.id == membership
    assert wanted.acquire(blocking=False) is False
    assert held.release() is True
    assert wanted.acquire(blocking=False) is True


@contextmanager
def connect(host: str, port: int) -> Iterator[Start]:
    url = f"etcd3+http://{host}:{port}?timeout=20"
    coordinators: list[Any] = []

    def start(member: bytes) -> Any:
        coordinator = coordination.get_coordinator(url, member)
        coordinator.start()
        coordinators.append(coordinator)
        return coordinator

    try:
        yield start
    finally:
        running = [each for each in coordinators if each.is_started]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda each: each.stop(), running))


if __name__ == "__main__":
    run_checks(
        [
            start_heartbeat_and_stop, heart, locks, lock_is_waited_for, lock_is_broken,
            lock_ends_with_its_lease, groups_and_members, server_is_away,
        ],
        connect,
        lambda start: start(b"cleaner").client.delete("\0", range_end="\0"),
    )  # fmt: skip
