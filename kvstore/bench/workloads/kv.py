"""put, range, txn-put and txn-mixed: clients that make one call of the KV service after another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Final

from kvstore.bench.awaited import CallFailed
from kvstore.bench.blocks import OK, Status, failed
from kvstore.bench.errors import UsageError
from kvstore.bench.http2 import Method
from kvstore.bench.loop import CallLoop, Check, Next
from kvstore.bench.options import Value
from kvstore.bench.recorder import Operation
from kvstore.bench.worker import Worker
from kvstore.bench.workloads.base import (
    COMPACT,
    PUT_METHOD,
    RANGE_METHOD,
    TXN_METHOD,
    Parameter,
    Workload,
    key_maker,
    positive,
    put_parts,
    random_value,
)
from kvstore.proto import rpc_pb2

__all__ = ["PUT", "RANGE", "TXN_MIXED", "TXN_PUT"]

HASH_KV: Final = Method("/etcdserverpb.Maintenance/HashKV")

KEY_SIZE: Final = Parameter(name="key-size", default=8, help="Key size of a put, in bytes")
VAL_SIZE: Final = Parameter(name="val-size", default=8, help="Value size of a put, in bytes")
KEY_SPACE: Final = Parameter(name="key-space-size", default=1, help="How many keys there may be")
CONSISTENCY: Final = Parameter(
    name="consistency", default="l", help="Linearizable (l) or Serializable (s)", choices=("l", "s")
)


async def _loop(worker: Worker, next_request: Next, check: Check | None = None) -> None:
    """All clients of the worker, until the run ends."""
    loop = CallLoop(
        worker.connections,
        len(worker.clients),
        worker.pace(worker.options.total),
        next_request,
        check,
    )
    await worker.run_loop(loop)


# --- put


async def _put(worker: Worker) -> None:
    await worker.begin(put="")
    put = worker.operation("put")
    size, value = worker.number("key-size"), random_value(worker.number("val-size"))
    keys = key_maker(
        size,
        worker.number("key-space-size"),
        worker.share(worker.options.total).start,
        sequential=bool(worker.parameter("sequential-keys")),
    )
    before, after = put_parts(size, value)

    def next_request() -> tuple[Operation, Method, bytes]:
        return put, PUT_METHOD, before + next(keys) + after

    compacting = None
    if worker.index == 0 and worker.seconds("compact-interval") > 0:
        worker.client_count += 1
        compacting = asyncio.create_task(_compact(worker))
    try:
        await _loop(worker, next_request)
    finally:
        if compacting is not None:
            compacting.cancel()
    await worker.exchange(None)
    if worker.index == 0 and worker.parameter("check-hashkv"):
        await _hash_kv(worker)


async def _compact(worker: Worker) -> None:
    """Compact in intervals to some revisions before the newest."""
    connection = await worker.connect()
    compact = worker.operation("compact")
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(worker.seconds("compact-interval"))
        begin_s = loop.time()
        try:
            asked = rpc_pb2.RangeRequest(key=b"\x00", limit=1, count_only=True)
            answer = await worker.unary(connection, RANGE_METHOD, asked.SerializeToString())
            newest = rpc_pb2.RangeResponse.FromString(answer).header.revision
            revision = newest - worker.number("compact-index-delta")
            if revision > 0:
                request = rpc_pb2.CompactionRequest(revision=revision)
                await worker.unary(connection, COMPACT, request.SerializeToString())
                compact.latencies.append(loop.time() - begin_s)
        except CallFailed as failure:
            compact.fail(failure.status)


async def _hash_kv(worker: Worker) -> None:
    begin_s = asyncio.get_running_loop().time()
    request = rpc_pb2.HashKVRequest()
    try:
        answer = await worker.unary(worker.connections[0], HASH_KV, request.SerializeToString())
    except CallFailed as failure:
        worker.operation("hashkv").fail(failure.status)
        return
    seconds = asyncio.get_running_loop().time() - begin_s
    response = rpc_pb2.HashKVResponse.FromString(answer)
    worker.notes.append(
        f"HashKV: {response.hash} at revision {response.header.revision}, taken in {seconds:.4f} s"
    )


def _check_put(parameters: Mapping[str, Value]) -> None:
    positive(parameters, "key-size", "key-space-size")
    _check_keys_fit(parameters)


def _check_keys_fit(parameters: Mapping[str, Value]) -> None:
    size, space = parameters["key-size"], parameters["key-space-size"]
    assert isinstance(size, int)
    assert isinstance(space, int)
    next(key_maker(size, space, 0, sequential=True))
    if int(parameters["val-size"]) < 0:
        raise UsageError(f"--val-size cannot be negative, got ({parameters['val-size']})")


PUT: Final = Workload(
    name="put",
    summary="Put keys.",
    run=_put,
    check=_check_put,
    parameters=(
        KEY_SIZE,
        VAL_SIZE,
        KEY_SPACE,
        Parameter(name="sequential-keys", default=False, help="Use the keys one after the other"),
        Parameter(name="compact-interval", default=0.0, help="Compact so often", is_duration=True),
        Parameter(
            name="compact-index-delta",
            default=1000,
            help="Compact to so many revisions before the newest",
        ),
        Parameter(
            name="check-hashkv", default=False, help="Ask for the hash of all keys at the end"
        ),
    ),
)


# --- range


async def _range(worker: Worker) -> None:
    await worker.begin(range="")
    operation = worker.operation("range")
    message = _range_request(worker).SerializeToString()

    def next_request() -> tuple[Operation, Method, bytes]:
        return operation, RANGE_METHOD, message

    await _loop(worker, next_request)


def _range_request(worker: Worker) -> rpc_pb2.RangeRequest:
    key, end = worker.text("key").encode(), worker.text("end").encode()
    if worker.parameter("prefix"):
        key, end = key or b"\x00", _prefix_end(key)
    return rpc_pb2.RangeRequest(
        key=key,
        range_end=end,
        limit=worker.number("limit"),
        serializable=worker.text("consistency") == "s",
        count_only=bool(worker.parameter("count-only")),
        keys_only=bool(worker.parameter("keys-only")),
    )


def _prefix_end(prefix: bytes) -> bytes:
    """The first key after all that begin with `prefix`; a zero byte, for all keys, when none is."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else b"\x00"


def _check_range(parameters: Mapping[str, Value]) -> None:
    if not parameters["key"] and not parameters["prefix"]:
        raise UsageError("range needs a key, or --prefix for all keys")
    if parameters["end"] and parameters["prefix"]:
        raise UsageError("range takes either an end or --prefix")


RANGE: Final = Workload(
    name="range",
    summary="Read a key, or a range of keys.",
    run=_range,
    check=_check_range,
    parameters=(
        CONSISTENCY,
        Parameter(name="limit", default=0, help="Return so many keys at the most, 0 for all"),
        Parameter(name="count-only", default=False, help="Return the count alone"),
        Parameter(name="keys-only", default=False, help="Return keys without values"),
        Parameter(name="prefix", default=False, help="Read all keys that begin with KEY"),
    ),
    arguments=(
        Parameter(name="key", default="", help="The key"),
        Parameter(name="end", default="", help="The end of the range"),
    ),
)


# --- txn-put


def _succeeded(message: bytes) -> Status:
    if rpc_pb2.TxnResponse.FromString(message).succeeded:
        return OK
    return failed("the transaction did not succeed")


async def _txn_put(worker: Worker) -> None:
    await worker.begin(txn_put="")
    operation = worker.operation("txn-put")
    ops, value = worker.number("txn-ops"), random_value(worker.number("val-size"))
    size, space = worker.number("key-size"), worker.number("key-space-size") or ops
    first = worker.share(worker.options.total).start * ops
    keys = key_maker(size, space, first, sequential=True)

    def next_request() -> tuple[Operation, Method, bytes]:
        return operation, TXN_METHOD, _put_txn([next(keys) for _ in range(ops)], value)

    await _loop(worker, next_request, check=_succeeded)


def _put_txn(keys: list[bytes], value: bytes) -> bytes:
    ops = [rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value)) for key in keys]
    return rpc_pb2.TxnRequest(success=ops).SerializeToString()


def _check_txn_put(parameters: Mapping[str, Value]) -> None:
    positive(parameters, "key-size", "txn-ops")
    if parameters["key-space-size"]:
        positive(parameters, "key-space-size")
    ops = int(parameters["txn-ops"])
    space = int(parameters["key-space-size"]) or ops
    _check_keys_fit({**parameters, "key-space-size": space})
    if ops > space:
        raise UsageError(
            f"expected --txn-ops no larger than --key-space-size, got ({ops}) and ({space})"
        )


TXN_PUT: Final = Workload(
    name="txn-put",
    summary="Put several keys in a transaction.",
    run=_txn_put,
    check=_check_txn_put,
    parameters=(
        KEY_SIZE,
        VAL_SIZE,
        Parameter(
            name="key-space-size",
            default=0,
            help="How many keys there may be, 0 for as many as --txn-ops",
        ),
        Parameter(name="txn-ops", default=1, help="Puts in each transaction"),
    ),
)


# --- txn-mixed


async def _txn_mixed(worker: Worker) -> None:
    await worker.begin(read="Read ops", write="Write ops")
    read, write = worker.operation("read"), worker.operation("write")
    value, ratio = random_value(worker.number("val-size")), worker.seconds("rw-ratio")
    keys = key_maker(
        worker.number("key-size"),
        worker.number("key-space-size"),
        worker.share(worker.options.total).start,
        sequential=True,
    )
    range_op = rpc_pb2.RangeRequest(
        key=worker.text("key").encode() or b"\x00",
        range_end=worker.text("end-key").encode() or b"\x00",
        limit=worker.number("limit"),
        serializable=worker.text("consistency") == "s",
    )
    reading = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_range=range_op)])
    message, reads = reading.SerializeToString(), ratio / (1 + ratio)
    choose = random.Random().random

    def next_request() -> tuple[Operation, Method, bytes]:
        if choose() < reads:
            return read, TXN_METHOD, message
        return write, TXN_METHOD, _put_txn([next(keys)], value)

    await _loop(worker, next_request, check=_succeeded)


def _check_txn_mixed(parameters: Mapping[str, Value]) -> None:
    _check_put(parameters)
    if float(parameters["rw-ratio"]) < 0:
        raise UsageError(f"--rw-ratio cannot be negative, got ({parameters['rw-ratio']})")


TXN_MIXED: Final = Workload(
    name="txn-mixed",
    summary="Transactions that read a range, and such that put a key.",
    run=_txn_mixed,
    check=_check_txn_mixed,
    parameters=(
        KEY_SIZE,
        VAL_SIZE,
        KEY_SPACE,
        Parameter(name="rw-ratio", default=1.0, help="Reads for each write"),
        Parameter(name="limit", default=1000, help="Read so many keys at the most"),
        Parameter(name="end-key", default="", help="Read up to this key instead of to the last"),
        CONSISTENCY,
    ),
    arguments=(
        Parameter(name="key", default="", help="Read from this key on instead of the first"),
    ),
)
