"""The calls that an API server makes: their shapes, the objects they are about, and their clock.

Each kind is a method of `Mix` that is told when its call was meant to begin, and counts as an
operation of its own.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from kvstore.bench.awaited import CallFailed
from kvstore.bench.blocks import OK, Status, failed
from kvstore.bench.http2 import Call, Method
from kvstore.bench.loop import message_of
from kvstore.bench.pace import Pace
from kvstore.bench.recorder import Operation
from kvstore.bench.worker import Worker
from kvstore.bench.workloads.base import (
    COMPACT,
    RANGE_METHOD,
    TXN_METHOD,
)
from kvstore.bench.workloads.kubernetes_tiers import Tier
from kvstore.bench.workloads.lease import grant
from kvstore.bench.workloads.watch import STAMP, stamped
from kvstore.proto import rpc_pb2

__all__ = ["EVENTS", "LEASES", "NODES", "OPERATIONS", "PODS", "Mix"]

LEASES: Final = b"/registry/leases/kube-node-lease/"
NODES: Final = b"/registry/minions/"
PODS: Final = b"/registry/pods/"
EVENTS: Final = b"/registry/events/"
COMPACT_KEY: Final = b"compact_rev_key"

LEASE_BYTES, NODE_BYTES, POD_BYTES, EVENT_BYTES = 300, 10_000, 4_000, 1_000
EVENT_TTL_S: Final = 3660
EVENTS_PER_LEASE: Final = 1000
LEASE_REUSE_S: Final = 60.0
_FILL_BATCH: Final = 64

UPDATES_OF_A_POD: Final = 5
"""After its creation: the binding and four of its status. Then it is deleted."""

OPERATIONS: Final = (
    "lease-update",
    "status-update",
    "pod-write",
    "event-create",
    "lease-grant",
    "get",
    "current-revision",
    "list-page",
    "compact",
)


class _Object:
    """A key with the revision of its last change, 0 when it is not there; busy during a write."""

    __slots__ = ("key", "revision", "updates")

    def __init__(self, key: bytes, revision: int = 0) -> None:
        self.key, self.revision, self.updates = key, revision, 0


def guarded_put(key: bytes, revision: int, value: bytes, lease: int = 0) -> bytes:
    """The Txn of a create (revision 0) or an update."""
    put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value, lease=lease))
    return _guarded(key, revision, put)


def guarded_delete(key: bytes, revision: int) -> bytes:
    delete = rpc_pb2.DeleteRangeRequest(key=key)
    return _guarded(key, revision, rpc_pb2.RequestOp(request_delete_range=delete))


def _guarded(key: bytes, revision: int, op: rpc_pb2.RequestOp) -> bytes:
    compare = rpc_pb2.Compare(
        key=key,
        target=rpc_pb2.Compare.MOD,
        result=rpc_pb2.Compare.EQUAL,
        mod_revision=revision,
    )
    read = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key))
    failure = [read] if revision else []
    return rpc_pb2.TxnRequest(compare=[compare], success=[op], failure=failure).SerializeToString()


class _Timed(Call):
    """A call of the mix; it is made for each, since their number changes."""

    __slots__ = ("_done", "_mix", "_operation", "_start_s")

    def __init__(
        self, mix: Mix, operation: Operation, start_s: float, done: Callable[[bytes], Status]
    ) -> None:
        super().__init__()
        self._mix, self._operation, self._start_s, self._done = mix, operation, start_s, done

    def ended(self, status: Status) -> None:
        if status is OK:
            status = self._done(message_of(self.body))
        if status is OK:
            self._operation.latencies.append(self._mix.connection.now - self._start_s)
        else:
            self._operation.fail(status)
        self._mix.ended()


class Mix:
    """The calls of one worker."""

    def __init__(self, worker: Worker, tier: Tier) -> None:
        self.worker, self.tier = worker, tier
        self.connection = worker.connections[0]
        self.open_calls = 0
        self._answered = asyncio.Event()
        self.leases = self._objects(LEASES + b"node-%06d", tier.nodes)
        self.nodes = self._objects(NODES + b"node-%06d", tier.nodes)
        self.pods = self._objects(PODS + b"namespace-0/pod-%08d", tier.pods)
        self.living: deque[_Object] = deque()
        self._pod_number = tier.pods + worker.index
        self._event_number = worker.index
        self._run_name = b"%08x" % random.getrandbits(32)
        self._event_lease = 0
        self._event_lease_until_s = 0.0
        self._event_lease_left = 0
        self._padding = random.randbytes(NODE_BYTES)
        self._turns: list[tuple[Pace, Callable[[float], None]]] = []
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _objects(self, layout: bytes, total: int) -> deque[_Object]:
        return deque(_Object(layout % number) for number in self.worker.share(total))

    def value(self, start_s: float, size: int) -> bytes:
        return stamped(start_s, self._padding[: size - STAMP.size])

    # --- filling

    async def fill(self) -> None:
        """Make the objects that a cluster has, several in each Txn. Raises CallFailed."""
        for objects, size in (
            (self.leases, LEASE_BYTES),
            (self.nodes, NODE_BYTES),
            (self.pods, POD_BYTES // 2),
        ):
            every = list(objects)
            for begin in range(0, len(every), _FILL_BATCH):
                batch = every[begin : begin + _FILL_BATCH]
                puts = [
                    rpc_pb2.PutRequest(key=each.key, value=self.value(0.0, size)) for each in batch
                ]
                txn = rpc_pb2.TxnRequest(
                    success=[rpc_pb2.RequestOp(request_put=put) for put in puts]
                )
                answer = await self.worker.unary(
                    self.connection, TXN_METHOD, txn.SerializeToString()
                )
                revision = rpc_pb2.TxnResponse.FromString(answer).header.revision
                for each in batch:
                    each.revision = revision
        self._event_lease = await grant(self.worker, EVENT_TTL_S)
        self._event_lease_left = EVENTS_PER_LEASE
        self._event_lease_until_s = time.monotonic() + LEASE_REUSE_S

    # --- calls, each told when it was meant to begin

    def update_lease(self, start_s: float) -> None:
        self._update(self.leases, "lease-update", LEASE_BYTES, start_s)

    def update_status(self, start_s: float) -> None:
        self._update(self.nodes, "status-update", NODE_BYTES, start_s)

    def _update(self, objects: deque[_Object], name: str, size: int, start_s: float) -> None:
        if not objects:
            self.worker.skipped += 1
            return
        chosen = objects.popleft()
        message = guarded_put(chosen.key, chosen.revision, self.value(start_s, size))
        self._write(name, chosen, message, start_s, objects.append)

    def write_pod(self, start_s: float) -> None:
        """The next step of the pod that was left alone for the longest time, or a new pod."""
        if self.living and (len(self.living) > 200 or random.random() < 0.85):
            pod = self.living.popleft()
        else:
            pod = _Object(PODS + b"namespace-1/pod-%s-%08d" % (self._run_name, self._pod_number))
            self._pod_number += self.worker.count
        if pod.updates > UPDATES_OF_A_POD:
            message = guarded_delete(pod.key, pod.revision)
            self._write("pod-write", pod, message, start_s, lambda gone: None)
            return
        pod.updates += 1
        message = guarded_put(pod.key, pod.revision, self.value(start_s, POD_BYTES))
        self._write("pod-write", pod, message, start_s, self.living.append)

    def create_event(self, start_s: float) -> None:
        key = EVENTS + b"namespace-1/event-%s-%08d" % (self._run_name, self._event_number)
        self._event_number += self.worker.count
        self._event_lease_left -= 1
        value = self.value(start_s, EVENT_BYTES)
        message = guarded_put(key, 0, value, self._event_lease)
        self._write("event-create", _Object(key), message, start_s, lambda made: None)

    async def renew_event_lease(self) -> None:
        """Have a lease for the next events, before the one that is used is worn out."""
        while not self._over.done():
            now_s = time.monotonic()
            if (
                self._event_lease_left <= EVENTS_PER_LEASE // 10
                or now_s > self._event_lease_until_s
            ):
                operation = self.worker.operation("lease-grant")
                try:
                    self._event_lease = await grant(self.worker, EVENT_TTL_S)
                    operation.latencies.append(time.monotonic() - now_s)
                except CallFailed as failure:
                    operation.fail(failure.status)
                self._event_lease_left = EVENTS_PER_LEASE
                self._event_lease_until_s = now_s + LEASE_REUSE_S
            await asyncio.wait([self._over], timeout=0.05)

    def get(self, start_s: float) -> None:
        objects = random.choice((self.leases, self.nodes, self.pods))
        key = random.choice(objects).key if objects else LEASES
        self._read("get", key, start_s)

    def current_revision(self, start_s: float) -> None:
        self._read("current-revision", PODS[:-1], start_s)

    def _read(self, name: str, key: bytes, start_s: float) -> None:
        message = rpc_pb2.RangeRequest(key=key, limit=1).SerializeToString()
        self._call(name, RANGE_METHOD, message, start_s, lambda answer: OK)

    def _write(
        self,
        name: str,
        written: _Object,
        message: bytes,
        start_s: float,
        give_back: Callable[[_Object], None],
    ) -> None:
        def done(answer: bytes) -> Status:
            response = rpc_pb2.TxnResponse.FromString(answer)
            if response.succeeded:
                written.revision = response.header.revision
                give_back(written)
                return OK
            if response.responses and response.responses[0].response_range.kvs:
                written.revision = response.responses[0].response_range.kvs[0].mod_revision
                give_back(written)
            return failed("the compare of the transaction failed")

        self._call(name, TXN_METHOD, message, start_s, done)

    def _call(
        self,
        name: str,
        method: Method,
        message: bytes,
        start_s: float,
        done: Callable[[bytes], Status],
    ) -> None:
        self.open_calls += 1
        operation = self.worker.recorder.operations[name]
        self.connection.call(_Timed(self, operation, start_s, done), method, message)

    def ended(self) -> None:
        self.open_calls -= 1
        self._answered.set()

    # --- the clock of the mix

    def at_rate(self, rate: float, begin: Callable[[float], None]) -> None:
        """Call `begin` at the worker's part of a rate."""
        if rate > 0:
            self._turns.append((self.worker.pace(0, rate), begin))

    async def run(self) -> None:
        """Until the duration ends or the user says stop; then until all is answered."""
        loop = asyncio.get_running_loop()
        self.worker.on_stop(self._stop)

        def turn() -> None:
            if self._over.done():
                return
            now_s = time.monotonic()
            next_s = math.inf
            for pace, begin in self._turns:
                while (start_s := pace.take(now_s)) is not None:
                    begin(start_s)
                next_s = min(next_s, pace.due_s, pace.until_s)
            if all(pace.is_over(now_s) for pace, _ in self._turns):
                self._stop()
            else:
                loop.call_at(next_s, turn)

        turn()
        await self._over
        self.worker.skipped += sum(pace.overdue() for pace, _ in self._turns)
        deadline_s = time.monotonic() + self.worker.options.timeout_s
        while self.open_calls and time.monotonic() < deadline_s and not self.connection.is_dead:
            self._answered.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await self._answered.wait()
        if self.open_calls:
            text = f"{self.open_calls} calls were not answered"
            self.worker.operation("get").fail(Status("DeadlineExceeded", text))

    def _stop(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    # --- one process does these alone

    async def list_pods(self) -> None:
        """All pods in pages, in intervals, as an API server that starts or checks its cache."""
        pages, limit = self.worker.operation("list-page"), self.worker.number("limit")
        connection = await self.worker.connect()
        while not self._over.done():
            await asyncio.wait([self._over], timeout=self.worker.seconds("list-interval"))
            key, revision, got, more = PODS, 0, 0, True
            try:
                while more and not self._over.done():
                    begin_s = time.monotonic()
                    request = rpc_pb2.RangeRequest(
                        key=key, range_end=PODS[:-1] + b"0", limit=limit, revision=revision
                    )
                    answer = await self.worker.unary(
                        connection, RANGE_METHOD, request.SerializeToString()
                    )
                    response = rpc_pb2.RangeResponse.FromString(answer)
                    pages.latencies.append(time.monotonic() - begin_s)
                    if len(response.kvs) > response.count or response.more != (
                        len(response.kvs) < response.count
                    ):
                        pages.fail(failed("count and more of a page contradict each other"))
                    got, more = got + len(response.kvs), response.more
                    key = response.kvs[-1].key + b"\x00" if response.kvs else key
                    revision = revision or response.header.revision
            except CallFailed as failure:
                pages.fail(failure.status)

    async def compact(self) -> None:
        """The compactor: count its turn in a key, then compact to where the turn before was."""
        operation = self.worker.operation("compact")
        version = revision = 0
        while not self._over.done():
            await asyncio.wait([self._over], timeout=self.worker.seconds("compact-interval"))
            if self._over.done():
                return
            begin_s = time.monotonic()
            try:
                version, reached = await self._compactor_turn(version, revision)
                if revision:
                    request = rpc_pb2.CompactionRequest(revision=revision)
                    await self.worker.unary(self.connection, COMPACT, request.SerializeToString())
                    operation.latencies.append(time.monotonic() - begin_s)
                revision = reached
            except CallFailed as failure:
                operation.fail(failure.status)

    async def _compactor_turn(self, version: int, revision: int) -> tuple[int, int]:
        """(version of the key, revision now); somebody else's turn is taken for our own."""
        compare = rpc_pb2.Compare(
            key=COMPACT_KEY,
            target=rpc_pb2.Compare.VERSION,
            result=rpc_pb2.Compare.EQUAL,
            version=version,
        )
        put = rpc_pb2.PutRequest(key=COMPACT_KEY, value=b"%d" % revision)
        txn = rpc_pb2.TxnRequest(
            compare=[compare],
            success=[rpc_pb2.RequestOp(request_put=put)],
            failure=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=COMPACT_KEY))],
        )
        answer = await self.worker.unary(self.connection, TXN_METHOD, txn.SerializeToString())
        response = rpc_pb2.TxnResponse.FromString(answer)
        if response.succeeded:
            return version + 1, response.header.revision
        return response.responses[0].response_range.kvs[0].version, response.header.revision
