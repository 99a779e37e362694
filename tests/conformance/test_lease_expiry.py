"""Expiry of leases, in real time with the shortest TTL there is; every wait is for an event."""

from __future__ import annotations

import time

import pytest

from kvstore.store.interface import StoreProtocol
from tests.support.ops import ALL, Watching, event_keys, get, get_all, put, revision

pytestmark = pytest.mark.slow

SLACK_S = 3.0
"""Expiry is looked for every half second, and this machine may be busy."""


class TestExpiry:
    def test_keys_of_an_expired_lease_are_deleted_in_one_revision(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviours 121, 152 and 157
        watching.create(*ALL)
        lease = store.lease_grant(0)
        granted_monotonic_s = time.monotonic()
        for key in (b"k2", b"k1"):
            put(store, key, lease=lease.id)
        put(store, b"other")
        watching.events(3)
        message = watching.next()
        waited_s = time.monotonic() - granted_monotonic_s
        assert event_keys(message.events) == [("DELETE", b"k1"), ("DELETE", b"k2")]
        assert {5} == {event.kv.mod_revision for event in message.events}
        assert lease.ttl_s - 0.1 <= waited_s <= lease.ttl_s + SLACK_S
        assert (get_all(store).count, revision(store)) == (1, 5)
        assert store.lease_time_to_live(lease.id)[1:3] == (-1, 0)
        assert store.lease_leases() == []

    def test_expired_lease_answers_a_keep_alive_with_0_after_its_keys_are_gone(
        self, store: StoreProtocol
    ) -> None:
        # behaviour 155
        lease = store.lease_grant(0)
        put(store, b"k", lease=lease.id)
        deadline_monotonic_s = time.monotonic() + lease.ttl_s + SLACK_S
        while store.lease_time_to_live(lease.id).ttl_s > 0:
            assert time.monotonic() < deadline_monotonic_s
        while (alive := store.lease_keep_alive(lease.id)).ttl_s:
            # In its last second the time left is 0 whole seconds and the lease still lives.
            assert get(store, b"k").count == 1
            while store.lease_time_to_live(lease.id).ttl_s >= 0:
                assert time.monotonic() < deadline_monotonic_s + lease.ttl_s + SLACK_S
        assert (lease.id, 0) == (alive.id, alive.ttl_s)
        assert get(store, b"k").count == 0

    def test_keep_alive_puts_expiry_off(self, store: StoreProtocol, watching: Watching) -> None:
        # behaviour 153
        kept, left = store.lease_grant(0), store.lease_grant(0)
        put(store, b"kept", lease=kept.id)
        put(store, b"left", lease=left.id)
        watching.create(*ALL)
        gone: list[tuple[str, bytes]] = []
        while not gone:
            assert kept.ttl_s == store.lease_keep_alive(kept.id).ttl_s
            message = watching.poll(0.2)
            if message is not None:
                gone = event_keys(message.events)
        assert gone == [("DELETE", b"left")]
        assert (get(store, b"kept").count, get(store, b"left").count) == (1, 0)
        assert [kept.id] == store.lease_leases()

    def test_many_leases_due_together_are_all_revoked(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 165: at most some hundreds in one pass, and none is lost
        count = 300
        watching.create(*ALL)
        written = set()
        for n in range(count):
            lease = store.lease_grant(0)
            put(store, b"k%04d" % n, lease=lease.id)
            written.add(b"k%04d" % n)
        events = watching.events(2 * count)
        deleted = [event.kv.key for event in events if event.type.name == "DELETE"]
        assert written == set(deleted)
        assert count == len(deleted)
        assert (store.lease_leases(), get_all(store).count) == ([], 0)
