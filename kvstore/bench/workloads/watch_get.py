"""watch-get: reads of a key while many watchers catch up from the past."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final, cast

from kvstore.bench.http2 import Method
from kvstore.bench.loop import CallLoop, Next
from kvstore.bench.options import Value
from kvstore.bench.pace import Pace
from kvstore.bench.recorder import Operation
from kvstore.bench.worker import Worker
from kvstore.bench.workloads.base import PUT_METHOD, RANGE_METHOD, Parameter, Workload, positive
from kvstore.bench.workloads.watch import WatchStream
from kvstore.proto import rpc_pb2

__all__ = ["WATCH_GET"]

_WATCHED: Final = b"watchkey"
_READ: Final = b"abc"


async def _run(worker: Worker) -> None:
    (begin, *_) = await worker.exchange(await _put(worker) if worker.index == 0 else None)
    revision = cast("int", begin)
    streams = _streams(worker, revision)
    await worker.begin(get="Get during watch summary:")
    worker.client_count = 1 if worker.index == 0 else 0
    reading = None
    if worker.index == 0:
        loop = CallLoop([await worker.connect()], 1, Pace(time.monotonic()), _next_get(worker))
        reading = asyncio.create_task(worker.run_loop(loop))
    for stream in streams:
        stream.open()
    await _caught_up(worker, streams)
    await worker.exchange(None)
    if reading is not None:
        loop.stop()
        await reading
    for stream in streams:
        stream.connection.cancel(stream)


async def _put(worker: Worker) -> int:
    """The events that the watchers will get; returns the revision of the first."""
    first = 0
    for number in range(worker.number("events")):
        request = rpc_pb2.PutRequest(key=_WATCHED, value=b"%d" % number)
        answer = await worker.unary(worker.connections[0], PUT_METHOD, request.SerializeToString())
        first = first or rpc_pb2.PutResponse.FromString(answer).header.revision
    return first


def _streams(worker: Worker, revision: int) -> list[WatchStream]:
    watchers, streams = worker.number("watchers"), worker.number("streams")
    create = Operation("watch-make", "", 0.0)
    failing = Operation("watch", "", 0.0)
    made: list[WatchStream] = []
    for number in range(worker.index, streams, worker.count):
        count = (number + 1) * watchers // streams - number * watchers // streams
        request = rpc_pb2.WatchCreateRequest(key=_WATCHED, start_revision=revision)
        connection = worker.connections[len(made) % len(worker.connections)]
        if count:
            made.append(WatchStream(connection, [request] * count, create, failing))
    return made


def _next_get(worker: Worker) -> Next:
    get = worker.operation("get")
    message = rpc_pb2.RangeRequest(key=_READ, serializable=True).SerializeToString()

    def next_request() -> tuple[Operation, Method, bytes]:
        return get, RANGE_METHOD, message

    return next_request


async def _caught_up(worker: Worker, streams: list[WatchStream]) -> None:
    """Until each watcher has all events, the stream ended, or the user or the duration ends it."""
    arrived = asyncio.Event()
    worker.on_stop(arrived.set)
    expected = worker.number("events")
    deadline_s = worker.begin_s + (worker.options.duration_s or 3600.0)
    for stream in streams:
        stream.on_event = arrived.set
    while not worker.is_stopping and any(
        stream.counts.total() < stream.wanted * expected and not stream.has_ended
        for stream in streams
    ):
        arrived.clear()
        try:
            async with asyncio.timeout(
                min(worker.options.timeout_s, deadline_s - time.monotonic())
            ):
                await arrived.wait()
        except TimeoutError:
            break
    missing = sum(max(0, each.wanted * expected - each.counts.total()) for each in streams)
    if streams:
        wanted = sum(each.wanted for each in streams)
        got = sum(each.counts.total() for each in streams)
        worker.notes.append(f"{wanted} watchers got {got} events")
    failures = streams[0].events.errors if streams else {}
    for status, count in failures.items():
        worker.operation("get").errors[status] += count
    if missing and not worker.is_stopping and time.monotonic() < deadline_s:
        worker.notes.append(f"{missing} events did not arrive in {worker.options.timeout_s:g} s")


def _check(parameters: Mapping[str, Value]) -> None:
    positive(parameters, "watchers", "streams", "events")


WATCH_GET: Final = Workload(
    name="watch-get",
    summary="Read a key while many watchers catch up from the past.",
    description='The key "watchkey" is put some times; then watchers start at the first of these '
    'puts, while one client reads the key "abc" serializably, until all watchers have all events.',
    run=_run,
    check=_check,
    parameters=(
        Parameter(name="watchers", default=10_000, help="Watchers altogether"),
        Parameter(name="streams", default=1, help="Watch streams"),
        Parameter(name="events", default=8, help="Events for each watcher"),
    ),
    total=0,
    has_total=False,
    has_rate=False,
)
