"""Leases: granting, attaching, revoking, listing, restarting (etcd server/lease/lessor.go)."""

from __future__ import annotations

import threading

import pytest

from kvstore.errors import LeaseExists, LeaseNotFound, LeaseTtlTooLarge
from kvstore.store.interface import StoreProtocol
from tests.support.ops import (
    ALL,
    Watching,
    delete,
    event_keys,
    get,
    get_all,
    keys,
    put,
    revision,
)
from tests.support.sites import Site

HOUR = 3600
MIN_INT64 = -(2**63)


def attached(store: StoreProtocol, lease_id: int) -> list[bytes]:
    return list(store.lease_time_to_live(lease_id, keys=True).keys)


class TestGrant:
    def test_store_picks_positive_ids_that_differ(self, store: StoreProtocol) -> None:
        # behaviour 146
        ids = [store.lease_grant(HOUR).id for _ in range(20)]
        assert len(set(ids)) == 20
        assert all(0 < lease_id < 2**63 for lease_id in ids)

    def test_id_asked_for_is_given_once(self, store: StoreProtocol) -> None:
        # behaviour 146
        lease = store.lease_grant(HOUR, 123)
        assert (lease.id, lease.ttl_s) == (123, HOUR)
        with pytest.raises(LeaseExists):
            store.lease_grant(HOUR, 123)
        store.lease_revoke(123)
        assert store.lease_grant(HOUR, 123).id == 123

    @pytest.mark.parametrize("lease_id", [-1, -123, MIN_INT64, 2**63 - 1])
    def test_any_number_but_0_is_an_id(self, store: StoreProtocol, lease_id: int) -> None:
        # behaviour 147
        assert lease_id == store.lease_grant(HOUR, lease_id).id
        put(store, b"k", lease=lease_id)
        assert lease_id == get(store, b"k").kvs[0].lease
        assert [lease_id] == store.lease_leases()
        store.lease_revoke(lease_id)
        assert get(store, b"k").count == 0

    def test_ttl_may_be_9_billion_seconds_but_not_more(self, store: StoreProtocol) -> None:
        # behaviour 148
        assert store.lease_grant(9_000_000_000).ttl_s == 9_000_000_000
        with pytest.raises(LeaseTtlTooLarge):
            store.lease_grant(9_000_000_001)

    def test_short_ttl_is_raised_to_the_minimum(self, store: StoreProtocol) -> None:
        # behaviour 149; the minimum follows the election timeout of the store
        minimum = store.lease_grant(0).ttl_s
        assert 1 <= minimum <= 2
        assert minimum == store.lease_grant(-5).ttl_s
        assert minimum + 1 == store.lease_grant(minimum + 1).ttl_s

    def test_grant_is_no_write_and_says_the_current_revision(self, store: StoreProtocol) -> None:
        put(store, b"k")
        assert store.lease_grant(HOUR).revision == 2
        assert revision(store) == 2


class TestRevoke:
    def test_attached_keys_go_in_one_revision(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 150
        lease = store.lease_grant(HOUR)
        for key in (b"k2", b"k1", b"k3"):
            put(store, key, lease=lease.id)
        put(store, b"other")
        watching.create(*ALL)
        assert store.lease_revoke(lease.id) == 6
        message = watching.next()
        expected = [("DELETE", b"k1"), ("DELETE", b"k2"), ("DELETE", b"k3")]
        assert expected == event_keys(message.events)
        assert {6} == {event.kv.mod_revision for event in message.events}
        assert keys(get_all(store)) == [b"other"]
        assert store.lease_leases() == []

    def test_lease_without_keys_leaves_the_revision(self, store: StoreProtocol) -> None:
        lease = store.lease_grant(HOUR)
        assert store.lease_revoke(lease.id) == 1
        assert revision(store) == 1

    def test_unknown_lease_is_not_found(self, store: StoreProtocol) -> None:
        # behaviour 151
        for lease_id in (123, -1, 0):
            with pytest.raises(LeaseNotFound):
                store.lease_revoke(lease_id)

    def test_revoked_lease_is_unknown(self, store: StoreProtocol) -> None:
        lease = store.lease_grant(HOUR)
        store.lease_revoke(lease.id)
        with pytest.raises(LeaseNotFound):
            store.lease_revoke(lease.id)
        with pytest.raises(LeaseNotFound):
            put(store, b"k", lease=lease.id)


class TestAttach:
    def test_key_moved_to_another_lease_outlives_the_first(self, store: StoreProtocol) -> None:
        # behaviour 159
        first, second = store.lease_grant(HOUR), store.lease_grant(HOUR)
        put(store, b"k", lease=first.id)
        put(store, b"k", lease=second.id)
        assert (attached(store, first.id), attached(store, second.id)) == ([], [b"k"])
        store.lease_revoke(first.id)
        assert get(store, b"k").count == 1
        store.lease_revoke(second.id)
        assert get(store, b"k").count == 0

    def test_deleted_key_is_detached(self, store: StoreProtocol, watching: Watching) -> None:
        # behaviour 164
        lease = store.lease_grant(HOUR)
        put(store, b"k", lease=lease.id)
        delete(store, b"k")
        assert attached(store, lease.id) == []
        put(store, b"k", b"again")
        watching.create(b"k")
        store.lease_revoke(lease.id)
        assert [each for each in watching.until_mark() if each.events] == []
        assert get(store, b"k").count == 1

    def test_attached_keys_are_listed_only_when_asked_for(self, store: StoreProtocol) -> None:
        lease = store.lease_grant(HOUR)
        for key in (b"b", b"a", b"c"):
            put(store, key, lease=lease.id)
        assert list(store.lease_time_to_live(lease.id).keys) == []
        assert attached(store, lease.id) == [b"a", b"b", b"c"]

    def test_attaching_detaching_and_listing_at_once_keeps_both_sides_equal(
        self, store: StoreProtocol
    ) -> None:
        # behaviour 166
        lease = store.lease_grant(HOUR)

        def work(name: bytes) -> None:
            for n in range(15):
                put(store, name, lease=lease.id)
                attached(store, lease.id)
                if n % 3 == 0:
                    put(store, name)
                elif n % 3 == 1:
                    delete(store, name)

        workers = [threading.Thread(target=work, args=(b"k%d" % n,)) for n in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        held = [kv.key for kv in get_all(store).kvs if kv.lease == lease.id]
        assert held == attached(store, lease.id) == [b"k0", b"k1", b"k2"]


class TestTimeToLive:
    def test_known_lease_tells_granted_and_remaining_time(self, store: StoreProtocol) -> None:
        # behaviour 156
        lease = store.lease_grant(HOUR)
        status = store.lease_time_to_live(lease.id)
        assert (lease.id, HOUR) == (status.id, status.granted_ttl_s)
        assert HOUR - 30 <= status.ttl_s < HOUR

    def test_unknown_lease_has_minus_1_and_is_no_error(self, store: StoreProtocol) -> None:
        # behaviour 157
        put(store, b"k")
        for keys_too in (False, True):
            status = store.lease_time_to_live(123, keys=keys_too)
            assert (
                status.id,
                status.ttl_s,
                status.granted_ttl_s,
                list(status.keys),
                status.revision,
            ) == (123, -1, 0, [], 2)


class TestLeases:
    def test_fresh_store_has_none(self, store: StoreProtocol) -> None:
        # behaviour 158
        assert store.lease_leases() == []

    def test_soonest_to_expire_comes_first(self, store: StoreProtocol) -> None:
        # behaviour 158
        for ttl_s, lease_id in ((3000, 3), (1000, 1), (4000, 4), (2000, 2)):
            store.lease_grant(ttl_s, lease_id)
        assert store.lease_leases() == [1, 2, 3, 4]


class TestKeepAlive:
    def test_answer_has_the_granted_ttl_and_the_current_revision(
        self, store: StoreProtocol
    ) -> None:
        put(store, b"k")
        lease = store.lease_grant(HOUR)
        alive = store.lease_keep_alive(lease.id)
        assert (lease.id, HOUR, 2) == (alive.id, alive.ttl_s, alive.revision)

    def test_unknown_lease_has_ttl_0_and_is_no_error(self, store: StoreProtocol) -> None:
        # behaviour 154
        alive = store.lease_keep_alive(123)
        assert (alive.id, alive.ttl_s) == (123, 0)
        lease = store.lease_grant(HOUR)
        store.lease_revoke(lease.id)
        assert store.lease_keep_alive(lease.id).ttl_s == 0


class TestRestart:
    def test_leases_and_attachments_survive(self, durable_site: Site) -> None:
        # behaviours 147 and 162
        store = durable_site.store
        for lease_id in (MIN_INT64, -5, 7):
            store.lease_grant(HOUR, lease_id)
            put(store, b"k%d" % lease_id, lease=lease_id)
        store = durable_site.restart()
        assert {MIN_INT64, -5, 7} == set(store.lease_leases())
        for lease_id in (MIN_INT64, -5, 7):
            assert [b"k%d" % lease_id] == attached(store, lease_id)
            store.lease_revoke(lease_id)
        assert get_all(store).count == 0

    def test_revoked_lease_stays_gone(self, durable_site: Site) -> None:
        # behaviour 162
        store = durable_site.store
        lease = store.lease_grant(HOUR)
        put(store, b"k", lease=lease.id)
        store.lease_revoke(lease.id)
        store = durable_site.restart()
        assert (store.lease_leases(), get_all(store).count) == ([], 0)

    def test_key_detached_by_a_put_stays_detached(self, durable_site: Site) -> None:
        # behaviours 20 and 160
        store = durable_site.store
        lease = store.lease_grant(HOUR)
        put(store, b"k", lease=lease.id)
        put(store, b"k")
        store = durable_site.restart()
        assert attached(store, lease.id) == []
        store.lease_revoke(lease.id)
        assert get(store, b"k").count == 1

    def test_key_moved_to_a_second_lease_belongs_to_it_alone(self, durable_site: Site) -> None:
        # behaviour 161
        store = durable_site.store
        first, second = store.lease_grant(HOUR), store.lease_grant(HOUR)
        put(store, b"k", lease=first.id)
        put(store, b"k", lease=second.id)
        store = durable_site.restart()
        store.lease_revoke(first.id)
        assert get(store, b"k").count == 1
        store.lease_revoke(second.id)
        assert get(store, b"k").count == 0

    def test_granted_ttl_survives_and_the_time_starts_again(self, durable_site: Site) -> None:
        # behaviour 163: the remaining time is full again, plus an election timeout
        store = durable_site.store
        lease = store.lease_grant(HOUR)
        store = durable_site.restart()
        status = store.lease_time_to_live(lease.id)
        assert status.granted_ttl_s == HOUR
        assert HOUR - 30 <= status.ttl_s <= HOUR + 1
