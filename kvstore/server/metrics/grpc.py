"""Calls by method, as go-grpc-prometheus counts them, and the traffic of their connections.

Every served method is there from the start, with each of the 17 codes, so that a rate has a past.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from kvstore.server.metrics.families import add_histogram, counter
from kvstore.server.stats import CallStats
from kvstore.server.status import Code

__all__ = ["CODE_NAMES", "call_families"]

CODE_NAMES: Final = {
    code: "OK" if code is Code.OK else code.name.title().replace("_", "") for code in Code
}
"""As Go prints them: `InvalidArgument`."""

_LABELS: Final = ("grpc_type", "grpc_service", "grpc_method")


def call_families(stats: CallStats) -> Iterator[Metric]:
    handled = CounterMetricFamily(
        "grpc_server_handled",
        "Calls that ended, by their code.",
        labels=(*_LABELS, "grpc_code"),
    )
    received = CounterMetricFamily(
        "grpc_server_msg_received", "Messages that clients sent.", labels=_LABELS
    )
    sent = CounterMetricFamily(
        "grpc_server_msg_sent", "Messages that were sent to clients.", labels=_LABELS
    )
    started = CounterMetricFamily(
        "grpc_server_started", "Calls that began, ended or not.", labels=_LABELS
    )
    seconds = HistogramMetricFamily(
        "grpc_server_handling_seconds",
        "How long calls took; only with --metrics extensive.",
        labels=_LABELS,
    )
    for method in stats.methods.values():
        labels = (method.kind.value, method.service, method.name)
        for code, count in enumerate(method.handled):
            handled.add_metric((*labels, CODE_NAMES[Code(code)]), count)
        received.add_metric(labels, method.received)
        sent.add_metric(labels, method.sent)
        started.add_metric(labels, method.started)
        if method.seconds is not None:
            add_histogram(seconds, labels, method.seconds)
    yield from (handled, received, sent, started)
    if seconds.samples:
        yield seconds
    yield counter(
        "etcd_network_client_grpc_received_bytes_total",
        "Bytes that gRPC clients sent.",
        stats.received_bytes,
    )
    yield counter(
        "etcd_network_client_grpc_sent_bytes_total",
        "Bytes that were sent to gRPC clients.",
        stats.sent_bytes,
    )
