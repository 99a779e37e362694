"""Metric families from plain numbers.

A counter is given with the name it has on the page; the library wants it without `_total`, puts
that back, and would put it behind any name.
"""

from __future__ import annotations

from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from kvstore.store.stats import Histogram

__all__ = ["add_histogram", "counter", "gauge", "histogram", "info"]


def counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name.removesuffix("_total"), text, value=value)


def gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def info(name: str, text: str, **labels: str) -> Metric:
    """A gauge that is 1 and says something in its labels."""
    family = GaugeMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family


def histogram(name: str, text: str, observed: Histogram) -> Metric:
    family = HistogramMetricFamily(name, text, labels=())
    add_histogram(family, (), observed)
    return family


def add_histogram(
    family: HistogramMetricFamily, labels: tuple[str, ...], observed: Histogram
) -> None:
    """Add the histogram of one combination of label values."""
    bounds = [*map(floatToGoString, observed.bounds), "+Inf"]
    cumulated = accumulate(observed.counts)
    family.add_metric(labels, list(zip(bounds, map(float, cumulated), strict=True)), observed.total)
