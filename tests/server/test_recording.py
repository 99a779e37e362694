"""--debug-record-calls: what is counted on each transport and over HTTP, and what it costs off."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message

from kvstore import limits
from kvstore.proto import rpc_pb2
from kvstore.server import recording
from kvstore.server.app import Server
from kvstore.server.config import parse_config
from kvstore.server.method import Call, Kind, Method
from kvstore.server.recording import CallRecord
from kvstore.server.services import Settings, build_methods
from tests.kubernetes_contract import shapes

METHODS = build_methods(None, None, Settings())  # type: ignore[arg-type]
KV, WATCH, LEASE = "/etcdserverpb.KV/", "/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/"
URL = "http://127.0.0.1:0"
rpc = rpc_pb2


class Client:
    """A client of a server that records, and the record."""

    def __init__(self, channel: grpc.aio.Channel, pages: str) -> None:
        self._channel, self._pages = channel, pages

    async def __call__(self, path: str, request: Message) -> str:
        """Call a method with one request; returns the name of the status."""
        method = METHODS[path]
        coding = (path, method.request.SerializeToString, method.response.FromString)
        try:
            if method.kind is Kind.UNARY:
                await self._channel.unary_unary(*coding)(request)
            else:
                assert [each async for each in self._channel.unary_stream(*coding)(request)]
        except grpc.aio.AioRpcError as refusal:
            return str(refusal.code().name)
        return "OK"

    def stream(self, path: str) -> grpc.aio.StreamStreamCall:
        method = METHODS[path]
        return self._channel.stream_stream(
            path, method.request.SerializeToString, method.response.FromString
        )()

    async def call_unknown(self, path: str) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self._channel.unary_unary(path)(b"")
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async def http(self, path: str, data: bytes | None = None) -> tuple[int, bytes]:
        def ask() -> tuple[int, bytes]:
            try:
                with urllib.request.urlopen(self._pages + path, data, timeout=10) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as refusal:
                return refusal.code, refusal.read()

        return await asyncio.to_thread(ask)

    async def counts(self) -> dict[str, int]:
        status, body = await self.http("/debug/calls")
        assert status == 200
        return json.loads(body)  # type: ignore[no-any-return]

    async def counts_with(self, shape: str) -> dict[str, int]:
        """The record once it has `shape`: a client does not wait for the end of what it cancels."""
        async with asyncio.timeout(10):
            while shape not in (counts := await self.counts()):
                pass
        return counts


@asynccontextmanager
async def client_of(*flags: str) -> AsyncIterator[Client]:
    urls = ["--listen-client-urls", URL, "--advertise-client-urls", URL]
    urls += ["--listen-client-http-urls", URL]
    server = await Server.start(parse_config(["--in-memory", *urls, *flags]))
    try:
        async with grpc.aio.insecure_channel(server.urls[0].split("//")[1]) as channel:
            async with asyncio.timeout(20):
                yield Client(channel, str(server.config.client_http_urls[0]))
    finally:
        await server.stop(0.1)


Recorded = Callable[[Callable[[Client], Awaitable[None]]], None]


@pytest.fixture(params=["native", "grpcio"])
def recorded(request: pytest.FixtureRequest) -> Recorded:
    async def run(test: Callable[[Client], Awaitable[None]]) -> None:
        async with client_of("--debug-record-calls", "--transport", request.param) as client:
            await test(client)

    return lambda test: asyncio.run(run(test))


class TestUnary:
    def test_shapes_are_told_apart_and_counted(self, recorded: Recorded) -> None:
        async def test(client: Client) -> None:
            for key in (b"a", b"b"):
                assert await client(KV + "Range", shapes.health_probe()) == "OK"
                assert await client(KV + "Range", shapes.get(key)) == "OK"
            await client(KV + "Range", shapes.list_page(b"/a/", limit=5, revision=1))
            await client(KV + "Put", rpc.PutRequest(key=b"k", value=b"v"))
            await client(LEASE + "LeaseGrant", shapes.lease_grant(60))
            await client("/etcdserverpb.Maintenance/Status", shapes.status())
            assert await client.counts() == {
                "KV/Range key -> OK": 2,
                "KV/Range key limit -> OK": 2,
                "KV/Range key range_end limit revision -> OK": 1,
                "KV/Put key value -> OK": 1,
                "Lease/LeaseGrant TTL -> OK": 1,
                "Maintenance/Status -> OK": 1,
            }

        recorded(test)

    def test_a_transaction_says_whether_it_succeeded(self, recorded: Recorded) -> None:
        async def test(client: Client) -> None:
            for _ in range(3):
                await client(KV + "Txn", shapes.optimistic_put(b"k", b"v", 0))
            await client(KV + "Txn", shapes.optimistic_delete(b"k", 2))
            put = "compare[target=MOD key mod_revision=0] success[request_put(key value)]"
            delete = "compare[target=MOD key mod_revision] success[request_delete_range(key)]"
            assert await client.counts() == {
                f"KV/Txn {put} -> OK succeeded=true": 1,
                f"KV/Txn {put} -> OK succeeded=false": 2,
                f"KV/Txn {delete} failure[request_range(key)] -> OK succeeded=true": 1,
            }

        recorded(test)

    def test_failed_calls_have_their_status(self, recorded: Recorded) -> None:
        async def test(client: Client) -> None:
            assert await client(KV + "Range", rpc.RangeRequest()) == "INVALID_ARGUMENT"
            assert await client(KV + "Range", shapes.get(b"k", 9)) == "OUT_OF_RANGE"
            assert await client(KV + "Compact", shapes.compact(9)) == "OUT_OF_RANGE"
            revoke = rpc.LeaseRevokeRequest(ID=5)
            assert await client(LEASE + "LeaseRevoke", revoke) == "NOT_FOUND"
            assert await client(KV + "Txn", rpc.TxnRequest(success=[{}])) == "INVALID_ARGUMENT"  # type: ignore[list-item]
            assert await client.counts() == {
                "KV/Range -> INVALID_ARGUMENT": 1,
                "KV/Range key limit revision -> OUT_OF_RANGE": 1,
                "KV/Compact revision -> OUT_OF_RANGE": 1,
                "Lease/LeaseRevoke ID -> NOT_FOUND": 1,
                "KV/Txn success[] -> INVALID_ARGUMENT": 1,
            }

        recorded(test)

    def test_a_method_that_there_is_not_is_counted_each_time(self, recorded: Recorded) -> None:
        async def test(client: Client) -> None:
            for _ in range(3):
                await client.call_unknown("/foo.Bar/Now")
            await client.call_unknown(KV + "Nope")
            assert await client.counts() == {
                "foo.Bar/Now -> UNIMPLEMENTED": 3,
                "etcdserverpb.KV/Nope -> UNIMPLEMENTED": 1,
            }

        recorded(test)


class TestStreams:
    def test_a_watch_has_the_messages_of_its_client_and_its_end(self, recorded: Recorded) -> None:
        async def test(client: Client) -> None:
            stream = client.stream(WATCH)
            for request in (
                shapes.watch(b"/a/", 0),
                shapes.watch(b"/b/", 0, progress_notify=False),
                shapes.watch(b"/c/", 0),
                shapes.watch_cancel(2),
            ):
                await stream.write(request)
                await stream.read()
            await stream.write(shapes.watch_progress())
            await stream.read()
            messages = {
                "Watch/Watch create_request("
                "key range_end start_revision progress_notify prev_kv)": 2,
                "Watch/Watch create_request(key range_end start_revision prev_kv)": 1,
                "Watch/Watch progress_request()": 1,
                "Watch/Watch cancel_request(watch_id)": 1,
            }
            assert messages == await client.counts()
            stream.cancel()
            end = "Watch/Watch -> CANCELED"
            assert {**messages, end: 1} == await client.counts_with(end)

        recorded(test)

    def test_one_that_ends_by_itself_is_ok(self, recorded: Recorded) -> None:
        async def test(client: Client) -> None:
            stream = client.stream(LEASE + "LeaseKeepAlive")
            await stream.write(rpc.LeaseKeepAliveRequest(ID=5))
            assert (await stream.read()).TTL == 0
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            assert await client.counts() == {
                "Lease/LeaseKeepAlive ID": 1,
                "Lease/LeaseKeepAlive -> OK": 1,
            }

        recorded(test)

    def test_a_stream_of_answers_has_its_request_and_its_status(self, recorded: Recorded) -> None:
        async def test(client: Client) -> None:
            path = KV + "RangeStream"
            assert await client(path, shapes.range_stream(b"/a/")) == "OK"
            assert await client(path, shapes.range_stream(b"/a/", revision=9)) == "OUT_OF_RANGE"
            by_value = rpc.RangeRequest(key=b"a", sort_order="DESCEND", sort_target="VALUE")
            assert await client(path, by_value) == "UNIMPLEMENTED"
            assert await client.counts() == {
                "KV/RangeStream key range_end -> OK": 1,
                "KV/RangeStream key range_end revision -> OUT_OF_RANGE": 1,
                "KV/RangeStream key sort_order=DESCEND sort_target=VALUE -> UNIMPLEMENTED": 1,
            }

        recorded(test)


def test_calls_of_the_gateway_are_in_it() -> None:
    async def run() -> None:
        async with client_of("--debug-record-calls") as client:
            assert (await client.http("/v3/kv/range", b'{"key": "aw=="}'))[0] == 200
            assert (await client.http("/v3/kv/range", b"{}"))[0] == 400
            assert (await client.http("/v3/auth/enable", b"{}"))[0] == 501
            assert await client.counts() == {
                "KV/Range key -> OK": 1,
                "KV/Range -> INVALID_ARGUMENT": 1,
                "etcdserverpb.Auth/AuthEnable -> UNIMPLEMENTED": 1,
            }

    asyncio.run(run())


def test_without_the_option_there_is_neither_record_nor_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "CallRecord", None)

    async def run() -> None:
        async with client_of() as client:
            assert await client(KV + "Range", shapes.get(b"k")) == "OK"
            assert await client.http("/debug/calls") == (404, b"404 page not found\n")

    asyncio.run(run())


class TestBounds:
    def test_shapes_beyond_the_bound_count_as_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "RECORDED_SHAPES", 2)
        record = CallRecord()
        for path in ("/a", "/b", "/c", "/d", "/a"):
            record.unknown(path)
        assert record.counts == {"a -> UNIMPLEMENTED": 2, "b -> UNIMPLEMENTED": 1, "others": 2}

    def test_a_long_shape_is_cut(self) -> None:
        record = CallRecord()
        record.unknown("/" + "x" * 5000)
        assert record.counts == {"x" * limits.RECORDED_SHAPE_CHARS: 1}


def test_a_call_that_is_given_up_is_canceled() -> None:
    async def run() -> None:
        entered = asyncio.Event()

        async def hangs(request: Message, call: Call) -> Message:
            entered.set()
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        path = KV + "Put"
        record = CallRecord()
        method = Method(path, Kind.UNARY, rpc.PutRequest, rpc.PutResponse, hangs)
        wrapped = record.wrapped({path: method})[path]
        task = asyncio.ensure_future(wrapped.handler(rpc.PutRequest(key=b"k"), Call()))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert record.counts == {"KV/Put key -> CANCELED": 1}

    asyncio.run(run())
