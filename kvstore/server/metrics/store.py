"""Keys, watches, leases, compactions and commits: the store's families.

Facts: etcd server/storage/mvcc/metrics.go, server/lease/metrics.go, server/storage/backend and wal
metrics. One commit here is what a write to the log and a commit of the backend are in etcd, so both
histograms are of commits.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from kvstore.core.totals import LEASE_TTL_BOUNDS_S, Totals
from kvstore.server.metrics.families import counter, gauge, histogram
from kvstore.server.metrics.measured import MeasuredStore
from kvstore.store.stats import Histogram, Queues, StoreStats
from kvstore.types import StoreStatus

__all__ = ["store_families"]


def store_families(store: MeasuredStore) -> Iterator[Metric]:
    status, totals, queues, stats = store.status(), store.totals, store.queues(), store.stats
    yield from _keys(status, totals)
    yield from _watches(status, totals, queues)
    yield from _leases(status, totals)
    yield from _compactions(status, totals, stats)
    yield from _commits(totals, queues, stats)


def _keys(status: StoreStatus, totals: Totals) -> Iterator[Metric]:
    yield gauge(
        "etcd_mvcc_db_total_size_in_bytes", "Bytes that the data takes.", status.db_size_bytes
    )
    yield gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Bytes of it that are in use.",
        status.db_size_in_use_bytes,
    )
    yield counter("etcd_mvcc_put_total", "Puts.", totals.puts)
    yield counter("etcd_mvcc_delete_total", "Delete operations.", totals.deletes)
    yield counter("etcd_mvcc_range_total", "Ranges.", totals.ranges)
    yield counter("etcd_mvcc_txn_total", "Transactions of more than one operation.", totals.txns)
    yield gauge("etcd_debugging_mvcc_keys_total", "Keys.", status.keys)
    yield gauge("etcd_debugging_mvcc_current_revision", "The revision.", status.revision)


def _watches(status: StoreStatus, totals: Totals, queues: Queues) -> Iterator[Metric]:
    yield counter(
        "etcd_debugging_mvcc_events_total", "Events handed to watch streams.", totals.events
    )
    yield gauge(
        "etcd_debugging_mvcc_pending_events_total",
        "Events in the queues of watch streams.",
        queues.watch_events,
    )
    yield gauge(
        "etcd_debugging_mvcc_slow_watcher_total",
        "Watchers that catch up from the log.",
        queues.watchers_behind,
    )
    yield gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams.", queues.watch_streams)
    yield gauge("etcd_debugging_mvcc_watcher_total", "Watchers.", status.watchers)
    yield gauge(
        "kvstore_watch_queue_bytes", "Bytes in the queues of watch streams.", queues.watch_bytes
    )


def _leases(status: StoreStatus, totals: Totals) -> Iterator[Metric]:
    yield counter("etcd_debugging_lease_granted_total", "Leases granted.", totals.leases_granted)
    yield counter(
        "etcd_debugging_lease_revoked_total",
        "Leases revoked, the expired ones too.",
        totals.leases_revoked,
    )
    yield counter(
        "etcd_debugging_lease_renewed_total", "Renewals of leases.", totals.leases_renewed
    )
    ttls = Histogram(map(float, LEASE_TTL_BOUNDS_S))
    ttls.counts, ttls.total = totals.lease_ttls, float(totals.lease_ttl_sum_s)
    yield histogram("etcd_debugging_lease_ttl_total", "Seconds that leases were granted.", ttls)
    yield counter(
        "etcd_debugging_server_lease_expired_total", "Leases expired.", totals.leases_expired
    )
    yield gauge("kvstore_leases", "Leases.", status.leases)


def _compactions(status: StoreStatus, totals: Totals, stats: StoreStats) -> Iterator[Metric]:
    yield gauge(
        "etcd_debugging_mvcc_compact_revision",
        "The revision compacted to, -1 before the first time.",
        status.compact_revision,
    )
    yield counter(
        "etcd_debugging_mvcc_db_compaction_keys_total",
        "Records that compactions removed.",
        totals.compacted_records,
    )
    yield gauge(
        "etcd_debugging_mvcc_db_compaction_last",
        "When the last compaction was finished, in seconds since 1970.",
        stats.compacted_at_s,
    )
    yield histogram(
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
        "How long the steps of compactions kept others waiting.",
        stats.compaction_step_ms,
    )
    yield histogram(
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        "How long compactions took.",
        stats.compaction_ms,
    )


def _commits(totals: Totals, queues: Queues, stats: StoreStats) -> Iterator[Metric]:
    commits = sum(stats.commit_s.counts)
    yield histogram(
        "etcd_disk_wal_fsync_duration_seconds", "How long commits took.", stats.commit_s
    )
    yield histogram(
        "etcd_disk_backend_commit_duration_seconds", "How long commits took.", stats.commit_s
    )
    yield gauge(
        "etcd_disk_wal_write_bytes_total",
        "Bytes of records that went into commits.",
        totals.decided_bytes,
    )
    yield counter("kvstore_commits_total", "Commits.", commits)
    yield histogram(
        "kvstore_commit_duration_seconds", "How long commits took, fsync included.", stats.commit_s
    )
    yield histogram(
        "kvstore_commit_decisions",
        "How many decisions (writes, grants, marks) one commit made durable.",
        stats.commit_decisions,
    )
    yield gauge(
        "kvstore_pending_decisions", "Decisions that are not durable yet.", queues.decisions
    )
    yield gauge("kvstore_pending_bytes", "Bytes of these decisions.", queues.decision_bytes)
    yield gauge("kvstore_waiting_answers", "Calls that wait for a commit.", queues.answers)
