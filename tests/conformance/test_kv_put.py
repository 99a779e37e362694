"""Put: revisions, versions, leases, refusals (etcd server/etcdserver/api/v3rpc/key.go, apply)."""

from __future__ import annotations

import pytest

from kvstore.errors import (
    KeyNotFound,
    KeyNotProvided,
    LeaseNotFound,
    LeaseProvided,
    RequestTooLarge,
    ValueProvided,
)
from kvstore.store.interface import StoreProtocol
from kvstore.types import KeyValue, PutOp
from tests.support.ops import commit, delete, get, get_all, put, revision
from tests.support.sites import Site


class TestRevisions:
    def test_fresh_store_is_at_revision_1_and_empty(self, store: StoreProtocol) -> None:
        # behaviour 1
        result = get(store, b"anything")
        assert (
            result.revision,
            list(result.kvs),
            result.count,
            result.more,
        ) == (1, [], 0, False)

    def test_first_puts_get_revisions_2_3_4(self, store: StoreProtocol) -> None:
        # behaviour 2
        assert [put(store, key).revision for key in (b"a", b"b", b"a")] == [2, 3, 4]

    def test_rewriting_a_key_counts_its_version_and_keeps_its_create_revision(
        self, store: StoreProtocol
    ) -> None:
        # behaviour 3
        put(store, b"other")
        first, _, last = [put(store, b"k", b"%d" % n).revision for n in range(3)]
        assert [KeyValue(b"k", b"2", first, last, 3, 0)] == list(get(store, b"k").kvs)

    def test_recreated_key_starts_over_at_version_1(self, store: StoreProtocol) -> None:
        # behaviour 4
        put(store, b"k", b"1")
        put(store, b"k", b"2")
        delete(store, b"k")
        last = put(store, b"k", b"3").revision
        assert [KeyValue(b"k", b"3", last, last, 1, 0)] == list(get(store, b"k").kvs)

    def test_mod_revision_is_the_header_revision_of_the_put(self, store: StoreProtocol) -> None:
        # behaviour 6
        for n in range(10):
            written = put(store, b"k", b"%d" % n).revision
            assert written == get(store, b"k").kvs[0].mod_revision

    def test_put_of_an_unchanged_value_is_a_new_revision(self, store: StoreProtocol) -> None:
        first = put(store, b"k", b"same").revision
        assert first + 1 == put(store, b"k", b"same").revision
        assert get(store, b"k").kvs[0].version == 2

    def test_put_survives_a_restart_and_the_next_one_continues(self, durable_site: Site) -> None:
        # behaviour 7
        store = durable_site.store
        put(store, b"k", b"1")
        written = put(store, b"k", b"2").revision
        before = get(store, b"k")
        store = durable_site.restart()
        assert list(before.kvs) == list(get(store, b"k").kvs)
        assert written == revision(store)
        assert written + 1 == put(store, b"k", b"3").revision
        assert get(store, b"k").kvs[0].version == 3


class TestValues:
    def test_empty_value_is_a_value(self, store: StoreProtocol) -> None:
        # behaviour 8
        written = put(store, b"k", b"").revision
        assert [KeyValue(b"k", b"", written, written, 1, 0)] == list(get(store, b"k").kvs)

    def test_keys_and_values_are_arbitrary_bytes(self, store: StoreProtocol) -> None:
        key, value = b"\x00\xff\x00\x80", bytes(range(256))
        put(store, key, value)
        assert value == get(store, key).kvs[0].value

    def test_key_of_several_kilobytes_is_kept(self, store: StoreProtocol) -> None:
        key = b"long/" + b"k" * 8000
        put(store, key, b"v")
        put(store, key + b"2", b"v2")
        assert [key, key + b"2"] == [kv.key for kv in get(store, key, key + b"3").kvs]

    def test_request_over_the_limit_is_refused_and_changes_nothing(
        self, store: StoreProtocol
    ) -> None:
        # behaviour 10
        with pytest.raises(RequestTooLarge):
            put(store, b"k", b"v" * 1_572_864)
        assert (get(store, b"k").revision, get(store, b"k").count) == (1, 0)

    def test_value_just_below_the_limit_is_written(self, store: StoreProtocol) -> None:
        # behaviour 10; the limit measures an envelope some 20 to 60 bytes larger than the request
        put(store, b"k", b"v" * 1_572_764)
        assert len(get(store, b"k").kvs[0].value) == 1_572_764


class TestPrevKv:
    def test_prev_kv_is_the_whole_key_value_before(self, store: StoreProtocol) -> None:
        # behaviour 5
        lease = store.lease_grant(3600)
        put(store, b"k", b"1", lease=lease.id)
        before = get(store, b"k").kvs[0]
        assert before == put(store, b"k", b"2", prev_kv=True).prev_kv
        assert lease.id == before.lease

    def test_prev_kv_of_a_new_or_deleted_key_is_absent(self, store: StoreProtocol) -> None:
        assert put(store, b"k", b"1", prev_kv=True).prev_kv is None
        delete(store, b"k")
        assert put(store, b"k", b"2", prev_kv=True).prev_kv is None

    def test_prev_kv_not_asked_for_is_absent(self, store: StoreProtocol) -> None:
        put(store, b"k", b"1")
        assert put(store, b"k", b"2").prev_kv is None


class TestRefusals:
    def test_empty_key_is_refused(self, store: StoreProtocol) -> None:
        # behaviour 9
        with pytest.raises(KeyNotProvided):
            put(store, b"", b"v")
        assert revision(store) == 1

    def test_ignore_value_together_with_a_value_is_refused(self, store: StoreProtocol) -> None:
        # behaviour 15
        put(store, b"k", b"1")
        with pytest.raises(ValueProvided):
            put(store, b"k", b"2", ignore_value=True)
        assert get(store, b"k").kvs[0].value == b"1"

    def test_ignore_lease_together_with_a_lease_is_refused(self, store: StoreProtocol) -> None:
        # behaviour 18
        lease = store.lease_grant(3600)
        put(store, b"k", b"1")
        with pytest.raises(LeaseProvided):
            put(store, b"k", b"2", lease=lease.id, ignore_lease=True)
        assert get(store, b"k").kvs[0].value == b"1"

    def test_empty_key_is_found_before_the_other_faults(self, store: StoreProtocol) -> None:
        with pytest.raises(KeyNotProvided):
            put(store, b"", b"v", ignore_value=True)
        with pytest.raises(ValueProvided):
            put(store, b"k", b"v", lease=9, ignore_value=True, ignore_lease=True)

    def test_unknown_lease_is_refused_alone_and_in_a_txn(self, store: StoreProtocol) -> None:
        # behaviour 19
        with pytest.raises(LeaseNotFound):
            put(store, b"k", b"v", lease=123456)
        with pytest.raises(LeaseNotFound):
            commit(store, [PutOp(b"a", b"v"), PutOp(b"k", b"v", lease=123456)])
        assert (get_all(store).revision, get_all(store).count) == (1, 0)

    def test_unknown_lease_is_found_before_the_missing_key(self, store: StoreProtocol) -> None:
        with pytest.raises(LeaseNotFound):
            put(store, b"missing", lease=123456, ignore_value=True)


class TestIgnoreValue:
    def test_value_is_kept_in_a_new_version(self, store: StoreProtocol) -> None:
        # behaviour 13
        first = put(store, b"k", b"kept").revision
        second = put(store, b"k", ignore_value=True).revision
        assert [KeyValue(b"k", b"kept", first, second, 2, 0)] == list(get(store, b"k").kvs)

    def test_lease_is_taken_from_the_request(self, store: StoreProtocol) -> None:
        lease = store.lease_grant(3600)
        put(store, b"k", b"kept")
        put(store, b"k", lease=lease.id, ignore_value=True)
        assert (b"kept", lease.id) == (get(store, b"k").kvs[0].value, get(store, b"k").kvs[0].lease)

    def test_missing_key_is_refused(self, store: StoreProtocol) -> None:
        # behaviour 14
        with pytest.raises(KeyNotFound):
            put(store, b"k", ignore_value=True)
        put(store, b"k", b"v")
        delete(store, b"k")
        with pytest.raises(KeyNotFound):
            put(store, b"k", ignore_value=True)
        assert revision(store) == 3

    def test_missing_or_deleted_key_in_a_txn_aborts_all_of_it(self, store: StoreProtocol) -> None:
        # behaviour 16
        put(store, b"gone", b"v")
        delete(store, b"gone")
        for key in (b"missing", b"gone"):
            with pytest.raises(KeyNotFound):
                commit(store, [PutOp(b"a", b"v"), PutOp(key, ignore_value=True)])
        assert (get_all(store).revision, get_all(store).count) == (3, 0)


class TestIgnoreLease:
    def test_lease_is_kept(self, store: StoreProtocol) -> None:
        # behaviour 17
        lease = store.lease_grant(3600)
        put(store, b"k", b"1", lease=lease.id)
        put(store, b"k", b"2", ignore_lease=True)
        kv = get(store, b"k").kvs[0]
        assert (b"2", 2, lease.id) == (kv.value, kv.version, kv.lease)
        assert list(store.lease_time_to_live(lease.id, keys=True).keys) == [b"k"]

    def test_missing_key_is_refused(self, store: StoreProtocol) -> None:
        with pytest.raises(KeyNotFound):
            put(store, b"k", b"v", ignore_lease=True)

    def test_value_and_lease_can_both_be_kept(self, store: StoreProtocol) -> None:
        lease = store.lease_grant(3600)
        first = put(store, b"k", b"1", lease=lease.id).revision
        second = put(store, b"k", ignore_value=True, ignore_lease=True).revision
        assert [KeyValue(b"k", b"1", first, second, 2, lease.id)] == list(get(store, b"k").kvs)


class TestLease:
    def test_put_without_lease_detaches_the_key(self, store: StoreProtocol) -> None:
        # behaviour 20
        lease = store.lease_grant(3600)
        put(store, b"k", b"1", lease=lease.id)
        put(store, b"k", b"2")
        assert get(store, b"k").kvs[0].lease == 0
        assert list(store.lease_time_to_live(lease.id, keys=True).keys) == []
        store.lease_revoke(lease.id)
        assert get(store, b"k").count == 1
