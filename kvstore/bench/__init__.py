"""A load benchmark for any etcd v3 endpoint, with the workloads of etcd's own tool.

    from kvstore import bench

    result = bench.run("put", "127.0.0.1:2379", bench.Options(clients=16, duration_s=5))
    print(result.main.per_second, result.main.histogram.quantile(0.99))

    bench.compare("range", "127.0.0.1:2379", "127.0.0.1:2479",
                  bench.Options(parameters={"key": "a"})).ratios()

`kvstore bench` is the same at the command line. It imports nothing of the server.
"""

from kvstore.bench.controller import Progress, compare, run
from kvstore.bench.errors import BenchError, EndpointError, Interrupted, UsageError, WorkerFailed
from kvstore.bench.histogram import Histogram
from kvstore.bench.options import Options
from kvstore.bench.result import Comparison, OperationResult, Result
from kvstore.bench.workloads import WORKLOADS

__all__ = [
    "WORKLOADS",
    "BenchError",
    "Comparison",
    "EndpointError",
    "Histogram",
    "Interrupted",
    "OperationResult",
    "Options",
    "Progress",
    "Result",
    "UsageError",
    "WorkerFailed",
    "compare",
    "run",
]
