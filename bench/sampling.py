"""What a server weighs while it is under load, at even times."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from bench.servers import Running, resident_mb
from kvstore.proto import rpc_pb2

__all__ = ["Samples", "sampled"]

SAMPLES = 10


@dataclass
class Samples:
    memory_mb: list[float] = field(default_factory=list)
    """VmRSS."""
    database_mb: list[float] = field(default_factory=list)
    """As Status has it."""

    def __str__(self) -> str:
        return f"VmRSS {_series(self.memory_mb)} MB; database {_series(self.database_mb)} MB"


@contextmanager
def sampled(server: Running, seconds: float) -> Iterator[Samples]:
    """Ten samples over this time, the first one at once."""
    samples, ended = Samples(), threading.Event()

    def sample() -> None:
        with grpc.insecure_channel(server.target) as channel:
            status = channel.unary_unary(
                "/etcdserverpb.Maintenance/Status",
                request_serializer=rpc_pb2.StatusRequest.SerializeToString,
                response_deserializer=rpc_pb2.StatusResponse.FromString,
            )
            while not ended.is_set():
                samples.memory_mb.append(resident_mb(server.pid))
                size = status(rpc_pb2.StatusRequest(), timeout=10).dbSize
                samples.database_mb.append(size / 2**20)
                ended.wait(seconds / SAMPLES)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield samples
    finally:
        ended.set()
        sampler.join()


def _series(values: Sequence[float]) -> str:
    return ", ".join(f"{value:,.0f}" for value in values)
