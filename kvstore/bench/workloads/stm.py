"""stm: software transactional memory, as etcd's client package "concurrency" has it.

A transaction reads its keys, puts some of them and commits; when another one came between it begins
again, and its latency counts to the end of the attempt that committed. The isolations are

    c    ReadCommitted          reads see what is committed; the commit compares nothing
    r    RepeatableReads        a key is read once; the commit compares that it is still as it was
    s    Serializable           as r, and all reads are at the revision of the first one
    ss   SerializableSnapshot   as s, and what is written was not changed since that revision

Around a transaction there may be a lock: "lock-client" is a mutex made of keys that the client puts
itself (the owner is the key that was created first, the others watch for its deletion), "lock-rpc"
asks the service Lock of the endpoint.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Final

from kvstore.bench.awaited import CallFailed
from kvstore.bench.blocks import Status
from kvstore.bench.errors import UsageError
from kvstore.bench.http2 import Call, Connection, Method
from kvstore.bench.options import Value
from kvstore.bench.pace import Pace
from kvstore.bench.recorder import Operation
from kvstore.bench.worker import Worker
from kvstore.bench.workloads.base import (
    RANGE_METHOD,
    TXN_METHOD,
    Parameter,
    Workload,
    positive,
    random_value,
)
from kvstore.bench.workloads.lease import grant, revoke
from kvstore.bench.workloads.watch import WATCH_METHOD
from kvstore.proto import rpc_pb2, v3lock_pb2

__all__ = ["STM"]

_LOCK: Final = Method("/v3lockpb.Lock/Lock")
_UNLOCK: Final = Method("/v3lockpb.Lock/Unlock")
_DELETE: Final = Method("/etcdserverpb.KV/DeleteRange")
_LOCK_NAME: Final = b"stmlock"
_LOCK_TTL_S: Final = 60
_MOST_ATTEMPTS: Final = 10_000


async def _run(worker: Worker) -> None:
    leases = []
    if worker.text("stm-locker") != "stm":
        leases = [await grant(worker, _LOCK_TTL_S) for _ in worker.clients]
    await worker.begin(stm="")
    operation = worker.operation("stm")
    pace = worker.pace(worker.options.total)
    worker.on_stop(lambda: pace.stop(time.monotonic()))
    await asyncio.gather(
        *(
            _client(
                worker,
                worker.connections[number % len(worker.connections)],
                pace,
                operation,
                leases[number] if leases else 0,
            )
            for number in range(len(worker.clients))
        )
    )
    worker.sent += pace.given
    worker.skipped += pace.overdue()
    await revoke(worker, leases, operation)


async def _client(
    worker: Worker, connection: Connection, pace: Pace, operation: Operation, lease: int
) -> None:
    """One transaction after the other."""
    per_txn = worker.number("keys-per-txn")
    keys = _keys(worker.number("keys"), per_txn)
    writes = per_txn * worker.number("txn-wr-percent") // 100
    lock = _lock(worker, connection, lease)
    while not connection.is_dead:
        now_s = time.monotonic()
        start_s = pace.take(now_s)
        if start_s is None:
            if pace.is_over(now_s):
                return
            await asyncio.sleep(max(0.0, min(pace.due_s, pace.until_s) - now_s))
            continue
        chosen = [b"%016d" % each for each in random.sample(range(keys), per_txn)]
        value = random_value(worker.number("val-size"))
        try:
            await lock.take()
            try:
                await _transact(worker, connection, chosen, dict.fromkeys(chosen[:writes], value))
            finally:
                await lock.release()
        except CallFailed as failure:
            operation.fail(failure.status)
        else:
            operation.latencies.append(time.monotonic() - start_s)


async def _transact(
    worker: Worker, connection: Connection, keys: list[bytes], writes: dict[bytes, bytes]
) -> None:
    """Read, then commit, until nothing came between. Raises CallFailed."""
    isolation = worker.text("isolation")
    for _ in range(_MOST_ATTEMPTS):
        seen, first = await _read(worker, connection, keys, isolation)
        compares = [] if isolation == "c" else [_unchanged(key, mod) for key, mod in seen.items()]
        if isolation == "ss":
            compares += [_older(key, first + 1) for key in writes]
        if not compares and not writes:
            return
        puts = [rpc_pb2.PutRequest(key=key, value=value) for key, value in writes.items()]
        txn = rpc_pb2.TxnRequest(
            compare=compares, success=[rpc_pb2.RequestOp(request_put=put) for put in puts]
        )
        answer = await worker.unary(connection, TXN_METHOD, txn.SerializeToString())
        if rpc_pb2.TxnResponse.FromString(answer).succeeded:
            return
    raise CallFailed(Status("Aborted", f"no commit in {_MOST_ATTEMPTS} attempts"))


async def _read(
    worker: Worker, connection: Connection, keys: list[bytes], isolation: str
) -> tuple[dict[bytes, int], int]:
    """(mod revision by key, 0 when it is not there; the revision of the first read)."""
    seen: dict[bytes, int] = {}
    first = 0
    for key in keys:
        request = rpc_pb2.RangeRequest(key=key)
        if first and isolation in ("s", "ss"):
            request.revision, request.serializable = first, True
        answer = await worker.unary(connection, RANGE_METHOD, request.SerializeToString())
        response = rpc_pb2.RangeResponse.FromString(answer)
        seen[key] = response.kvs[0].mod_revision if response.kvs else 0
        first = first or response.header.revision
    return seen, first


def _unchanged(key: bytes, mod_revision: int) -> rpc_pb2.Compare:
    return rpc_pb2.Compare(
        key=key,
        target=rpc_pb2.Compare.MOD,
        result=rpc_pb2.Compare.EQUAL,
        mod_revision=mod_revision,
    )


def _older(key: bytes, revision: int) -> rpc_pb2.Compare:
    return rpc_pb2.Compare(
        key=key, target=rpc_pb2.Compare.MOD, result=rpc_pb2.Compare.LESS, mod_revision=revision
    )


# --- locks


class _NoLock:
    async def take(self) -> None:
        """Nothing to wait for."""

    async def release(self) -> None:
        """Nothing was taken."""


class _RpcLock(_NoLock):
    """The service Lock."""

    def __init__(self, worker: Worker, connection: Connection, lease: int) -> None:
        self._worker, self._connection, self._lease = worker, connection, lease
        self._key = b""

    async def take(self) -> None:
        request = v3lock_pb2.LockRequest(name=_LOCK_NAME, lease=self._lease)
        answer = await self._worker.unary(self._connection, _LOCK, request.SerializeToString())
        self._key = v3lock_pb2.LockResponse.FromString(answer).key

    async def release(self) -> None:
        request = v3lock_pb2.UnlockRequest(key=self._key)
        await self._worker.unary(self._connection, _UNLOCK, request.SerializeToString())


class _Deletion(Call):
    """Waits on a stream of its own until a key is deleted."""

    __slots__ = ("gone",)

    def __init__(self) -> None:
        super().__init__(is_stream=True)
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(self, status: Status) -> None:
        if not self.gone.done():
            self.gone.set_exception(CallFailed(status))

    def message(self, message: bytes) -> None:
        response = rpc_pb2.WatchResponse.FromString(message)
        if (response.events or response.canceled) and not self.gone.done():
            self.gone.set_result(None)


class _KeyLock(_NoLock):
    """A mutex made of keys: each client that wants it puts a key, the oldest key has it."""

    def __init__(self, worker: Worker, connection: Connection, lease: int) -> None:
        self._worker, self._connection, self._lease = worker, connection, lease
        self._key = b"%s/%x" % (_LOCK_NAME, lease)

    async def take(self) -> None:
        put = rpc_pb2.PutRequest(key=self._key, lease=self._lease)
        request = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_put=put)])
        answer = await self._worker.unary(self._connection, TXN_METHOD, request.SerializeToString())
        mine = rpc_pb2.TxnResponse.FromString(answer).header.revision
        while (before := await self._owner_before(mine)) is not None:
            await self._wait_for_deletion(*before)

    async def _owner_before(self, mine: int) -> tuple[bytes, int] | None:
        """(key, revision of this read) of the youngest that is older than ours."""
        request = rpc_pb2.RangeRequest(
            key=_LOCK_NAME + b"/",
            range_end=_LOCK_NAME + b"0",
            max_create_revision=mine - 1,
            sort_target=rpc_pb2.RangeRequest.CREATE,
            sort_order=rpc_pb2.RangeRequest.DESCEND,
            limit=1,
        )
        answer = await self._worker.unary(
            self._connection, RANGE_METHOD, request.SerializeToString()
        )
        response = rpc_pb2.RangeResponse.FromString(answer)
        return (response.kvs[0].key, response.header.revision) if response.kvs else None

    async def _wait_for_deletion(self, key: bytes, revision: int) -> None:
        create = rpc_pb2.WatchCreateRequest(
            key=key, start_revision=revision + 1, filters=[rpc_pb2.WatchCreateRequest.NOPUT]
        )
        deletion = _Deletion()
        message = rpc_pb2.WatchRequest(create_request=create).SerializeToString()
        self._connection.call(deletion, WATCH_METHOD, message)
        try:
            async with asyncio.timeout(_LOCK_TTL_S):
                await deletion.gone
        except TimeoutError:
            raise CallFailed(Status("DeadlineExceeded", "the lock was not free in time")) from None
        finally:
            self._connection.cancel(deletion)

    async def release(self) -> None:
        request = rpc_pb2.DeleteRangeRequest(key=self._key)
        await self._worker.unary(self._connection, _DELETE, request.SerializeToString())


def _lock(worker: Worker, connection: Connection, lease: int) -> _NoLock:
    match worker.text("stm-locker"):
        case "lock-rpc":
            return _RpcLock(worker, connection, lease)
        case "lock-client":
            return _KeyLock(worker, connection, lease)
        case _:
            return _NoLock()


def _keys(asked: int, per_txn: int) -> int:
    """How many keys there are: those asked for, or just enough."""
    return asked or max(1, per_txn)


def _check(parameters: Mapping[str, Value]) -> None:
    if parameters["keys"]:
        positive(parameters, "keys")
    per_txn = int(parameters["keys-per-txn"])
    keys = _keys(int(parameters["keys"]), per_txn)
    percent = int(parameters["txn-wr-percent"])
    if not 0 <= percent <= 100:
        raise UsageError(f"expected [0, 100] --txn-wr-percent, got ({percent})")
    if not 0 <= per_txn <= keys:
        raise UsageError(f"expected --keys-per-txn between 0 and {keys}, got ({per_txn})")


STM: Final = Workload(
    name="stm",
    summary="Transactions in the client's memory, repeated on a conflict.",
    description="The transactions run in the client, as in etcd's client package: keys are read, "
    "some are put, and a Txn commits when what was read still holds; if not, it begins again. "
    "Isolation: c is ReadCommitted, r RepeatableReads, s Serializable, ss SerializableSnapshot. "
    "Locker: stm takes none, lock-client a mutex made of keys, lock-rpc the Lock service.",
    run=_run,
    check=_check,
    parameters=(
        Parameter(
            name="isolation", default="r", help="c, r, s or ss", choices=("c", "r", "s", "ss")
        ),
        Parameter(
            name="keys", default=0, help="How many keys there are, 0 for as many as --keys-per-txn"
        ),
        Parameter(name="keys-per-txn", default=1, help="Keys in each transaction"),
        Parameter(name="txn-wr-percent", default=50, help="Percentage of them to put"),
        Parameter(
            name="stm-locker",
            default="stm",
            help="Lock around each transaction",
            choices=("stm", "lock-client", "lock-rpc"),
            aliases=("locker",),
        ),
        Parameter(name="val-size", default=8, help="Value size of a put, in bytes"),
    ),
)
