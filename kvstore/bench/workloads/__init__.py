"""The workloads, by name: those of etcd's benchmark, and what Kubernetes asks of etcd."""

from kvstore.bench.workloads.base import Parameter, Workload
from kvstore.bench.workloads.kubernetes import KUBERNETES
from kvstore.bench.workloads.kv import PUT, RANGE, TXN_MIXED, TXN_PUT
from kvstore.bench.workloads.lease import LEASE_KEEPALIVE
from kvstore.bench.workloads.stm import STM
from kvstore.bench.workloads.watch import WATCH, WATCH_LATENCY
from kvstore.bench.workloads.watch_get import WATCH_GET

__all__ = ["WORKLOADS", "Parameter", "Workload"]

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        PUT,
        RANGE,
        TXN_PUT,
        TXN_MIXED,
        WATCH,
        WATCH_LATENCY,
        WATCH_GET,
        LEASE_KEEPALIVE,
        STM,
        KUBERNETES,
    )
}
