"""Each workload for a moment, and what it did to the endpoint."""

from __future__ import annotations

import pytest

from kvstore.bench import Options, Result, UsageError, run
from kvstore.bench.workloads import WORKLOADS
from kvstore.client.grpc import GrpcStore
from kvstore.keys import KeyRange
from kvstore.types import DeleteRangeOp, PutOp, RangeOp, Txn

pytestmark = pytest.mark.slow

ALL = KeyRange(b"\x00", b"\x00")


def empty(store: GrpcStore) -> int:
    """Delete everything; returns the revision."""
    return store.txn(Txn(success=(DeleteRangeOp(ALL),))).revision


def count(store: GrpcStore, prefix: bytes = b"") -> int:
    keys = KeyRange(prefix, prefix[:-1] + bytes((prefix[-1] + 1,))) if prefix else ALL
    return store.range(RangeOp(keys, count_only=True)).count


def ok(result: Result) -> Result:
    assert result.error_count == 0, [dict(each.errors) for each in result.operations]
    assert not result.interrupted
    return result


class TestPut:
    def test_it_puts_as_often_as_asked_into_the_keys_asked_for(
        self, target: str, store: GrpcStore
    ) -> None:
        before = empty(store)
        options = Options(
            clients=5,
            conns=2,
            processes=2,
            total=301,
            parameters={
                "key-size": 12,
                "val-size": 33,
                "key-space-size": 40,
                "sequential-keys": True,
            },
        )
        result = ok(run("put", target, options))
        assert result.main.count == 301
        assert len(result.cpu) == 2
        found = store.range(RangeOp(ALL))
        assert found.revision == before + 301
        assert [kv.key for kv in found.kvs] == [b"%012d" % number for number in range(40)]
        assert {len(kv.value) for kv in found.kvs} == {33}

    def test_random_keys_stay_in_the_key_space(self, target: str, store: GrpcStore) -> None:
        empty(store)
        ok(run("put", target, Options(clients=2, total=100, parameters={"key-space-size": 3})))
        assert {kv.key for kv in store.range(RangeOp(ALL)).kvs} <= {
            b"0000000%d" % n for n in range(3)
        }

    def test_it_compacts_while_it_puts(self, target: str, store: GrpcStore) -> None:
        empty(store)
        options = Options(
            rate=100,
            duration_s=1.0,
            clients=4,
            parameters={"compact-interval": 0.2, "compact-index-delta": 3},
        )
        result = ok(run("put", target, options))
        assert result["compact"].count >= 2
        assert (result.clients, result.conns) == (5, 2)

    def test_a_constant_rate_is_kept(self, target: str) -> None:
        result = ok(run("put", target, Options(clients=4, rate=200, duration_s=1.0)))
        assert result.main.count + result.skipped == pytest.approx(200, abs=2)
        assert result.main.elapsed_s == pytest.approx(1.0, abs=0.2)


class TestRange:
    def test_it_reads_and_changes_nothing(self, target: str, store: GrpcStore) -> None:
        empty(store)
        before = store.txn(Txn(success=(PutOp(b"a", b"1"), PutOp(b"b", b"2")))).revision
        parameters = {"key": "a", "end": "z", "consistency": "s"}
        result = ok(run("range", target, Options(clients=3, total=200, parameters=parameters)))
        assert result.main.count == 200
        assert store.range(RangeOp(ALL)).revision == before

    @pytest.mark.parametrize("flag", ["count-only", "keys-only", "prefix"])
    def test_its_forms_are_answered(self, target: str, flag: str) -> None:
        parameters = {"key": "a", flag: True}
        assert ok(run("range", target, Options(total=20, parameters=parameters))).main.count == 20


class TestTxn:
    def test_txn_put_puts_several_keys_at_one_revision(self, target: str, store: GrpcStore) -> None:
        before = empty(store)
        parameters = {"txn-ops": 4, "key-space-size": 8}
        ok(run("txn-put", target, Options(clients=3, total=50, parameters=parameters)))
        found = store.range(RangeOp(ALL))
        assert found.revision == before + 50
        assert len(found.kvs) == 8
        assert sum(kv.version for kv in found.kvs) == 200

    def test_txn_mixed_reads_and_writes(self, target: str, store: GrpcStore) -> None:
        before = empty(store)
        parameters = {"rw-ratio": 1.0, "key-space-size": 5}
        result = ok(run("txn-mixed", target, Options(clients=3, total=200, parameters=parameters)))
        assert result["read"].count + result["write"].count == 200
        assert result["read"].count > 40
        assert store.range(RangeOp(ALL)).revision == before + result["write"].count


class TestWatch:
    def test_every_watcher_gets_the_events_of_its_key(self, target: str, store: GrpcStore) -> None:
        before = empty(store)
        options = Options(
            clients=3,
            conns=2,
            processes=2,
            parameters={
                "streams": 3,
                "watch-per-stream": 4,
                "watched-key-total": 4,
                "put-total": 60,
            },
        )
        result = ok(run("watch", target, options))
        assert result["watch-make"].count == 12
        assert result["put"].count == 60
        assert result["watch-put"].count == 60 * 3
        assert store.range(RangeOp(ALL)).revision == before + 60

    def test_watch_latency_times_each_event_at_each_watcher(self, target: str) -> None:
        parameters = {"streams": 2, "watchers-per-stream": 3, "put-total": 40, "put-rate": 200.0}
        result = ok(run("watch-latency", target, Options(parameters=parameters)))
        assert result["watch-put"].count == 240
        assert 0 < result["watch-put"].histogram.min_s < 1

    def test_watch_get_reads_until_all_have_caught_up(self, target: str, store: GrpcStore) -> None:
        empty(store)
        parameters = {"watchers": 30, "streams": 2, "events": 5}
        result = ok(run("watch-get", target, Options(parameters=parameters)))
        assert result["get"].count > 0
        assert result.notes == ["30 watchers got 150 events"]
        assert (result.clients, result.conns) == (1, 2)
        assert store.range(RangeOp(KeyRange(b"watchkey"))).kvs[0].version == 5


class TestLease:
    def test_leases_are_renewed_and_taken_back(self, target: str, store: GrpcStore) -> None:
        before = set(store.lease_leases())
        result = ok(run("lease-keepalive", target, Options(clients=3, total=90)))
        assert result.main.count == 90
        assert set(store.lease_leases()) <= before


class TestStm:
    @pytest.mark.parametrize("isolation", ["c", "r", "s", "ss"])
    def test_transactions_commit_with_each_isolation(
        self, target: str, store: GrpcStore, isolation: str
    ) -> None:
        before = empty(store)
        parameters = {"keys": 4, "keys-per-txn": 2, "txn-wr-percent": 50, "isolation": isolation}
        result = ok(run("stm", target, Options(clients=3, total=60, parameters=parameters)))
        assert result.main.count == 60
        assert store.range(RangeOp(ALL)).revision == before + 60

    def test_a_lock_made_of_keys_is_taken_and_left(self, target: str, store: GrpcStore) -> None:
        empty(store)
        parameters = {"txn-wr-percent": 100, "stm-locker": "lock-client"}
        result = ok(run("stm", target, Options(clients=3, total=12, parameters=parameters)))
        assert result.main.count == 12
        assert count(store, b"stmlock/") == 0
        assert store.range(RangeOp(KeyRange(b"%016d" % 0))).kvs[0].version == 12

    def test_the_lock_service_is_used(self, etcd: str) -> None:
        parameters = {"txn-wr-percent": 100, "stm-locker": "lock-rpc"}
        assert (
            ok(run("stm", etcd, Options(clients=2, total=4, parameters=parameters))).main.count == 4
        )


class TestKubernetes:
    def test_every_kind_of_call_is_made_and_seen_by_the_watches(
        self, target: str, store: GrpcStore
    ) -> None:
        empty(store)
        options = Options(
            clients=2,
            conns=2,
            processes=2,
            duration_s=1.5,
            parameters={
                "pods": 40,
                "watches": 6,
                "scale": 2.0,
                "limit": 15,
                "list-interval": 0.3,
                "compact-interval": 0.3,
            },
        )
        result = ok(run("kubernetes", target, options))
        done = {each.name: each.count for each in result.operations}
        assert set(done) >= {
            "lease-update",
            "pod-write",
            "event-create",
            "get",
            "current-revision",
            "progress",
            "list-page",
            "compact",
            "watch-event",
        }
        assert done["pod-write"] == pytest.approx(240, abs=5)
        writes = sum(done.get(name, 0) for name in ("lease-update", "status-update"))
        writes += done["event-create"]
        assert writes < done["watch-event"] <= writes + done["pod-write"]
        assert count(store, b"/registry/leases/kube-node-lease/") == 100
        assert count(store, b"/registry/events/") == done["event-create"]
        event = store.range(RangeOp(KeyRange(b"/registry/events/", b"/registry/events0"), limit=1))
        assert event.kvs[0].lease in store.lease_leases()
        store.lease_revoke(event.kvs[0].lease)


class TestParameters:
    @pytest.mark.parametrize(
        ("workload", "parameters"),
        [
            ("put", {"key-space-size": 0}),
            ("put", {"key-size": 2, "key-space-size": 1000}),
            ("range", {}),
            ("range", {"key": "a", "end": "b", "prefix": True}),
            ("txn-put", {"txn-ops": 3, "key-space-size": 2}),
            ("txn-put", {"txn-ops": 0}),
            ("watch", {"streams": 0}),
            ("stm", {"txn-wr-percent": 101}),
            ("stm", {"keys": 1, "keys-per-txn": 2}),
            ("stm", {"keys": -1}),
            ("kubernetes", {"watches": 1}),
            ("put", {"no-such": 1}),
        ],
    )
    def test_what_makes_no_sense_is_refused_before_anything_is_sent(
        self, workload: str, parameters: dict[str, bool | int | str]
    ) -> None:
        with pytest.raises(UsageError):
            run(workload, "127.0.0.1:1", Options(parameters=parameters))

    def test_every_workload_ends_by_itself(self) -> None:
        for workload in WORKLOADS.values():
            ends = workload.total or workload.duration_s or "put-total" in workload.defaults()
            assert ends or workload.name == "watch-get"
