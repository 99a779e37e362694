"""All families at one moment, written in one of two formats.

Prometheus' text is what etcd serves. OpenMetrics is for a client that takes nothing else; there the
name of a counter must end in `_total`, which two of etcd's do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from kvstore.server.config import Config
from kvstore.server.metrics.grpc import call_families
from kvstore.server.metrics.health import HealthStats
from kvstore.server.metrics.measured import MeasuredStore
from kvstore.server.metrics.server import health_families, process_families, server_families
from kvstore.server.metrics.store import store_families
from kvstore.server.stats import CallStats

__all__ = ["Collected"]

_TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS: Final = "application/openmetrics-text"

_WHOLE: Final = re.compile(rb'( |le=")(-?\d+)\.0(?=$|")', re.MULTILINE)
"""A whole number, as a value or a bound; Go's library, and so etcd, writes it without `.0`."""

_write_openmetrics: Final[Callable[[CollectorRegistry], bytes]] = openmetrics.generate_latest

_NOT_TOTAL: Final = (b"etcd_server_health_success", b"etcd_server_health_failures")
"""Counters whose names do not end in `_total`."""


class Collected(Collector):
    """The families of one server; see `Metrics` for the arguments."""

    def __init__(
        self,
        config: Config,
        store: MeasuredStore,
        stats: CallStats,
        health: HealthStats,
        api_version: str,
    ) -> None:
        self._config, self._store, self._stats = config, store, stats
        self._health, self._api_version = health, api_version
        self._rendered = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[str, bytes]:
        """See `Metrics.render`."""
        if _wants_openmetrics(accept):
            page = _write_openmetrics(self._registry)
            content_type = openmetrics.CONTENT_TYPE_LATEST
        else:
            page = _WHOLE.sub(rb"\1\2", generate_latest(self._registry))
            for name in _NOT_TOTAL:
                page = page.replace(name + b"_total", name)
            content_type = _TEXT_TYPE
        self._rendered += 1
        return content_type, page

    def collect(self) -> Iterator[Metric]:
        """Every family, from the numbers as they are now."""
        yield from call_families(self._stats)
        yield from store_families(self._store)
        yield from server_families(self._config, self._store, self._stats, self._api_version)
        yield from health_families(self._health)
        yield from process_families()
        scrapes = CounterMetricFamily(
            "promhttp_metric_handler_requests", "Earlier requests for this page.", labels=("code",)
        )
        scrapes.add_metric(("200",), self._rendered)
        yield scrapes


def _wants_openmetrics(accept: str) -> bool:
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return _OPENMETRICS in kinds and not kinds & {"text/plain", "text/*", "*/*"}
