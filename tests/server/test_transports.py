"""A small method table, served by each transport and called with grpc's own client."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

import grpc
import grpc.aio
import pytest

from kvstore.errors import Compacted, KeyNotProvided
from kvstore.proto import rpc_pb2
from kvstore.server.config.urls import Url
from kvstore.server.method import Call, Kind, Method
from kvstore.server.stats import CallStats
from kvstore.server.status import Code, StatusError
from kvstore.server.transports.grpc_aio import GrpcTransport
from kvstore.server.transports.interface import Transport
from kvstore.server.transports.native.transport import NativeTransport

LIMIT = 100_000
ANY_PORT = Url("http", "127.0.0.1", 0)
Put, Answer = rpc_pb2.PutRequest, rpc_pb2.PutResponse


class Services:
    """What a test looks at: the calls seen, and whether a stream was ended."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.ended = asyncio.Event()
        self.entered = asyncio.Event()
        self.release = asyncio.Event()

    def now(self, request: rpc_pb2.PutRequest, call: Call) -> rpc_pb2.PutResponse | bytes:
        self.calls.append(call)
        match request.key:
            case b"":
                raise KeyNotProvided
            case b"bug":
                raise KeyError("secret")
            case b"encoded":
                return answer(5).SerializeToString()
            case b"large":
                return Answer(prev_kv={"value": b"x" * 5_000_000}).SerializeToString()
        return answer(4)

    def later(self, request: rpc_pb2.PutRequest, call: Call) -> Awaitable[rpc_pb2.PutResponse]:
        return self._later(request)

    async def _later(self, request: rpc_pb2.PutRequest) -> rpc_pb2.PutResponse:
        self.entered.set()
        if request.key == b"wait":
            await self.release.wait()
        await asyncio.sleep(0)
        if request.key == b"compacted":
            raise Compacted
        return answer(6)

    async def count(
        self, request: rpc_pb2.PutRequest, call: Call
    ) -> AsyncIterator[rpc_pb2.PutResponse]:
        for number in range(1, request.lease + 1):
            yield answer(number)
        if request.key == b"refuse":
            raise StatusError(Code.UNIMPLEMENTED, "not this one")

    async def echo(
        self, requests: AsyncIterator[rpc_pb2.PutRequest], call: Call
    ) -> AsyncIterator[rpc_pb2.PutResponse]:
        try:
            async for request in requests:
                yield answer(request.lease)
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    def table(self) -> dict[str, Method]:
        methods = [
            Method("/pkg.Things/Now", Kind.UNARY, Put, Answer, self.now),
            Method("/pkg.Things/Later", Kind.UNARY, Put, Answer, self.later),
            Method("/pkg.Things/Count", Kind.SERVER_STREAM, Put, Answer, self.count),
            Method("/pkg.Things/Echo", Kind.BIDI, Put, Answer, self.echo),
        ]
        return {method.path: method for method in methods}


def answer(revision: int) -> rpc_pb2.PutResponse:
    return Answer(header=rpc_pb2.ResponseHeader(revision=revision))


class Served(Protocol):
    def __call__(
        self,
        test: Callable[[grpc.aio.Channel, Services, Transport], Awaitable[None]],
        url: Url = ANY_PORT,
    ) -> None: ...


@pytest.fixture(params=[NativeTransport, GrpcTransport])
def kind(request: pytest.FixtureRequest) -> Callable[..., Transport]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def served(kind: Callable[..., Transport]) -> Served:
    return lambda test, url=ANY_PORT: run_served(kind, test, url)


def run_served(
    kind: Callable[..., Transport],
    test: Callable[[grpc.aio.Channel, Services, Transport], Awaitable[None]],
    url: Url,
) -> None:
    async def run() -> None:
        services, transport = Services(), kind(max_message_bytes=LIMIT)
        port = transport.bind(url)
        table = services.table()
        await transport.start(table, CallStats(table))
        target = url.address if url.is_unix else f"127.0.0.1:{port}"
        options = [("grpc.max_receive_message_length", -1)]
        try:
            async with grpc.aio.insecure_channel(target, options=options) as channel:
                await asyncio.wait_for(test(channel, services, transport), 20)
        finally:
            await transport.drain(0)

    asyncio.run(run())


def unary(channel: grpc.aio.Channel, path: str) -> grpc.aio.UnaryUnaryMultiCallable:
    return channel.unary_unary(path, Put.SerializeToString, Answer.FromString)


def echo(channel: grpc.aio.Channel) -> grpc.aio.StreamStreamCall:
    return channel.stream_stream("/pkg.Things/Echo", Put.SerializeToString, Answer.FromString)()


async def refused(call: Awaitable[object]) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, caught.value.details() or ""


class TestUnary:
    def test_answers_of_every_kind(self, served: Served) -> None:
        async def test(channel: grpc.aio.Channel, services: Services, _: Transport) -> None:
            now = unary(channel, "/pkg.Things/Now")
            assert answer(4) == await now(Put(key=b"k"))
            assert answer(5) == await now(Put(key=b"encoded"))
            assert answer(6) == await unary(channel, "/pkg.Things/Later")(Put(key=b"k"))

        served(test)

    @pytest.mark.slow
    def test_a_burst_of_one_client_is_served(self, served: Served) -> None:
        async def test(channel: grpc.aio.Channel, services: Services, _: Transport) -> None:
            now = unary(channel, "/pkg.Things/Now")
            answers = await asyncio.gather(*(now(Put(key=b"k")) for _ in range(3000)))
            assert [answer(4)] * 3000 == answers

        served(test)

    def test_a_large_answer_is_sent(self, served: Served) -> None:
        async def test(channel: grpc.aio.Channel, services: Services, _: Transport) -> None:
            got = await unary(channel, "/pkg.Things/Now")(Put(key=b"large"))
            assert len(got.prev_kv.value) == 5_000_000

        served(test)

    def test_errors_have_their_status(
        self, served: Served, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def test(channel: grpc.aio.Channel, services: Services, _: Transport) -> None:
            now, later = unary(channel, "/pkg.Things/Now"), unary(channel, "/pkg.Things/Later")
            assert ("INVALID_ARGUMENT", KeyNotProvided.message) == await refused(now(Put()))
            assert ("OUT_OF_RANGE", Compacted.message) == await refused(
                later(Put(key=b"compacted"))
            )
            assert await refused(now(Put(key=b"bug"))) == ("INTERNAL", "internal error")

        with caplog.at_level(logging.ERROR):
            served(test)
        assert [record.getMessage() for record in caplog.records] == ["/pkg.Things/Now failed"]

    def test_the_call_has_metadata_and_peer(self, served: Served) -> None:
        async def test(channel: grpc.aio.Channel, services: Services, _: Transport) -> None:
            metadata = (("hasleader", "true"), ("client-api-version", "3.7"), ("x-bin", b"\xff"))
            await unary(channel, "/pkg.Things/Now")(Put(key=b"k"), metadata=metadata)
            (call,) = services.calls
            assert (
                call.metadata["hasleader"],
                call.metadata["client-api-version"],
            ) == ("true", "3.7")
            assert call.metadata["x-bin"] == b"\xff"
            assert call.peer.startswith("ipv4:127.0.0.1:")

        served(test)


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "text"),
        [
            ("/pkg.Things/Nope", "unknown method Nope for service pkg.Things"),
            ("/foo.Bar/Now", "unknown service foo.Bar"),
        ],
    )
    def test_what_is_not_in_the_table(self, served: Served, path: str, text: str) -> None:
        async def test(channel: grpc.aio.Channel, services: Services, _: Transport) -> None:
            assert ("UNIMPLEMENTED", text) == await refused(unary(channel, path)(Put()))
            stream = channel.stream_stream(path, Put.SerializeToString, Answer.FromString)()
            assert ("UNIMPLEMENTED", text) == await refused(stream.read())

        served(test)

    @pytest.mark.slow
    def test_a_message_over_the_limit(self, served: Served) -> None:
        async def test(channel: grpc.aio.Channel, services: Services, _: Transport) -> None:
            now = unary(channel, "/pkg.Things/Now")
            request = Put(key=b"k", value=b"x" * LIMIT)
            text = f"grpc: received message larger than max ({request.ByteSize()} vs. {LIMIT})"
            assert ("RESOURCE_EXHAUSTED", text) == await refused(now(request))
            code, _text = await refused(now(Put(key=b"k", value=b"x" * 20_000_000)))
            assert code == "RESOURCE_EXHAUSTED"

        served(test)

    def test_bytes_that_are_no_message(self, served: Served) -> None:
        async def test(channel: grpc.aio.Channel, services: Services, _: Transport) -> None:
            raw = channel.unary_unary("/pkg.Things/Now")
            code, text = await refused(raw(b"\xff\xff"))
            assert (code, text.startswith("grpc: error unmarshalling")) == ("INTERNAL", True)

        served(test)


class TestStreams:
    def test_server_stream_ends_with_its_status(self, served: Served) -> None:
        async def test(channel: grpc.aio.Channel, services: Services, _: Transport) -> None:
            count = channel.unary_stream(
                "/pkg.Things/Count", Put.SerializeToString, Answer.FromString
            )
            got = [message.header.revision async for message in count(Put(lease=3))]
            assert got == [1, 2, 3]
            refusing = count(Put(lease=1, key=b"refuse"))
            assert answer(1) == await refusing.read()
            assert await refused(refusing.read()) == ("UNIMPLEMENTED", "not this one")

        served(test)

    def test_bidi_goes_on_after_half_close_until_cancelled(self, served: Served) -> None:
        async def test(channel: grpc.aio.Channel, services: Services, _: Transport) -> None:
            stream = echo(channel)
            for revision in (1, 2):
                await stream.write(Put(lease=revision))
                assert answer(revision) == await stream.read()
            await stream.done_writing()
            assert not services.ended.is_set()
            stream.cancel()
            await services.ended.wait()

        served(test)


class TestDrain:
    def test_streams_end_and_unary_calls_finish(self, served: Served) -> None:
        async def test(channel: grpc.aio.Channel, services: Services, transport: Transport) -> None:
            stream = echo(channel)
            await stream.write(Put(lease=1))
            await stream.read()
            waiting = asyncio.ensure_future(unary(channel, "/pkg.Things/Later")(Put(key=b"wait")))
            await services.entered.wait()
            draining = asyncio.create_task(transport.drain(10))
            text = "etcdserver: server stopped"
            assert ("UNAVAILABLE", text) == await refused(stream.read())
            services.release.set()
            assert answer(6) == await waiting
            await draining

        served(test)


class TestBind:
    def test_unix_socket(self, served: Served, tmp_path: Path) -> None:
        async def test(channel: grpc.aio.Channel, services: Services, _: Transport) -> None:
            assert answer(4) == await unary(channel, "/pkg.Things/Now")(Put(key=b"k"))

        served(test, Url("unix", f"{tmp_path}/s", 0))

    def test_a_taken_port_is_an_error(self, kind: Callable[..., Transport]) -> None:
        async def run() -> None:
            first, second = (kind(max_message_bytes=LIMIT) for _ in range(2))
            port = first.bind(ANY_PORT)
            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
                second.bind(ANY_PORT._replace(port=port))
            await first.drain(0)
            await second.drain(0)

        asyncio.run(run())
