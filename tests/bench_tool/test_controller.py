"""Runs from their beginning to their end, and what can happen to them in between."""

from __future__ import annotations

import json
import threading

import pytest

from kvstore.bench import (
    Comparison,
    EndpointError,
    Options,
    Progress,
    Result,
    UsageError,
    compare,
    run,
)
from kvstore.bench.controller import _ERRORS
from kvstore.proto import rpc_pb2
from tests.bench_tool.fake_server import FakeConnection, serving
from tests.support.process import free_ports

pytestmark = pytest.mark.slow

RESULT_KEYS = {
    "version",
    "workload",
    "endpoint",
    "started",
    "duration_s",
    "interrupted",
    "clients",
    "conns",
    "rate",
    "parameters",
    "operations",
    "load_generator",
    "machine",
    "notes",
}
OPERATION_KEYS = {
    "name",
    "count",
    "error_count",
    "errors",
    "duration_s",
    "per_second",
    "latency_ms",
    "histogram_ms",
    "seconds",
}


def ok(connection: FakeConnection, stream: int) -> None:
    connection.ok(stream)


class Heard(Progress):
    def __init__(self) -> None:
        self.said: list[tuple[int, int]] = []
        self.ended = threading.Event()

    def update(self, elapsed_s: float, done: int, failed: int) -> None:
        self.said.append((done, failed))

    def end(self) -> None:
        self.ended.set()


class TestRun:
    def test_the_requests_are_those_asked_for_spread_over_the_connections(self) -> None:
        with serving(ok) as server:
            result = run("put", server.target, Options(clients=6, conns=3, processes=2, total=200))
            assert server.requests == 200
            assert len(server.connections) == result.conns == 3
        assert result.clients == 6
        assert result.main.count == 200
        assert sum(count for _, count, *_ in result.main.seconds) == 200
        assert len(result.cpu) == 2
        assert 0 < result.cpu[0] < 2

    def test_there_are_no_more_connections_than_clients(self) -> None:
        with serving(ok) as server:
            result = run("put", server.target, Options(clients=2, conns=8, total=20))
            assert len(server.connections) == result.conns == 2

    def test_progress_is_told(self) -> None:
        progress = Heard()
        with serving(ok) as server:
            run("put", server.target, Options(duration_s=0.7), progress=progress)
        assert progress.ended.is_set()
        assert [done for done, _ in progress.said] == sorted(done for done, _ in progress.said)
        assert progress.said[-1][0] > 0

    def test_errors_of_the_server_are_counted_by_code_and_text(self) -> None:
        def answer(connection: FakeConnection, stream: int) -> None:
            connection.error(stream, 8, "etcdserver: mvcc: database space exceeded")

        with serving(answer) as server:
            result = run("put", server.target, Options(total=20))
        assert result.main.count == 0
        ((status, count),) = result.main.errors.items()
        assert (str(status), count) == (
            "ResourceExhausted: etcdserver: mvcc: database space exceeded",
            20,
        )

    def test_a_connection_that_is_lost_is_made_again(self) -> None:
        def answer(connection: FakeConnection, stream: int) -> None:
            if connection.server.requests == 50:
                connection.close()
            else:
                ok(connection, stream)

        with serving(answer) as server:
            result = run("put", server.target, Options(clients=2, total=100))
            assert len(server.connections) == 2
        assert result.main.count + result.error_count == 100
        assert 1 <= result.error_count <= 2

    def test_a_server_that_goes_for_good_ends_the_run(self) -> None:
        def answer(connection: FakeConnection, stream: int) -> None:
            if connection.server.requests == 30:
                connection.server.vanish()
            else:
                ok(connection, stream)

        with serving(answer) as server:
            options = Options(clients=2, duration_s=60, dial_timeout_s=0.3)
            result = run("put", server.target, options)
        assert result.main.count == 29
        assert result.main.elapsed_s < 30
        assert any("cannot connect again" in status.text for status in result.main.errors)

    def test_a_server_that_does_not_answer_is_given_up(self) -> None:
        with serving(lambda connection, stream: None) as server:
            result = run("put", server.target, Options(total=1, timeout_s=0.3))
        assert [str(each) for each in result.main.errors] == [
            "DeadlineExceeded: no answer in 0.3 s"
        ]

    def test_a_user_sends_its_token_with_every_call(self) -> None:
        def answer(connection: FakeConnection, stream: int) -> None:
            if connection.paths[stream].endswith("Authenticate"):
                request = rpc_pb2.AuthenticateRequest.FromString(connection.bodies[stream][5:])
                assert (request.name, request.password) == ("root", "se:cret")
                token = rpc_pb2.AuthenticateResponse(token="t.1")
                connection.ok(stream, token.SerializeToString())
            else:
                ok(connection, stream)

        with serving(answer) as server:
            run("put", server.target, Options(total=3, user="root:se:cret"))
            assert [fields.get("token") for fields in server.fields] == [None, "t.1", "t.1", "t.1"]

    def test_a_user_who_is_refused_is_one_error(self) -> None:
        def answer(connection: FakeConnection, stream: int) -> None:
            connection.error(stream, 3, "etcdserver: authentication failed, invalid user ID")

        with serving(answer) as server, pytest.raises(EndpointError, match="user a is refused"):
            run("put", server.target, Options(user="a:b"))

    def test_nobody_there_is_one_error(self) -> None:
        (port,) = free_ports(1)
        with pytest.raises(EndpointError, match=rf"^127.0.0.1:{port}: connection refused$"):
            run("put", f"127.0.0.1:{port}")

    @pytest.mark.parametrize(
        "options",
        [
            Options(clients=0),
            Options(conns=-1),
            Options(total=-1),
            Options(duration_s=-1.0),
            Options(timeout_s=0.0),
        ],
    )
    def test_options_without_sense_are_refused(self, options: Options) -> None:
        with pytest.raises(UsageError):
            run("put", "127.0.0.1:1", options)

    @pytest.mark.parametrize(
        "endpoint", ["", "ftp://a:1", "a", "a:b", "http://a:1/path", "unix://"]
    )
    def test_what_is_no_endpoint_is_refused(self, endpoint: str) -> None:
        with pytest.raises(UsageError):
            run("put", endpoint)

    def test_no_workload_of_that_name(self) -> None:
        with pytest.raises(UsageError, match='"get" is not a workload: put, range'):
            run("get", "127.0.0.1:1")

    def test_each_error_of_a_worker_is_known_to_the_controller(self) -> None:
        assert set(_ERRORS) == {"EndpointError", "UsageError", "WorkerFailed"}


class TestCompare:
    def test_endpoints_take_turns_and_share_the_total(self) -> None:
        order: list[str] = []

        def named(name: str) -> object:
            def answer(connection: FakeConnection, stream: int) -> None:
                if not order or order[-1] != name:
                    order.append(name)
                ok(connection, stream)

            return answer

        with serving(named("a")) as a, serving(named("b")) as b:  # type: ignore[arg-type]
            both = compare("put", a.target, b.target, Options(total=40), rounds=2)
            assert (a.requests, b.requests) == (40, 40)
        assert order == ["a", "b", "a"]
        assert isinstance(both, Comparison)
        assert both.one.main.count == both.other.main.count == 40
        assert len(both.one.rounds) == len(both.other.rounds) == 2
        ((name, ratios),) = both.ratios()
        assert name == "put"
        assert set(ratios) == {"per_second", "p50"}
        assert set(both.to_json()) == {"version", "results", "rounds_per_second", "ratios"}


class TestJson:
    def test_the_shape_is_the_documented_one(self) -> None:
        with serving(ok) as server:
            result = run("put", server.target, Options(total=50))
        assert isinstance(result, Result)
        plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
        assert set(plain) == RESULT_KEYS
        assert plain["version"] == 1
        (operation,) = plain["operations"]
        assert set(operation) == OPERATION_KEYS
        assert list(operation["latency_ms"]) == [
            *("mean", "stddev", "min", "p50", "p90", "p99", "p99.9", "max")
        ]
        assert sum(count for _, count in operation["histogram_ms"]) == 50
        assert set(operation["seconds"][0]) == {"second", "count", "mean_ms", "min_ms", "max_ms"}
        assert set(plain["load_generator"]) == {
            "processes",
            "cpu",
            "cpu_peak",
            "was_bottleneck",
            "skipped",
        }
        assert set(plain["machine"]) == {"cores", "cpu", "system", "python"}
