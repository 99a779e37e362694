"""What tooz's driver `etcd3+http` offers, checked against the server at the argument's address."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tooz import coordination

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.clients.python_checks import raises, run_checks

DEADLINE_S = 15
Start = Callable[[bytes], Any]


def start_and_heartbeat(start: Start) -> None:
    one = start(b"one")
    assert one.is_started
    assert one.heartbeat() == 20
    one._membership_lease.revoke()
    expired = one._membership_lease.id
    assert one.heartbeat() == 20
    assert one._membership_lease.id != expired
    one.stop()
    assert not one.is_started


def locks(start: Start) -> None:
    first, second = start(b"one").get_lock(b"name"), start(b"two").get_lock(b"name")
    assert first.acquire() is True
    assert second.acquire(blocking=False) is False
    assert (first.acquired, second.acquired) == (True, False)
    assert second.release() is False
    assert first.heartbeat() is True
    assert first.release() is True
    assert first.release() is False
    assert second.acquire(blocking=False) is True
    assert first.acquire(blocking=False) is False
    assert first.break_() is True
    assert first.break_() is False
    assert first.acquire(blocking=False) is True
    assert second.release() is False
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(second.acquire)
        assert first.release() is True
        assert waiting.result(timeout=DEADLINE_S) is True
    assert first.acquire(blocking=False) is False


def lock_ends_with_its_lease(start: Start) -> None:
    first, second = start(b"one").get_lock(b"name"), start(b"two").get_lock(b"name")
    assert first.acquire(timeout=30) is True
    assert second.acquire(blocking=False) is False
    first._lease.revoke()
    assert second.acquire() is True


def groups(start: Start) -> None:
    one = start(b"one")
    one.create_group(b"g").get()
    raises(coordination.GroupAlreadyExist, one.create_group(b"g").get)
    one.create_group(b"h").get()
    assert sorted(one.get_groups().get()) == [b"g", b"h"]
    one.delete_group(b"h").get()
    raises(coordination.GroupNotCreated, one.delete_group(b"h").get)
    assert one.get_groups().get() == [b"g"]


def members(start: Start) -> None:
    one, two = start(b"one"), start(b"two")
    raises(coordination.GroupNotCreated, one.join_group(b"g").get)
    raises(coordination.GroupNotCreated, one.get_members(b"g").get)
    one.create_group(b"g").get()
    seen: list[tuple[str, bytes]] = []
    one.watch_join_group(b"g", lambda event: seen.append(("joined", event.member_id)))
    one.watch_leave_group(b"g", lambda event: seen.append(("left", event.member_id)))
    one.join_group(b"g", {"weight": 1}).get()
    one.run_watchers()
    two.join_group(b"g", b"plain").get()
    one.run_watchers()
    raises(coordination.MemberAlreadyExist, one.join_group(b"g").get)
    assert one.get_members(b"g").get() == {b"one", b"two"}
    assert two.get_member_capabilities(b"g", b"one").get() == {"weight": 1}
    one.update_capabilities(b"g", {"weight": 2}).get()
    assert two.get_member_capabilities(b"g", b"one").get() == {"weight": 2}
    raises(coordination.GroupNotEmpty, one.delete_group(b"g").get)
    two.leave_group(b"g").get()
    raises(coordination.MemberNotJoined, two.leave_group(b"g").get)
    one.run_watchers()
    assert seen == [("joined", b"one"), ("joined", b"two"), ("left", b"two")]
    # A member goes with the lease of its coordinator.
    one._membership_lease.revoke()
    assert two.get_members(b"g").get() == set()
    two.delete_group(b"g").get()


@contextmanager
def connect(host: str, port: int) -> Iterator[Start]:
    url = f"etcd3+http://{host}:{port}?timeout=20"
    with ExitStack() as started:

        def start(member: bytes) -> Any:
            coordinator = coordination.get_coordinator(url, member)
            coordinator.start()
            started.callback(lambda: coordinator.is_started and coordinator.stop())
            return coordinator

        yield start


if __name__ == "__main__":
    run_checks(
        [start_and_heartbeat, locks, lock_ends_with_its_lease, groups, members],
        connect,
        lambda start: start(b"cleaner").client.delete("\0", range_end="\0"),
    )
