"""Streams of one connection take turns: what is small does not wait for what is large.

A client that takes little at a time has asked for 80 MB; what he reads before an event, or before a
small answer, comes is counted in bytes. etcd 3.7.1 has him read half a megabyte.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvstore.proto import rpc_pb2
from tests.server.http2_hostile.conftest import Open
from tests.support.h2 import frames, hpack_bytes
from tests.support.h2.calls import open_watch, put, range_message
from tests.support.h2.connection import Connection
from tests.support.h2.frames import Frame, FrameType, Setting
from tests.support.h2.grpc import KV, call, message, request
from tests.support.h2.peers import Bystander
from tests.support.h2.servers import WireServer

pytestmark = pytest.mark.slow

LARGE = 1_000_000
LARGEST_WINDOW = 2**31 - 1
MOST_BYTES = 512 * 1024
"""A turn of large answers, what the kernels of both sides hold, and a piece on its way."""


@pytest.fixture(scope="module", autouse=True)
def ten_megabytes(server: WireServer) -> None:
    """In ten keys; and in 2,500, which are read piece by piece."""
    with Connection(server.target, timeout_s=30) as writer:
        for at in range(10):
            put(writer, b"ten/%d" % at, bytes(LARGE))
        for at in range(2500):
            put(writer, b"many/%d" % at, bytes(4000))


def ask(connection: Connection, prefix: bytes) -> bytes:
    body = rpc_pb2.RangeRequest(key=prefix, range_end=prefix[:-1] + b"0").SerializeToString()
    block = b"".join(hpack_bytes.literal(name, value) for name, value in request(KV + "Range"))
    stream_id = connection.new_stream()
    return frames.headers(stream_id, block) + frames.data(stream_id, message(body), end_stream=True)


def whole(method: str, stream_id: int, body: bytes) -> bytes:
    block = b"".join(hpack_bytes.literal(name, value) for name, value in request(KV + method))
    return frames.headers(stream_id, block) + frames.data(stream_id, body, end_stream=True)


def wait_for(server: WireServer, key: bytes) -> None:
    """Ask for a key until it is there."""
    body = rpc_pb2.RangeRequest(key=key, count_only=True).SerializeToString()
    with Connection(server.target, timeout_s=30) as asking:
        while not rpc_pb2.RangeResponse.FromString(
            call(asking, KV + "Range", body).messages[0]
        ).count:
            asking.received.clear()


def read_until(connection: Connection, wanted: Callable[[Frame], bool]) -> int:
    """Bytes of DATA on other streams that came before what was wanted."""
    size = 0
    while not wanted(got := connection.receive()):
        connection.received.clear()
        size += len(got.payload) if got.type == FrameType.DATA else 0
    return size


@pytest.fixture
def slow_reader(attacker: Open) -> Connection:
    connection = attacker(
        {Setting.INITIAL_WINDOW_SIZE: LARGEST_WINDOW}, receive_buffer=4096, timeout_s=30
    )
    connection.send(frames.window_update(0, LARGEST_WINDOW - 65_535))
    connection.open_windows = False
    return connection


@pytest.fixture
def small_window(attacker: Open) -> Connection:
    """It reads as fast as it can, and its window for all streams is the first one."""
    return attacker({Setting.INITIAL_WINDOW_SIZE: LARGEST_WINDOW}, timeout_s=30)


@pytest.fixture(params=["slow_reader", "small_window"])
def client(request: pytest.FixtureRequest) -> Connection:
    client = request.getfixturevalue(request.param)
    assert isinstance(client, Connection)
    return client


@pytest.mark.parametrize("prefix", [b"ten/", b"many/"])
class TestEightLargeRangesThatAreNotRead:
    def test_an_event_comes_at_once(
        self, server: WireServer, client: Connection, bystander: Bystander, prefix: bytes
    ) -> None:
        stream_id = open_watch(client, b"fair")
        client.send(b"".join(ask(client, prefix) for _ in range(8)))
        read_until(client, lambda got: got.type == FrameType.DATA)
        with Connection(server.target, timeout_s=30) as writer:
            put(writer, b"fair", b"event")

        before = read_until(client, lambda got: got.stream_id == stream_id)

        assert before < MOST_BYTES
        bystander.check(memory_mib=256)

    def test_small_answers_come_at_once(
        self, server: WireServer, client: Connection, bystander: Bystander, prefix: bytes
    ) -> None:
        client.send(b"".join(ask(client, prefix) for _ in range(8)))
        read_until(client, lambda got: got.type == FrameType.DATA)
        key = b"fair/%d" % id(client)
        body = rpc_pb2.PutRequest(key=key, value=b"v").SerializeToString()
        write, read = client.new_stream(), client.new_stream()
        client.send(whole("Put", write, message(body)) + whole("Range", read, range_message(key)))
        wait_for(server, key)

        waited = {write, read}
        before = 0
        while waited:
            before += read_until(client, lambda got: got.end_stream and got.stream_id in waited)
            waited.discard(client.received[-1].stream_id)

        assert before < MOST_BYTES
        bystander.check(memory_mib=256)
