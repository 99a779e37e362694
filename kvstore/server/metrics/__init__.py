"""The page /metrics: what the server counts, in the text that Prometheus reads.

    stats of transports ┐
    totals of the store ├─▶ families (grpc, store, server) ─▶ Metrics.render ─▶ whoever serves HTTP
    health checks       ┘

Families have etcd's names, types and labels where they mean the same; ours begin with `kvstore_`.
docs/reference/metrics.md lists them all.
"""

from __future__ import annotations

from kvstore.server.metrics.health import HealthStats
from kvstore.server.metrics.page import Metrics

__all__ = ["HealthStats", "Metrics"]
