"""The bounds hold for every kind of call, over a socket, with another client being watched."""

from __future__ import annotations

import contextlib
import zlib

import pytest

from kvstore.proto import rpc_pb2
from tests.server.http2_hostile.conftest import Open
from tests.support.h2 import frames, hpack_bytes
from tests.support.h2.calls import put
from tests.support.h2.connection import Closed, Connection, Silent
from tests.support.h2.frames import FrameType, Setting
from tests.support.h2.grpc import KV, WATCH, message, request
from tests.support.h2.peers import Bystander, End, flood
from tests.support.h2.servers import WireServer

pytestmark = pytest.mark.slow

LARGEST_WINDOW = 2**31 - 1
ALL = rpc_pb2.RangeRequest(key=b"kinds/", range_end=b"kinds0")
SORTED = rpc_pb2.RangeRequest(
    key=b"kinds/",
    range_end=b"kinds0",
    sort_order=rpc_pb2.RangeRequest.DESCEND,
    sort_target=rpc_pb2.RangeRequest.KEY,
)
FEW = rpc_pb2.RangeRequest(key=b"kinds/", range_end=b"kinds0", limit=1500)
TXN = rpc_pb2.TxnRequest(
    success=[
        rpc_pb2.RequestOp(request_range=FEW),
        rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"kinds-put", value=b"v")),
    ]
)


@pytest.fixture(scope="module", autouse=True)
def keys(server: WireServer) -> None:
    """2,500 keys, 700 kB."""
    with Connection(server.target, timeout_s=30) as writer:
        for at in range(2500):
            put(writer, b"kinds/%04d" % at, bytes(250))


def block(path: str, *fields: tuple[str, str]) -> bytes:
    return b"".join(hpack_bytes.literal(name, value) for name, value in (*request(path), *fields))


def unread(attacker: Open) -> Connection:
    """All windows are open, and nothing is read of the socket."""
    connection = attacker({Setting.INITIAL_WINDOW_SIZE: LARGEST_WINDOW}, receive_buffer=4096)
    connection.send(frames.window_update(0, LARGEST_WINDOW - 65_535))
    return connection


def calls(method: str, body: bytes, first: int, count: int) -> bytes:
    head = block(KV + method)
    return b"".join(
        frames.headers(stream_id, head) + frames.data(stream_id, message(body), end_stream=True)
        for stream_id in range(first, first + 2 * count, 2)
    )


@pytest.mark.parametrize(
    ("method", "body"),
    [("Range", ALL), ("Range", SORTED), ("Range", FEW), ("RangeStream", ALL), ("Txn", TXN)],
    ids=["sliced", "sorted", "whole", "stream", "txn"],
)
def test_two_thousand_large_answers_that_are_not_read(
    attacker: Open,
    bystander: Bystander,
    method: str,
    body: rpc_pb2.RangeRequest | rpc_pb2.TxnRequest,
) -> None:
    """Together 1.4 GB."""
    connection = unread(attacker)
    for at in range(20):
        chunk = calls(method, body.SerializeToString(), 1 + 200 * at, 100)
        if flood(connection, chunk, 1) is not End.SENT:
            break

    bystander.check(memory_mib=160, calls=200)


def test_large_headers_leave_nothing_on_an_idle_connection(
    attacker: Open, bystander: Bystander
) -> None:
    connection = attacker(timeout_s=30)
    head = b"".join(hpack_bytes.literal(name, value) for name, value in request(KV + "Range"))
    for at in range(60):
        fields = hpack_bytes.literal(f"x-{at}", "v" * 1_000_000)
        parts = [fields[start : start + 16_000] for start in range(0, len(fields), 16_000)]
        stream_id = connection.new_stream()
        connection.send(frames.headers(stream_id, head, end_headers=False))
        for part in parts[:-1]:
            connection.send(frames.continuation(stream_id, part))
        connection.send(frames.continuation(stream_id, parts[-1], end_headers=True))
        connection.send(frames.data(stream_id, message(b"\x0a\x01k"), end_stream=True))
        connection.expect_end_of(stream_id)

    bystander.check(memory_mib=32)


def test_half_a_message_on_many_watches(attacker: Open, bystander: Bystander) -> None:
    connection = attacker()
    connection.timeout_s = 5
    half = message(bytes(2_000_000))[:1_900_000]
    with contextlib.suppress(Silent, Closed):
        for _ in range(300):
            connection.send_data(connection.send_headers(request(WATCH + "Watch")), half)

    bystander.check(memory_mib=256, calls=200)


@pytest.mark.parametrize("path", [KV + "Put", WATCH + "Watch"])
def test_bombs_one_after_the_other(attacker: Open, bystander: Bystander, path: str) -> None:
    """2,000 messages of 2 kB that are 2 MB each when they are unpacked."""
    packer = zlib.compressobj(wbits=31)
    bomb = packer.compress(b"\x0a\x00" * 1_000_000) + packer.flush()
    body = b"\x01" + len(bomb).to_bytes(4, "big") + bomb
    head = block(path, ("grpc-encoding", "gzip"))
    connection = attacker(receive_buffer=4096)
    connection.timeout_s = 3
    with contextlib.suppress(Silent, Closed):
        for _ in range(2000):
            stream_id = connection.new_stream()
            connection.send(frames.headers(stream_id, head))
            connection.send(frames.data(stream_id, body, end_stream=True))

    bystander.check(worst_s=1.5, memory_mib=128)


def test_each_of_many_large_answers_comes_to_its_end(attacker: Open, bystander: Bystander) -> None:
    """Of 300 large answers that are asked for at once all come, or are refused."""
    connection = attacker({Setting.INITIAL_WINDOW_SIZE: LARGEST_WINDOW}, timeout_s=60)
    connection.send(calls("Range", FEW.SerializeToString(), 1, 300))
    ended = 0
    while ended < 300:
        got = connection.receive()
        connection.received.clear()
        ended += got.end_stream or got.type == FrameType.RST_STREAM

    bystander.check(memory_mib=160)
