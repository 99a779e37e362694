"""What the page says after this and that was done."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from kvstore.backend import open_backend
from kvstore.backend.memory import MemoryBackend
from kvstore.errors import NoSpace
from kvstore.keys import ALL_KEYS, KeyRange
from kvstore.server.config import parse_config
from kvstore.server.metrics import Metrics
from kvstore.server.stats import CallStats
from kvstore.server.status import Code
from kvstore.store.aio import LoopStore
from kvstore.store.options import StoreOptions
from kvstore.types import DeleteRangeOp, PutOp, RangeOp, Txn, WatchCreate
from tests.server.metrics.pages import Page, Served
from tests.support.faulty_backend import Fault, FaultyBackend

PUT = {
    "grpc_type": "unary",
    "grpc_service": "etcdserverpb.KV",
    "grpc_method": "Put",
}


def run(test: Callable[[Served], Awaitable[None]], *flags: str, timed: bool = False) -> None:
    async def main() -> None:
        served = await Served.open(":memory:", *flags, timed=timed)
        try:
            await test(served)
        finally:
            await served.store.close()

    asyncio.run(main())


def put(key: bytes) -> Txn:
    return Txn(success=(PutOp(key, b"v"),))


class TestCalls:
    def test_each_served_method_begins_at_zero(self) -> None:
        async def test(served: Served) -> None:
            page = served.page()
            for method in served.stats.methods.values():
                labels = {
                    "grpc_type": method.kind.value,
                    "grpc_service": method.service,
                    "grpc_method": method.name,
                }
                assert page.at("grpc_server_started_total", **labels) == 0
                assert page.at("grpc_server_msg_received_total", **labels) == 0
                assert page.at("grpc_server_msg_sent_total", **labels) == 0
            watch = PUT | {"grpc_service": "etcdserverpb.Watch", "grpc_method": "Watch"}
            watch["grpc_type"] = "bidi_stream"
            assert page.at("grpc_server_handled_total", **watch, grpc_code="DeadlineExceeded") == 0

        run(test)

    def test_what_the_transport_counts_is_shown(self) -> None:
        async def test(served: Served) -> None:
            stats = served.stats.methods["/etcdserverpb.KV/Put"]
            stats.started, stats.received, stats.sent = 7, 6, 5
            stats.handled[Code.OK], stats.handled[Code.RESOURCE_EXHAUSTED] = 3, 2
            served.stats.received_bytes, served.stats.sent_bytes = 1000, 2000
            served.stats.connections, served.stats.http1_connections = 4, 2
            page = served.page()
            assert page.at("grpc_server_started_total", **PUT) == 7
            assert page.at("grpc_server_msg_received_total", **PUT) == 6
            assert page.at("grpc_server_msg_sent_total", **PUT) == 5
            assert page.at("grpc_server_handled_total", **PUT, grpc_code="OK") == 3
            assert page.at("grpc_server_handled_total", **PUT, grpc_code="ResourceExhausted") == 2
            assert page["etcd_network_client_grpc_received_bytes_total"] == 1000
            assert page["etcd_network_client_grpc_sent_bytes_total"] == 2000
            assert page.at("kvstore_connections", protocol="h2") == 4
            assert page.at("kvstore_connections", protocol="http/1.1") == 2

        run(test)

    def test_durations_are_extensive_only(self) -> None:
        async def basic(served: Served) -> None:
            assert "grpc_server_handling_seconds" not in served.page().types

        async def extensive(served: Served) -> None:
            seconds = served.stats.methods["/etcdserverpb.KV/Put"].seconds
            assert seconds is not None
            for value in (0.001, 0.02, 99.0):
                seconds.observe(value)
            page, name = served.page(), "grpc_server_handling_seconds"
            assert page.at(f"{name}_bucket", **PUT, le="0.005") == 1
            assert page.at(f"{name}_bucket", **PUT, le="0.025") == 2
            assert page.at(f"{name}_bucket", **PUT, le="10") == 2
            assert page.at(f"{name}_bucket", **PUT, le="+Inf") == 3
            assert page.at(f"{name}_count", **PUT) == 3
            assert page.at(f"{name}_sum", **PUT) == pytest.approx(99.021)

        run(basic)
        run(extensive, timed=True)


class TestKeys:
    def test_operations_are_counted_as_etcd_counts_them(self) -> None:
        async def test(served: Served) -> None:
            store = served.store
            for key in (b"a", b"b", b"c"):
                await store.txn(put(key))
            await store.range(RangeOp(ALL_KEYS))
            store.get(b"a")
            await store.txn(Txn(success=(PutOp(b"d", b""), RangeOp(ALL_KEYS))))
            await store.txn(Txn(success=(DeleteRangeOp(KeyRange(b"a", b"c")),)))
            page = served.page()
            assert page["etcd_mvcc_put_total"] == 4
            assert page["etcd_mvcc_range_total"] == 3
            assert page["etcd_mvcc_delete_total"] == 1
            assert page["etcd_mvcc_txn_total"] == 1
            assert page["etcd_debugging_mvcc_keys_total"] == 2
            assert page["etcd_debugging_mvcc_current_revision"] == 6
            assert page["etcd_server_proposals_committed_total"] == 5
            assert page["etcd_server_proposals_applied_total"] == 5

        run(test)

    def test_sizes_are_there_at_once(self, tmp_path: Path) -> None:
        async def main() -> None:
            served = await Served.open(str(tmp_path / "d"), "--quota-backend-bytes=5")
            page = served.page()
            assert page["etcd_mvcc_db_total_size_in_bytes"] > 0
            assert page["etcd_mvcc_db_total_size_in_use_in_bytes"] > 0
            assert page["etcd_server_quota_backend_bytes"] == 5
            await served.store.close()

        asyncio.run(main())


class TestWatches:
    def test_streams_watchers_and_what_waits_for_them(self) -> None:
        async def test(served: Served) -> None:
            store = served.store
            await store.txn(put(b"a"))
            stream = store.watch_stream()
            stream.create(WatchCreate(ALL_KEYS))
            stream.create(WatchCreate(ALL_KEYS, start_revision=1))
            await store.txn(put(b"b"))
            page = served.page()
            assert page["etcd_debugging_mvcc_watch_stream_total"] == 1
            assert page["etcd_debugging_mvcc_watcher_total"] == 2
            assert page["etcd_debugging_mvcc_slow_watcher_total"] == 1
            assert page["etcd_debugging_mvcc_pending_events_total"] == 1
            assert page["kvstore_watch_queue_bytes"] > 0
            assert page["etcd_debugging_mvcc_events_total"] == 0
            seen = 0
            while seen < 3:
                seen += len((await stream.next()).events)
            page = served.page()
            assert page["etcd_debugging_mvcc_events_total"] == 3
            assert page["etcd_debugging_mvcc_pending_events_total"] == 0
            assert page["etcd_debugging_mvcc_slow_watcher_total"] == 0
            stream.close()
            page = served.page()
            assert page["etcd_debugging_mvcc_watch_stream_total"] == 0
            assert page["etcd_debugging_mvcc_watcher_total"] == 0

        run(test)


class TestLeases:
    def test_their_lives_are_counted(self) -> None:
        async def main() -> None:
            now = [0.0]
            options = StoreOptions(clock=lambda: now[0])
            served = await Served.open(options=options)
            store = served.store
            for lease_id, ttl_s in ((1, 10), (2, 16), (3, 17)):
                await store.lease_grant(ttl_s, lease_id)
            await store.txn(Txn(success=(PutOp(b"k", b"", lease=1),)))
            await store.lease_keep_alive(1)
            await store.lease_revoke(1)
            now[0] = 16.5
            assert store.expire_due() == 1
            page = served.page()
            assert page["etcd_debugging_lease_granted_total"] == 3
            assert page["etcd_debugging_lease_renewed_total"] == 1
            assert page["etcd_debugging_lease_revoked_total"] == 2
            assert page["etcd_debugging_server_lease_expired_total"] == 1
            assert page["etcd_mvcc_delete_total"] == 1
            assert page["kvstore_leases"] == 1
            name = "etcd_debugging_lease_ttl_total"
            assert page.at(f"{name}_bucket", le="8") == 0
            assert page.at(f"{name}_bucket", le="16") == 2
            assert page.at(f"{name}_bucket", le="32") == 3
            assert page[f"{name}_sum"] == 43
            await store.close()

        asyncio.run(main())


class TestCompaction:
    def test_it_is_measured(self) -> None:
        async def test(served: Served) -> None:
            store = served.store
            assert served.page()["etcd_debugging_mvcc_compact_revision"] == -1
            for _ in range(4):
                await store.txn(put(b"a"))
            await store.compact(4, physical=True)
            page = served.page()
            assert page["etcd_debugging_mvcc_compact_revision"] == 4
            assert page["etcd_debugging_mvcc_db_compaction_keys_total"] == 2
            assert page["etcd_debugging_mvcc_db_compaction_last"] > 1.7e9
            pause = "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds"
            assert page[f"{pause}_count"] == 1
            total = "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds"
            assert page[f"{total}_count"] == 1

        run(test)


class TestCommits:
    def test_they_are_measured(self, tmp_path: Path) -> None:
        async def main() -> None:
            served = await Served.open(str(tmp_path / "d"), "--warning-apply-duration=0s")
            store = served.store
            await store.txn(put(b"a"))
            await asyncio.gather(*(store.txn(put(b"%d" % i)) for i in range(5)))
            page = served.page()
            assert page["kvstore_commits_total"] == 2
            for name in (
                "etcd_disk_wal_fsync_duration_seconds",
                "etcd_disk_backend_commit_duration_seconds",
                "kvstore_commit_duration_seconds",
            ):
                assert page[f"{name}_count"] == 2
                assert 0 < page[f"{name}_sum"] < 60
            assert page["kvstore_commit_decisions_sum"] == 6
            assert page.at("kvstore_commit_decisions_bucket", le="1") == 1
            assert page.at("kvstore_commit_decisions_bucket", le="16") == 2
            assert page["etcd_disk_wal_write_bytes_total"] > 0
            assert page["etcd_server_slow_apply_total"] == 6
            await store.close()

        asyncio.run(main())

    def test_what_waits_for_one_is_shown(self, tmp_path: Path) -> None:
        async def main() -> None:
            served = await Served.open(str(tmp_path / "d"))
            waiting = asyncio.gather(*(served.store.txn(put(b"%d" % i)) for i in range(3)))
            await asyncio.sleep(0)
            page = served.page()
            assert page["kvstore_pending_decisions"] == 3
            assert page["etcd_server_proposals_pending"] == 3
            assert page["kvstore_pending_bytes"] > 0
            assert page["kvstore_waiting_answers"] == 3
            await waiting
            page = served.page()
            assert page["kvstore_pending_decisions"] == 0
            assert page["kvstore_waiting_answers"] == 0
            await served.store.close()

        asyncio.run(main())

    def test_answers_that_fail_with_one_are_counted(self) -> None:
        async def main() -> None:
            backend = FaultyBackend(MemoryBackend())
            store = await LoopStore.open(backend)
            backend.fail(Fault.FULL)
            served = Served(parse_config(), store, timed=False)
            puts = [store.txn(put(b"%d" % i)) for i in range(2)]
            for outcome in await asyncio.gather(*puts, return_exceptions=True):
                assert isinstance(outcome, NoSpace)
            page = served.page()
            assert page["etcd_server_proposals_failed_total"] == 2
            assert page["kvstore_commits_total"] == 0
            await store.close()

        asyncio.run(main())


class TestMember:
    def test_it_says_who_it_is(self) -> None:
        async def test(served: Served) -> None:
            page = served.page()
            assert page.at("etcd_server_version", server_version="3.7.1") == 1
            assert page.at("etcd_cluster_version", cluster_version="3.7") == 1
            assert page.at("etcd_server_id", server_id="8e9e05c52164694d") == 1
            assert page["etcd_server_has_leader"] == page["etcd_server_is_leader"] == 1
            assert page["etcd_server_is_learner"] == 0

        run(test)

    def test_health_checks_are_there_once_made(self) -> None:
        async def test(served: Served) -> None:
            page = served.page()
            assert page["etcd_server_health_success"] == 0
            assert "etcd_server_healthcheck" not in page.types
            health = served.metrics.health
            health.answered(is_healthy=True)
            health.answered(is_healthy=False)
            health.checked("readyz", "serializable_read", is_ok=True)
            health.checked("readyz", "serializable_read", is_ok=False)
            page = served.page()
            assert page["etcd_server_health_success"] == 1
            assert page["etcd_server_health_failures"] == 1
            which = {"type": "readyz", "name": "serializable_read"}
            assert page.at("etcd_server_healthcheck", **which) == 0
            for status in ("success", "error"):
                assert page.at("etcd_server_healthchecks_total", **which, status=status) == 1

        run(test)

    def test_the_memory_has_a_line_without_labels(self) -> None:
        async def test(served: Served) -> None:
            lines = served.page().text.splitlines()
            (line,) = [each for each in lines if each.startswith("process_resident_memory_bytes")]
            assert float(line.split()[1]) > 1e6

        run(test)


class TestFormat:
    def test_names_are_those_of_etcd(self) -> None:
        async def test(served: Served) -> None:
            page = served.page()
            assert page.types["etcd_server_health_success"] == "counter"
            assert page.types["etcd_debugging_mvcc_keys_total"] == "gauge"
            assert page.types["etcd_network_client_grpc_sent_bytes_total"] == "counter"
            assert not [name for name in page.types if name.endswith("_created")]

        run(test)

    @pytest.mark.parametrize(
        "accept",
        [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4",
        ],
    )
    def test_it_is_the_text_of_prometheus(self, accept: str) -> None:
        async def test(served: Served) -> None:
            content_type, page = served.metrics.render(accept)
            assert content_type == "text/plain; version=0.0.4; charset=utf-8"
            assert Page(page.decode())["etcd_server_has_leader"] == 1

        run(test)

    def test_whole_numbers_are_written_as_go_writes_them(self) -> None:
        async def test(served: Served) -> None:
            served.stats.sent_bytes, served.stats.received_bytes = 12_345_678, 999_999
            text = served.page().text
            assert "etcd_network_client_grpc_sent_bytes_total 1.2345678e+07\n" in text
            assert "etcd_network_client_grpc_received_bytes_total 999999\n" in text
            assert "etcd_server_has_leader 1\n" in text
            assert "etcd_debugging_mvcc_compact_revision -1\n" in text
            assert 'etcd_debugging_lease_ttl_total_bucket{le="1"} 0\n' in text
            assert not re.findall(r"^[^#].*\d\.0$", text, re.MULTILINE)

        run(test)

    def test_a_client_that_wants_openmetrics_alone_gets_it(self) -> None:
        async def test(served: Served) -> None:
            content_type, page = served.metrics.render("application/openmetrics-text")
            assert content_type.startswith("application/openmetrics-text")
            # The library's parser is strict about this format, and has no types.
            families = text_string_to_metric_families(page.decode())  # type: ignore[no-untyped-call]
            names = {family.name for family in families}
            assert "etcd_server_health_success" in names

        run(test)

    def test_requests_for_it_are_counted(self) -> None:
        async def test(served: Served) -> None:
            served.page()
            assert served.page().at("promhttp_metric_handler_requests_total", code="200") == 1

        run(test)

    def test_two_servers_in_a_process_do_not_mix(self) -> None:
        async def main() -> None:
            one, other = await Served.open(), await Served.open()
            await one.store.txn(put(b"a"))
            assert one.page()["etcd_mvcc_put_total"] == 1
            assert other.page()["etcd_mvcc_put_total"] == 0
            await one.store.close()
            await other.store.close()

        asyncio.run(main())

    def test_it_knows_how_to_show_itself(self) -> None:
        async def main() -> None:
            store = await LoopStore.open(open_backend(":memory:"))
            metrics = Metrics(parse_config(), store, CallStats({}), api_version="3.7.1")
            assert repr(metrics) == "<Metrics of default>"
            await store.close()

        asyncio.run(main())
