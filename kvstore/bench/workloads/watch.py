"""watch and watch-latency: many watchers, and puts whose events they get.

The first eight bytes of each value say when its put was meant to begin, on the monotonic clock that
all processes of a machine share. So an event is timed from there to its arrival, whichever process
made the put. A run ends when every event of every put that succeeded has come to every watcher of
its key; events that do not come are errors.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Final, cast

from kvstore.bench.awaited import CallFailed
from kvstore.bench.blocks import OK, Status, failed
from kvstore.bench.errors import UsageError
from kvstore.bench.http2 import Call, Connection, Method
from kvstore.bench.loop import CallLoop
from kvstore.bench.options import Value
from kvstore.bench.recorder import Operation
from kvstore.bench.worker import Worker
from kvstore.bench.workloads.base import (
    PUT_METHOD,
    Parameter,
    Workload,
    key_maker,
    positive,
)
from kvstore.proto import kv_pb2, rpc_pb2

__all__ = ["STAMP", "WATCH", "WATCH_LATENCY", "WATCH_METHOD", "WatchStream", "open_all", "stamped"]

WATCH_METHOD: Final = Method("/etcdserverpb.Watch/Watch")
STAMP: Final = Struct(">d")
_LATE_S: Final = 10.0
"""How long to wait for the next event when all puts are done."""


def stamped(start_s: float, padding: bytes) -> bytes:
    """A value that says when its put was meant to begin."""
    return STAMP.pack(start_s) + padding


class WatchStream(Call):
    """One stream with watchers: it creates them one after the other and times their events."""

    __slots__ = (
        "_create",
        "_created_s",
        "_requests",
        "connection",
        "counts",
        "done",
        "events",
        "on_event",
        "watchers",
    )

    def __init__(
        self,
        connection: Connection,
        requests: Sequence[rpc_pb2.WatchCreateRequest],
        create: Operation,
        events: Operation,
    ) -> None:
        super().__init__(is_stream=True)
        self.connection = connection
        self.watchers: dict[int, int] = {}
        """The number of the request by watch id."""
        self.counts: Counter[int] = Counter()
        """Events by the number of the request."""
        self.events = events
        self.on_event: Callable[[], None] | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when all watchers are created, or the stream ended."""
        self._requests, self._create, self._created_s = list(requests), create, 0.0

    @property
    def wanted(self) -> int:
        return len(self._requests)

    def open(self) -> None:
        self._created_s = time.monotonic()
        self.connection.call(self, WATCH_METHOD, self._create_message(0))

    def _create_message(self, number: int) -> bytes:
        return rpc_pb2.WatchRequest(create_request=self._requests[number]).SerializeToString()

    def ended(self, status: Status) -> None:
        self.events.fail(failed("the watch stream ended") if status is OK else status)
        if not self.done.done():
            self.done.set_result(None)
        if self.on_event is not None:
            self.on_event()

    def message(self, message: bytes) -> None:
        response = rpc_pb2.WatchResponse.FromString(message)
        now_s = self.connection.now
        if response.created:
            self._take_created(response, now_s)
        if response.canceled:
            reason = response.cancel_reason or "for no reason given"
            self.events.fail(Status("Canceled", f"the server canceled a watcher: {reason}"))
        if response.events:
            self._take_events(response, now_s)

    def _take_created(self, response: rpc_pb2.WatchResponse, now_s: float) -> None:
        self._create.latencies.append(now_s - self._created_s)
        self.watchers[response.watch_id] = len(self.watchers)
        self._created_s = now_s
        if len(self.watchers) < len(self._requests):
            self.connection.send(self, self._create_message(len(self.watchers)))
        elif not self.done.done():
            self.done.set_result(None)

    def _take_events(self, response: rpc_pb2.WatchResponse, now_s: float) -> None:
        latencies = self.events.latencies
        for event in response.events:
            if event.type == kv_pb2.Event.PUT and len(event.kv.value) >= STAMP.size:
                latencies.append(now_s - STAMP.unpack_from(event.kv.value)[0])
        self.counts[self.watchers[response.watch_id]] += len(response.events)
        if self.on_event is not None:
            self.on_event()


async def open_all(worker: Worker, streams: Sequence[WatchStream]) -> None:
    """Create all watchers of all streams. Raises CallFailed when it takes too long."""
    for stream in streams:
        stream.open()
    watchers = sum(stream.wanted for stream in streams)
    try:
        async with asyncio.timeout(worker.options.timeout_s + watchers / 1000):
            await asyncio.gather(*(stream.done for stream in streams))
    except TimeoutError:
        made = sum(len(stream.watchers) for stream in streams)
        text = f"only {made} of {watchers} watchers were created in time"
        raise CallFailed(Status("DeadlineExceeded", text)) from None


async def _watch_and_put(
    worker: Worker, keys: Sequence[bytes], streams: int, watchers: int, *, prev_kv: bool
) -> None:
    """Create `streams` with `watchers` each, on the keys in turn; put; wait for the events."""
    begun_s = await worker.begin(watch_make="Watch creation summary:")
    create = worker.operation("watch-make")
    events = Operation("watch-put", "Watch events received summary:", begun_s, begun_s)
    opened: list[tuple[WatchStream, list[int]]] = []
    for number in range(worker.index, streams, worker.count):
        chosen = [(number * watchers + each) % len(keys) for each in range(watchers)]
        requests = [rpc_pb2.WatchCreateRequest(key=keys[each], prev_kv=prev_kv) for each in chosen]
        connection = worker.connections[len(opened) % len(worker.connections)]
        opened.append((WatchStream(connection, requests, create, events), chosen))
    await open_all(worker, [stream for stream, _ in opened])
    worker.recorder.fold(time.monotonic())
    begun_s = await worker.begin()
    put = worker.recorder.operation("put", begun_s, "Put summary:")
    events.begin_s = events.end_s = begun_s
    worker.recorder.operations["watch-put"] = events
    sent = await _put(worker, put, keys)
    await _wait_for_events(worker, events, opened, sent)
    for stream, _ in opened:
        stream.connection.cancel(stream)


async def _put(worker: Worker, put: Operation, keys: Sequence[bytes]) -> Counter[int]:
    """Put the keys in turn; returns how often each was put by any worker."""
    total = worker.number("put-total") if not worker.options.duration_s else 0
    pace = worker.pace(total, worker.seconds("put-rate"))
    padding = bytes(max(0, worker.number("val-size") - STAMP.size))
    sent: Counter[int] = Counter()
    number = worker.share(total).start if total else worker.index

    def next_request() -> tuple[Operation, Method, bytes]:
        nonlocal number
        which = number % len(keys)
        number += 1 if total else worker.count
        sent[which] += 1
        # The rate's own start of this request is what its client took as it began.
        value = stamped(loop.started_s, padding)
        return put, PUT_METHOD, rpc_pb2.PutRequest(key=keys[which], value=value).SerializeToString()

    loop = CallLoop(worker.connections, len(worker.clients), pace, next_request)
    await worker.run_loop(loop)
    together: Counter[int] = Counter()
    for each in await worker.exchange(
        [[sent[which] for which in range(len(keys))], put.error_count]
    ):
        counts, errors = cast("tuple[list[int], int]", each)
        together.update(dict(enumerate(counts)))
        if errors and worker.index == 0:
            worker.notes.append(f"{errors} puts failed: their events cannot be told from lost ones")
    return together


async def _wait_for_events(
    worker: Worker,
    events: Operation,
    opened: Sequence[tuple[WatchStream, list[int]]],
    sent: Mapping[int, int],
) -> None:
    """Until each watcher got what was put to its key; what is missing then is an error."""
    expected = sum(sent[which] for _, chosen in opened for which in chosen)
    arrived = asyncio.Event()
    for stream, _ in opened:
        stream.on_event = arrived.set
    late = False
    while not late and not all(stream.has_ended for stream, _ in opened):
        got = sum(stream.counts.total() for stream, _ in opened)
        if got >= expected:
            break
        arrived.clear()
        try:
            async with asyncio.timeout(_LATE_S):
                await arrived.wait()
        except TimeoutError:
            late = True
    missing = expected - sum(stream.counts.total() for stream, _ in opened)
    if missing > 0:
        events.errors[failed("an event did not arrive")] += missing
    worker.recorder.fold(time.monotonic())


# --- watch


async def _watch(worker: Worker) -> None:
    await _watch_and_put(
        worker,
        _watched(worker),
        worker.number("streams"),
        worker.number("watch-per-stream"),
        prev_kv=False,
    )


def _watched(worker: Worker) -> list[bytes]:
    """The keys, the same ones in every worker and different from each other."""
    size, total = worker.number("key-size"), worker.number("watched-key-total")
    keys = key_maker(size, total, 0, sequential=True)
    return [next(keys) for _ in range(total)]


def _check_watch(parameters: Mapping[str, Value]) -> None:
    positive(parameters, "streams", "watch-per-stream", "watched-key-total", "key-size")
    positive(parameters, "put-total")
    size, total = int(parameters["key-size"]), int(parameters["watched-key-total"])
    if len(str(total - 1)) > size:
        raise UsageError(f"{total} keys (--watched-key-total) do not fit into --key-size {size}")


PUT_TOTAL: Final = Parameter(
    name="put-total", default=1000, help="How many puts, unless --duration is given"
)

WATCH: Final = Workload(
    name="watch",
    summary="Create watchers, then put the keys that they watch.",
    description="First the watchers are created, one after the other in each stream, and timed. "
    "Then the watched keys are put in turn, and every event is timed from when its put was meant "
    "to begin to its arrival.",
    run=_watch,
    check=_check_watch,
    parameters=(
        Parameter(name="streams", default=10, help="Watch streams"),
        Parameter(name="watch-per-stream", default=100, help="Watchers in each stream"),
        Parameter(name="watched-key-total", default=1, help="How many keys are watched"),
        Parameter(name="put-rate", default=0.0, help="Puts per second, 0 for no limit"),
        PUT_TOTAL,
        Parameter(name="key-size", default=32, help="Key size, in bytes"),
        Parameter(name="val-size", default=8, help="Value size, in bytes, 8 at least"),
    ),
    total=0,
    has_total=False,
    has_rate=False,
)


# --- watch-latency


async def _watch_latency(worker: Worker) -> None:
    keys = key_maker(worker.number("key-size"), 1, 0, sequential=True)
    await _watch_and_put(
        worker,
        [next(keys)],
        worker.number("streams"),
        worker.number("watchers-per-stream"),
        prev_kv=bool(worker.parameter("prevkv")),
    )


def _check_watch_latency(parameters: Mapping[str, Value]) -> None:
    positive(parameters, "streams", "watchers-per-stream", "put-total", "put-rate", "key-size")


WATCH_LATENCY: Final = Workload(
    name="watch-latency",
    summary="The time from a put to its event, at a constant rate.",
    description="Every event is timed from when its put was meant to begin to its arrival. (etcd's "
    "tool begins when the put was answered.)",
    run=_watch_latency,
    check=_check_watch_latency,
    parameters=(
        Parameter(name="streams", default=10, help="Watch streams"),
        Parameter(name="watchers-per-stream", default=10, help="Watchers in each stream"),
        Parameter(name="prevkv", default=False, help="Ask for the previous value in each event"),
        Parameter(name="put-rate", default=100.0, help="Puts per second"),
        PUT_TOTAL,
        Parameter(name="key-size", default=32, help="Key size, in bytes"),
        Parameter(name="val-size", default=32, help="Value size, in bytes, 8 at least"),
    ),
    total=0,
    has_total=False,
    has_rate=False,
)
