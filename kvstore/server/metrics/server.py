"""What the member is, and how it is: etcd's server families, and what the process uses.

A server alone is always its leader, once elected; what it decided counts as proposals. Facts: etcd
server/etcdserver/metrics.go.
"""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from kvstore import __version__
from kvstore.server.config import Config
from kvstore.server.metrics.families import counter, gauge, info
from kvstore.server.metrics.health import HealthStats
from kvstore.server.metrics.measured import MeasuredStore
from kvstore.server.stats import AcceptStats, CallStats

__all__ = ["health_families", "process_families", "server_families"]


def server_families(
    config: Config, store: MeasuredStore, stats: CallStats, api_version: str
) -> Iterator[Metric]:
    yield info("etcd_server_version", "The version of the API.", server_version=api_version)
    cluster_version = api_version.rpartition(".")[0]
    yield info("etcd_cluster_version", "Its minor version.", cluster_version=cluster_version)
    yield info("etcd_server_id", "The member id.", server_id=f"{config.member_id:x}")
    yield gauge("etcd_server_has_leader", "Always 1: this member.", 1)
    yield gauge("etcd_server_is_leader", "Always 1.", 1)
    yield gauge("etcd_server_is_learner", "Always 0.", 0)
    yield counter("etcd_server_leader_changes_seen_total", "Always 1: the start.", 1)
    yield gauge(
        "etcd_server_quota_backend_bytes",
        "The space quota, 0 for none.",
        max(config.quota_backend_bytes, 0),
    )
    applied = store.status().write_index
    yield gauge("etcd_server_proposals_committed_total", "Write requests.", applied)
    yield gauge("etcd_server_proposals_applied_total", "Write requests.", applied)
    yield gauge(
        "etcd_server_proposals_pending",
        "Decisions that are not durable yet.",
        store.queues().decisions,
    )
    yield counter(
        "etcd_server_proposals_failed_total",
        "Calls that got an error because a commit failed.",
        store.stats.failed,
    )
    yield counter(
        "etcd_server_slow_apply_total",
        "Decisions whose commit took longer than --warning-apply-duration.",
        store.stats.slow_decisions,
    )
    yield info(
        "kvstore_build_info",
        "The version of this program, and of Python.",
        version=__version__,
        python_version=platform.python_version(),
    )
    connections = GaugeMetricFamily(
        "kvstore_connections", "Open connections of clients.", labels=("protocol",)
    )
    connections.add_metric(("h2",), stats.connections)
    connections.add_metric(("http/1.1",), stats.http1_connections)
    yield connections
    yield from _accept_families(stats.accepts)


def _accept_families(accepts: AcceptStats) -> Iterator[Metric]:
    yield gauge(
        "kvstore_client_sockets",
        "Open sockets of clients, also of those who said nothing yet.",
        accepts.open,
    )
    yield gauge(
        "kvstore_client_sockets_limit",
        "How many there may be, for the limit of open files.",
        accepts.limit,
    )
    waits = CounterMetricFamily(
        "kvstore_accept_waits", "Times that new connections had to wait.", labels=("reason",)
    )
    for reason, count in accepts.waits.items():
        waits.add_metric((reason,), count)
    yield waits


def health_families(health: HealthStats) -> Iterator[Metric]:
    yield counter("etcd_server_health_success", "Good answers of /health.", health.success)
    yield counter("etcd_server_health_failures", "Bad answers of /health.", health.failures)
    if not health.checks:
        return
    last = GaugeMetricFamily(
        "etcd_server_healthcheck", "1 where the last check was good.", labels=("type", "name")
    )
    for (kind, name), is_ok in health.checks.items():
        last.add_metric((kind, name), is_ok)
    yield last
    counts = CounterMetricFamily(
        "etcd_server_healthchecks", "Checks by outcome.", labels=("type", "name", "status")
    )
    for (kind, name, is_ok), count in health.counts.items():
        counts.add_metric((kind, name, "success" if is_ok else "error"), count)
    yield counts


def process_families() -> Iterator[Metric]:
    """Beside those that the library's own collector has; none where there is no /proc."""
    try:
        # One of them is the directory being read.
        used = len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return
    yield gauge("os_fd_used", "Open file descriptors.", used)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield gauge("os_fd_limit", "How many there may be.", limit)
