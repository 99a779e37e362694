"""kubernetes: what the API server of a cluster asks of its etcd, at the rates of a cluster's size.

Every kind of call has a rate of its own and is an operation of its own in the report; a call that
is late for its turn is timed from its turn. The shapes are those of Kubernetes' storage layer:

    lease-update     Txn{mod == rev; put 300 B; else get}    one for each node every 10 s
    status-update    Txn{mod == rev; put 10 KB; else get}    one for each node every 5 min
    pod-write        Txn: create (mod == 0), updates, delete; the life of a pod is 7 of them
    event-create     Txn{mod == 0; put 1 KB with a lease}    a lease serves 1000 events or a minute
    get              Range of one key, limit 1
    current-revision Range of a key that is never there
    progress         WatchProgressRequest on a watch, to the answer
    list-page        all pods in pages of --limit, the later ones at the revision of the first
    compact          the compactor's Txn and Compact, to the revision of the turn before
    watch-event      from when a write was meant to begin to its event at the one watch of its type

Each resource type has a connection of its own with one watch (prev_kv, progress_notify), as each
storage of an API server has. Objects belong to one process of the load generator, so that it knows
their revisions; a compare that fails is an error.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Final

from kvstore.bench.blocks import failed
from kvstore.bench.errors import UsageError
from kvstore.bench.http2 import Connection
from kvstore.bench.options import Value
from kvstore.bench.recorder import Operation
from kvstore.bench.worker import Worker
from kvstore.bench.workloads.base import (
    Parameter,
    Workload,
    positive,
)
from kvstore.bench.workloads.kubernetes_calls import EVENTS, LEASES, NODES, OPERATIONS, PODS, Mix
from kvstore.bench.workloads.kubernetes_tiers import TIERS, Tier
from kvstore.bench.workloads.watch import WatchStream, open_all
from kvstore.proto import rpc_pb2

__all__ = ["KUBERNETES"]

_LATE_S: Final = 10.0
"""How long to wait for the last answers to requests for progress."""


class _ProgressStream(WatchStream):
    """A watch that is asked for its progress; answers come in the order of the questions."""

    __slots__ = ("asked", "progress")

    def __init__(
        self,
        connection: Connection,
        request: rpc_pb2.WatchCreateRequest,
        create: Operation,
        events: Operation,
        progress: Operation,
    ) -> None:
        super().__init__(connection, [request], create, events)
        self.progress = progress
        self.asked: deque[float] = deque()

    def ask(self, start_s: float) -> None:
        if not self.has_ended:
            self.asked.append(start_s)
            request = rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest())
            self.connection.send(self, request.SerializeToString())

    def message(self, message: bytes) -> None:
        response = rpc_pb2.WatchResponse.FromString(message)
        # A request is answered for the whole stream, with an id that no watcher has.
        if response.watch_id == -1 and not response.created and not response.events:
            # One answer may serve all that asked before it.
            while self.asked:
                self.progress.latencies.append(self.connection.now - self.asked.popleft())
        else:
            super().message(message)


async def _run(worker: Worker) -> None:
    tier = _tier(worker.options.parameters)
    worker.client_count = 1  # an API server, that makes its calls when they are due
    mix = Mix(worker, tier)
    await mix.fill()
    await worker.exchange(None)
    create = Operation("watch-make", "", 0.0)
    events, progress = Operation("watch-event", "", 0.0), Operation("progress", "", 0.0)
    streams = await _open_watches(worker, create, events, progress)
    begun_s = await worker.begin(**{name.replace("-", "_"): "" for name in OPERATIONS})
    for operation in (progress, events):
        operation.begin_s = operation.end_s = operation.origin_s = begun_s
        if streams:
            worker.recorder.operations[operation.name] = operation
    _set_rates(mix, tier, worker.seconds("scale"), streams)
    beside = [asyncio.create_task(mix.renew_event_lease())]
    if worker.index == 0:
        beside += [asyncio.create_task(mix.list_pods()), asyncio.create_task(mix.compact())]
    await mix.run()
    await asyncio.gather(*beside)
    await worker.exchange(None)
    await _settle(streams, progress)
    worker.end_operations()
    for stream in streams:
        worker.recorder.fold(time.monotonic())
        stream.connection.cancel(stream)


def _set_rates(mix: Mix, tier: Tier, scale: float, streams: Sequence[_ProgressStream]) -> None:
    mix.at_rate(tier.lease_updates * scale, mix.update_lease)
    mix.at_rate(tier.status_updates * scale, mix.update_status)
    mix.at_rate(tier.pod_writes * scale, mix.write_pod)
    mix.at_rate(tier.events * scale, mix.create_event)
    mix.at_rate(tier.gets * scale, mix.get)
    mix.at_rate(tier.current_revisions * scale, mix.current_revision)
    if streams:
        mix.at_rate(tier.progress * scale, lambda start_s: random.choice(streams).ask(start_s))


async def _open_watches(
    worker: Worker, create: Operation, events: Operation, progress: Operation
) -> list[_ProgressStream]:
    """The worker's part of the watches, the busy ones among them, each on its own connection."""
    busy = [LEASES, NODES, PODS, EVENTS]
    idle = [b"/registry/type-%03d/" % n for n in range(worker.number("watches") - len(busy))]
    streams = []
    for prefix in (busy + idle)[worker.index :: worker.count]:
        request = rpc_pb2.WatchCreateRequest(
            key=prefix, range_end=prefix[:-1] + b"0", prev_kv=True, progress_notify=True
        )
        connection = await worker.connect()
        streams.append(_ProgressStream(connection, request, create, events, progress))
    await open_all(worker, streams)
    return streams


async def _settle(streams: Sequence[_ProgressStream], progress: Operation) -> None:
    """Wait for the answers to the last questions for progress."""
    deadline_s = time.monotonic() + _LATE_S
    for turn in count():
        waiting = [stream for stream in streams if stream.asked and not stream.has_ended]
        if not waiting or time.monotonic() > deadline_s:
            break
        if turn % 100 == 99:
            # etcd does not answer when a watcher was behind at the time; a client asks again.
            for stream in waiting:
                stream.ask(stream.asked.popleft())
        await asyncio.sleep(0.01)
    missing = sum(len(stream.asked) for stream in streams)
    if missing:
        progress.errors[failed("a request for progress was not answered")] += missing


def _tier(parameters: Mapping[str, Value]) -> Tier:
    tier = TIERS[int(parameters["tier"])]
    pods = int(parameters["pods"])
    values = {name: getattr(tier, name) for name in Tier.__slots__}
    return Tier(**{**values, "pods": pods if pods >= 0 else tier.pods})


def _check(parameters: Mapping[str, Value]) -> None:
    positive(parameters, "scale", "limit", "list-interval", "compact-interval")
    if int(parameters["watches"]) < 4:
        raise UsageError(f"expected 4 --watches at least, got ({parameters['watches']})")


KUBERNETES: Final = Workload(
    name="kubernetes",
    summary="What the API server of a cluster asks of its etcd.",
    description="Node leases, node status, the lives of pods, events with leases, reads, pages of "
    "a list at one revision, watches with requests for progress, compaction. Runs for 30 s, or "
    "--duration. The cluster is made first, which takes its time for 5000 nodes (see --pods).",
    run=_run,
    check=_check,
    parameters=(
        Parameter(name="tier", default=100, help="Nodes of the cluster", choices=tuple(TIERS)),
        Parameter(name="scale", default=1.0, help="Multiply all rates by this"),
        Parameter(name="pods", default=-1, help="Pods of the cluster, -1 for those of the tier"),
        Parameter(name="watches", default=90, help="Resource types, each with a connection"),
        Parameter(name="limit", default=500, help="Objects in a page of a list"),
        Parameter(
            name="list-interval", default=10.0, help="List all pods so often", is_duration=True
        ),
        Parameter(name="compact-interval", default=30.0, help="Compact so often", is_duration=True),
    ),
    total=0,
    duration_s=30.0,
    has_total=False,
    has_rate=False,
)
