from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import kvstore
from kvstore.embedded.leases import HeldLease, Schedule
from kvstore.errors import InvalidRequest, LeaseExists, LeaseNotFound, StoreClosed
from kvstore.types import Lease


class TestHeldLease:
    def test_its_keys_live_as_long_as_the_block(self, db: Any) -> None:
        with db.lease(ttl_s=10) as lease:
            db.put("k", "1", lease=lease)
            assert db.get("k").lease == lease.id
            assert db.leases() == [lease.id]
            assert lease.alive
        assert db.get("k") is None
        assert db.leases() == []
        assert not lease.lost
        assert not lease.alive

    def test_it_is_revoked_after_an_error_too(self, db: Any) -> None:
        with pytest.raises(ZeroDivisionError), db.lease(ttl_s=10):
            _ = 1 // 0
        assert db.leases() == []

    def test_one_revoked_by_others_is_lost(self, db: Any) -> None:
        with db.lease(ttl_s=10) as lease:
            db.lease_revoke(lease)
        assert lease.lost

    def test_it_takes_the_id_it_was_given(self, db: Any) -> None:
        with db.lease(ttl_s=10, lease_id=77) as lease:
            assert lease.id == 77
            with pytest.raises(LeaseExists), db.lease(ttl_s=10, lease_id=77):
                pass

    def test_the_smallest_ttl_is_the_stores(self, db: Any) -> None:
        with db.lease(ttl_s=1) as lease:
            assert lease.ttl_s == 2

    def test_it_cannot_be_used_before_it_is_entered(self, db: Any) -> None:
        lease = db.lease(ttl_s=10)
        with pytest.raises(InvalidRequest):
            db.put("k", "1", lease=lease)

    def test_a_ttl_of_zero_is_refused(self, db: Any) -> None:
        with pytest.raises(InvalidRequest):
            db.lease(ttl_s=0)

    def test_a_store_closed_inside_keeps_it_for_later(self, db: Any) -> None:
        with db.lease(ttl_s=10) as lease:
            db.close()
        assert not lease.lost


class TestPlainLeases:
    def test_they_are_granted_looked_at_renewed_and_revoked(self, db: Any) -> None:
        granted = db.lease_grant(60)
        db.put("k", "1", lease=granted)
        status = db.lease_time_to_live(granted, keys=True)
        assert (status.granted_ttl_s, list(status.keys)) == (60, [b"k"])
        assert db.lease_keep_alive(granted).ttl_s == 60
        assert db.lease_revoke(granted) == 3
        assert db.lease_time_to_live(granted).ttl_s == -1
        assert db.lease_keep_alive(granted).ttl_s == 0
        with pytest.raises(LeaseNotFound):
            db.lease_revoke(granted)


def closed() -> None:
    raise StoreClosed


class TestSchedule:
    def held(self, ttl_s: int) -> HeldLease:
        lease = HeldLease.__new__(HeldLease)
        super(HeldLease, lease).__init__(closed, ttl_s, 0)
        lease._enter(Lease(ttl_s, ttl_s))
        return lease

    def test_a_third_of_the_ttl_later_it_is_due(self) -> None:
        schedule: Schedule[HeldLease] = Schedule()
        slow, quick = self.held(60), self.held(6)
        schedule.add(slow, now=100.0)
        schedule.add(quick, now=100.0)
        assert schedule.next_due() == 102.0
        assert schedule.take_due(101.9) == []
        assert schedule.take_due(102.0) == [quick]
        assert schedule.take_due(121.0) == [slow]
        assert schedule.next_due() is None

    def test_a_lost_lease_is_forgotten(self) -> None:
        schedule: Schedule[HeldLease] = Schedule()
        lease = self.held(6)
        schedule.add(lease, now=0.0)
        lease.renewed(Lease(lease.id, 0))
        assert lease.lost
        assert schedule.next_due() is None


@pytest.mark.slow
class TestKeepingAlive:
    OPTIONS = kvstore.StoreOptions(min_lease_ttl_s=1)

    def test_a_thread_renews_it_and_ends_with_the_store(self) -> None:
        others = set(threading.enumerate())

        def is_kept() -> bool:
            mine = set(threading.enumerate()) - others
            return any(thread.name == "kvstore-leases" for thread in mine)

        with kvstore.open(":memory:", options=self.OPTIONS) as db:
            with db.lease(ttl_s=1) as lease, db.watch() as watch:
                db.put("k", "1", lease=lease)
                watch.next()
                assert watch.next(2.5) is None
                assert not lease.lost
            assert is_kept()
        assert not is_kept()

    def test_a_task_renews_it_and_ends_with_the_store(self) -> None:
        async def main() -> None:
            async with kvstore.aopen(":memory:", options=self.OPTIONS) as db:
                async with db.lease(ttl_s=1) as lease, db.watch() as watch:
                    await db.put("k", "1", lease=lease)
                    await watch.next()
                    assert await watch.next(2.5) is None
                    assert not lease.lost
                assert any(task.get_name() == "kvstore-leases" for task in asyncio.all_tasks())
            assert not any(task.get_name() == "kvstore-leases" for task in asyncio.all_tasks())

        asyncio.run(main())

    def test_it_learns_that_it_was_revoked(self) -> None:
        with (
            kvstore.open(":memory:", options=self.OPTIONS) as db,
            db.lease(ttl_s=1) as lease,
        ):
            db.lease_revoke(lease)
            deadline = time.monotonic() + 20
            while not lease.lost and time.monotonic() < deadline:
                time.sleep(0.02)
            assert lease.lost
