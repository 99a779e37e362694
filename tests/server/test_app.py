"""A whole server in this process, called with grpc's own client; one as a process of its own."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message

from kvstore.errors import Compacted, DirectoryLocked, StoreFailed
from kvstore.proto import rpc_pb2
from kvstore.server.app import Server, compaction_plan, serve
from kvstore.server.autocompact import AutoCompactor, PeriodicPlan, RevisionPlan
from kvstore.server.config import Config, ConfigError, parse_config
from kvstore.server.config.flag import Kind, Type
from kvstore.server.config.flags import FLAGS
from kvstore.server.services import Settings, build_methods
from kvstore.server.transports.native.protocol import Turns
from kvstore.types import CompactResult

METHODS = build_methods(None, None, Settings())  # type: ignore[arg-type]


def config(data_dir: Path | None, *flags: str) -> Config:
    where = ["--in-memory"] if data_dir is None else ["--data-dir", str(data_dir)]
    listen = ["--listen-client-urls", "http://127.0.0.1:0"]
    advertise = ["--advertise-client-urls", "http://127.0.0.1:0"]
    return parse_config([*where, *listen, *advertise, *flags])


def served(test: Callable[["Client"], Awaitable[None]], settings: Config) -> None:
    async def run() -> None:
        server = await Server.start(settings)
        try:
            async with grpc.aio.insecure_channel(server.urls[0].split("//")[1]) as channel:
                await asyncio.wait_for(test(Client(channel, server)), 20)
        finally:
            await server.stop(0.1)

    asyncio.run(run())


class Client:
    def __init__(self, channel: grpc.aio.Channel, server: Server) -> None:
        self.channel, self.server = channel, server

    async def __call__(self, path: str, request: Message) -> Message:
        method = METHODS[path]
        call = self.channel.unary_unary(
            path, method.request.SerializeToString, method.response.FromString
        )
        response: Message = await call(request)
        return response


KV = "/etcdserverpb.KV/"
PUT = rpc_pb2.PutRequest(key=b"k", value=b"v")


class TestServer:
    def test_who_waits_for_a_commit_is_answered_when_it_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told = 0
        together = Turns.together

        def counted(self: Turns, work: Callable[[], None]) -> None:
            nonlocal told
            together(self, work)
            told += 1

        monkeypatch.setattr(Turns, "together", counted)

        async def test(client: Client) -> None:
            await client(KV + "Put", PUT)
            assert told == 1

        served(test, config(tmp_path / "d"))

    def test_put_range_and_status(self) -> None:
        async def test(client: Client) -> None:
            put = await client(KV + "Put", PUT)
            got = await client(KV + "Range", rpc_pb2.RangeRequest(key=b"k"))
            status = await client("/etcdserverpb.Maintenance/Status", rpc_pb2.StatusRequest())
            assert put.header.revision == 2  # type: ignore[attr-defined]
            assert put.header == got.header == status.header  # type: ignore[attr-defined]
            assert [(kv.key, kv.value) for kv in got.kvs] == [(b"k", b"v")]  # type: ignore[attr-defined]
            assert status.leader == put.header.member_id  # type: ignore[attr-defined]

        served(test, config(None))

    def test_the_bound_port_is_advertised(self) -> None:
        async def test(client: Client) -> None:
            path = "/etcdserverpb.Cluster/MemberList"
            listed = await client(path, rpc_pb2.MemberListRequest())
            (member,) = listed.members  # type: ignore[attr-defined]
            assert client.server.urls == list(member.clientURLs)
            assert not client.server.urls[0].endswith(":0")

        served(test, config(None))

    def test_a_restart_keeps_the_data_and_raises_the_term(self, tmp_path: Path) -> None:
        terms = []

        async def first(client: Client) -> None:
            put = await client(KV + "Put", PUT)
            terms.append(put.header.raft_term)  # type: ignore[attr-defined]

        async def second(client: Client) -> None:
            got = await client(KV + "Range", rpc_pb2.RangeRequest(key=b"k"))
            terms.append(got.header.raft_term)  # type: ignore[attr-defined]
            assert got.header.revision == 2  # type: ignore[attr-defined]
            assert got.kvs[0].value == b"v"  # type: ignore[attr-defined]

        served(first, config(tmp_path / "d"))
        served(second, config(tmp_path / "d"))
        assert terms == [2, 3]

    def test_an_open_watch_does_not_hold_up_the_stop(self) -> None:
        async def test(client: Client) -> None:
            method = METHODS["/etcdserverpb.Watch/Watch"]
            stream = client.channel.stream_stream(
                method.path, method.request.SerializeToString, method.response.FromString
            )()
            create = rpc_pb2.WatchCreateRequest(key=b"k")
            await stream.write(rpc_pb2.WatchRequest(create_request=create))
            assert (await stream.read()).created
            await asyncio.wait_for(client.server.stop(60), 5)
            with pytest.raises(grpc.aio.AioRpcError, match="etcdserver: server stopped"):
                await stream.read()

        served(test, config(None))


class TestCannotStart:
    def test_a_taken_port_leaves_the_data_alone(self, tmp_path: Path) -> None:
        async def run() -> None:
            first = await Server.start(config(None))
            with pytest.raises(OSError, match="cannot listen on"):
                await Server.start(config(tmp_path / "d", "--listen-client-urls", first.urls[0]))
            await first.stop()
            assert not (tmp_path / "d").exists()

        asyncio.run(run())

    def test_a_directory_in_use(self, tmp_path: Path) -> None:
        async def run() -> None:
            first = await Server.start(config(tmp_path / "d"))
            with pytest.raises(DirectoryLocked):
                await Server.start(config(tmp_path / "d"))
            await first.stop()

        asyncio.run(run())


EXTREMES = {
    Type.INT: (-(2**63), -1, 0, 1, 2**63 - 1),
    Type.UINT: (0, 1, 2**64 - 1),
    Type.UINT32: (0, 1, 2**32 - 1),
    Type.DURATION: ("-2562047h", "-1ns", "0", "1ns", "2562047h"),
}


class TestExtremes:
    """The least and the most that etcd's flags can say: refused in a line, or served."""

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            (flag.name, value)
            for flag in FLAGS.values()
            if flag.kind is Kind.HONOURED and not flag.alias_of
            for value in EXTREMES.get(flag.type, ())
        ],
    )
    def test_a_number_is_refused_or_used(self, name: str, value: object) -> None:
        try:
            settings = config(None, f"--{name}={value}")
        except ConfigError:
            return

        async def run() -> None:
            server = await Server.start(settings)
            reader, writer = await asyncio.open_connection(*server.urls[0][7:].split(":"))
            body = b'{"key":"aw=="}'
            writer.write(b"POST /v3/kv/range HTTP/1.1\r\nHost: a\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            assert b" 200 OK" in await asyncio.wait_for(reader.readline(), 20)
            writer.close()
            await server.stop(0.1)

        asyncio.run(run())


class TestServe:
    def test_ready_is_told_and_stop_ends_it(self, caplog: pytest.LogCaptureFixture) -> None:
        async def run() -> None:
            stop = asyncio.Event()
            seen = []

            def ready(server: Server) -> None:
                seen.append(server.urls)
                stop.set()

            await serve(config(None), stop.wait, ready)
            assert len(seen) == 1

        with caplog.at_level("INFO", logger="kvstore"):
            asyncio.run(run())
        lines = [record.getMessage() for record in caplog.records]
        ready = lines.index("ready to serve client requests")
        assert lines[ready - 1].startswith("serving client requests on http://127.0.0.1:")


@pytest.mark.slow
class TestProcess:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_is_a_clean_end(self, tmp_path: Path, number: signal.Signals) -> None:
        command = [sys.executable, "-m", "kvstore", "serve", "--data-dir", str(tmp_path / "d")]
        command += ["--listen-client-urls", "http://127.0.0.1:0"]
        command += ["--advertise-client-urls", "http://127.0.0.1:0"]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ
        ) as process:
            assert process.stderr is not None
            log = ""
            for line in process.stderr:
                log += line
                if "ready to serve client requests" in line:
                    process.send_signal(number)
            assert process.wait(10) == 0
        assert re.search(r"serving client requests on http://127\.0\.0\.1:[1-9]", log)


class FakeStore:
    """A store whose revision grows by ten whenever somebody sleeps."""

    def __init__(self) -> None:
        self.revision = 1
        self.now_s = 1000.0
        self.compacted: list[tuple[float, int]] = []
        self.errors: list[Exception] = []

    async def compact(self, revision: int, *, physical: bool = False) -> CompactResult:
        self.compacted.append((self.now_s - 1000, revision))
        if self.errors:
            raise self.errors.pop(0)
        return CompactResult(self.revision)

    def run(self, plan: PeriodicPlan | RevisionPlan, until_s: float) -> list[tuple[float, int]]:
        async def sleep(seconds: float) -> None:
            self.now_s += seconds
            self.revision += 10
            if self.now_s > 1000 + until_s:
                raise asyncio.CancelledError

        compactor = AutoCompactor(self, plan, clock=lambda: self.now_s, sleep=sleep)
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(compactor.run())
        return self.compacted


class TestAutoCompaction:
    def test_periodic_keeps_a_period(self) -> None:
        assert FakeStore().run(PeriodicPlan(100, 1000), 305) == [(100, 1), (200, 101), (300, 201)]

    def test_periodic_over_an_hour_runs_every_hour(self) -> None:
        done = FakeStore().run(PeriodicPlan(3 * 3600, 1000), 5 * 3600 + 1)
        assert done == [(3 * 3600, 1), (4 * 3600, 101), (5 * 3600, 201)]

    def test_a_failure_is_tried_again(self) -> None:
        store = FakeStore()
        store.errors = [StoreFailed()]
        assert store.run(PeriodicPlan(100, 1000), 115) == [(100, 1), (110, 11)]

    def test_already_compacted_is_as_good(self) -> None:
        store = FakeStore()
        store.errors = [Compacted()]
        assert store.run(PeriodicPlan(100, 1000), 195) == [(100, 1)]

    def test_revision_keeps_the_newest_every_five_minutes(self) -> None:
        assert FakeStore().run(RevisionPlan(8, 1000), 700) == [(300, 3), (600, 13)]

    def test_nothing_to_do_is_not_done(self) -> None:
        assert FakeStore().run(RevisionPlan(100, 1000), 700) == []

    def test_the_configuration_chooses(self) -> None:
        assert compaction_plan(config(None), 0) is None
        periodic = compaction_plan(config(None, "--auto-compaction-retention", "1h"), 0)
        assert isinstance(periodic, PeriodicPlan)
        flags = ["--auto-compaction-mode", "revision", "--auto-compaction-retention", "100"]
        assert isinstance(compaction_plan(config(None, *flags), 0), RevisionPlan)
