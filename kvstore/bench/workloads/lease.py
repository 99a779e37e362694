"""lease-keepalive: each client renews a lease of its own, again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import cycle
from typing import Final

from kvstore.bench.awaited import CallFailed
from kvstore.bench.http2 import Method
from kvstore.bench.loop import CallLoop
from kvstore.bench.recorder import Operation
from kvstore.bench.worker import Worker
from kvstore.bench.workloads.base import Parameter, Workload
from kvstore.proto import rpc_pb2

__all__ = ["GRANT", "KEEP_ALIVE", "LEASE_KEEPALIVE", "grant", "revoke"]

GRANT: Final = Method("/etcdserverpb.Lease/LeaseGrant")
REVOKE: Final = Method("/etcdserverpb.Lease/LeaseRevoke")
KEEP_ALIVE: Final = Method("/etcdserverpb.Lease/LeaseKeepAlive")


async def grant(worker: Worker, ttl_s: int) -> int:
    """A new lease; its id. Raises CallFailed."""
    request = rpc_pb2.LeaseGrantRequest(TTL=ttl_s)
    answer = await worker.unary(worker.connections[0], GRANT, request.SerializeToString())
    return rpc_pb2.LeaseGrantResponse.FromString(answer).ID


async def revoke(worker: Worker, leases: Sequence[int], operation: Operation) -> None:
    """Take them back; one that cannot be is an error of `operation`."""
    for lease in leases:
        request = rpc_pb2.LeaseRevokeRequest(ID=lease)
        try:
            await worker.unary(worker.connections[0], REVOKE, request.SerializeToString())
        except CallFailed as failure:
            operation.fail(failure.status)


async def _run(worker: Worker) -> None:
    leases = await asyncio.gather(*(grant(worker, worker.number("ttl")) for _ in worker.clients))
    await worker.begin(lease_keepalive="")
    operation = worker.operation("lease-keepalive")
    messages = cycle(
        [rpc_pb2.LeaseKeepAliveRequest(ID=lease).SerializeToString() for lease in leases]
    )

    def next_request() -> tuple[Operation, Method, bytes]:
        return operation, KEEP_ALIVE, next(messages)

    pace = worker.pace(worker.options.total)
    await worker.run_loop(CallLoop(worker.connections, len(worker.clients), pace, next_request))
    await revoke(worker, leases, operation)


LEASE_KEEPALIVE: Final = Workload(
    name="lease-keepalive",
    summary="Renew leases, a stream for each renewal.",
    description="As etcd's KeepAliveOnce: a stream is opened, takes one renewal and ends. Each "
    "client has a lease, which is revoked at the end.",
    run=_run,
    parameters=(Parameter(name="ttl", default=100, help="Time to live of the leases, in seconds"),),
)
