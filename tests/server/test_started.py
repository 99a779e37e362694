"""Servers as processes of their own, started as etcd is started: by systemd, by mistake, twice."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kvstore.client.grpc import GrpcStore
from kvstore.keys import KeyRange
from kvstore.types import PutOp, RangeOp, Txn
from tests.server.metrics.pages import Page
from tests.support.process import ChildProcess, StartFailed

pytestmark = pytest.mark.slow

READY = "ready to serve client requests"


class Started:
    """Starts servers and ends what is left of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.children: list[ChildProcess] = []

    def __call__(
        self,
        url: str = "http://127.0.0.1:0",
        *flags: str,
        files: int | None = None,
        env: dict[str, str] | None = None,
    ) -> ChildProcess:
        command = [sys.executable, "-m", "kvstore", "serve", "--listen-client-urls", url]
        command += ["--advertise-client-urls", "http://127.0.0.1:1", *flags]
        if "--data-dir" not in flags:
            command += ["--data-dir", str(self.directory / "data")]
        if files is not None:
            command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
        log = self.directory / f"log{len(self.children)}"
        child = ChildProcess(command, log, env)
        self.children.append(child)
        return child


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    all_of_them = Started(tmp_path)
    yield all_of_them
    for child in all_of_them.children:
        child.kill()


def port_of(child: ChildProcess) -> int:
    child.wait_for(READY)
    return int(child.wait_for(r"serving client requests on \S*:([1-9]\d*)")[1])


def asked(client: socket.socket, path: str) -> str:
    """The body of the answer to a GET on a connection that stays."""
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return answer(client)


def answer(client: socket.socket) -> str:
    response = http.client.HTTPResponse(client)
    response.begin()
    return response.read().decode()


class TestSystemd:
    def test_a_unit_hears_that_it_is_ready_and_that_it_stops(
        self, started: Started, tmp_path: Path
    ) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as init:
            init.bind(str(tmp_path / "notify"))
            init.settimeout(30)
            child = started(env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
            assert init.recv(100) == b"READY=1"
            with socket.create_connection(("127.0.0.1", port_of(child))) as client:
                assert "etcdserver" in asked(client, "/version")
            child.process.send_signal(signal.SIGTERM)
            assert init.recv(100) == b"STOPPING=1"
            assert child.process.wait(20) == 0


class TestSignals:
    def test_those_of_no_meaning_are_logged_and_ignored(self, started: Started) -> None:
        child = started()
        port = port_of(child)
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            child.process.send_signal(number)
            child.wait_for(f"received {number.name}: ignored")
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert "etcdserver" in asked(client, "/version")


class TestAddresses:
    @pytest.mark.parametrize(
        "url", ["HTTP://127.0.0.1:0", "http://[::ffff:127.0.0.1]:0", "http://0.0.0.0:"]
    )
    def test_it_is_served(self, started: Started, url: str) -> None:
        with socket.create_connection(("127.0.0.1", port_of(started(url)))) as client:
            assert "etcdserver" in asked(client, "/version")

    def test_a_path_that_is_too_long_is_one_line(self, started: Started) -> None:
        child = started(f"unix:///tmp/{'x' * 200}")
        assert child.process.wait(30) == 1
        assert re.fullmatch(
            r"kvstore: the path of a unix socket has at most 107 bytes: unix:///tmp/x+\n",
            child.log(),
        )


class TestSocketFile:
    @pytest.mark.parametrize("transport", ["native", "grpcio"])
    def test_a_second_server_leaves_that_of_the_first_alone(
        self, started: Started, tmp_path: Path, transport: str
    ) -> None:
        url = f"unix://{tmp_path}/s"
        started(url, "--transport", transport).wait_for(READY)
        second = started(url, "--transport", transport)
        assert second.process.wait(30) == 1
        assert "another server listens there" in second.log()
        with GrpcStore(f"unix:{tmp_path}/s", timeout_s=10) as store:
            assert store.range(RangeOp(KeyRange(b"k"))).count == 0

    def test_a_server_that_was_killed_is_followed_by_another(
        self, started: Started, tmp_path: Path
    ) -> None:
        url = f"unix://{tmp_path}/s"
        first = started(url)
        first.wait_for(READY)
        first.kill()
        assert (tmp_path / "s").is_socket()
        second = started(url)
        second.wait_for(READY)
        second.stop()
        assert not (tmp_path / "s").exists()


class TestDirectory:
    def test_one_that_others_may_read_is_warned_of(self, started: Started, tmp_path: Path) -> None:
        open_one = tmp_path / "open"
        open_one.mkdir(mode=0o755)
        open_one.chmod(0o755)
        child = started("http://127.0.0.1:0", "--data-dir", str(open_one))
        child.wait_for(r'exist, but the permission is "drwxr-xr-x". The recommended permission is')
        child.wait_for(READY)


class TestFileLimit:
    """Three times as many connections as a server of 64 open files can have."""

    FILES = 64

    def test_all_are_served_and_nobody_is_harmed(self, started: Started) -> None:
        child = started(files=self.FILES)
        port = port_of(child)
        with GrpcStore(f"127.0.0.1:{port}", timeout_s=30) as store:
            store.range(RangeOp(KeyRange(b"k")))
            clients = list(visitors(port, 3 * self.FILES))
            try:
                child.wait_for("are the most for the open files: others wait")
                limit = self.watched(clients[0])
                served = clients[: limit - 1]  # one is that of the store
                assert all("etcdserver" in asked(client, "/version") for client in served)
                # New segments of the journal and checkpoints of them take descriptors.
                for number in range(40):
                    store.txn(Txn(success=(PutOp(b"k%d" % number, bytes(400_000)),)))
                waiting = clients[limit - 1 :]
                for client in waiting:
                    client.sendall(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n")
                for leaving, client in zip([*served, *waiting], waiting, strict=False):
                    leaving.close()
                    assert "etcdserver" in answer(client)
            finally:
                for client in clients:
                    client.close()
            assert store.range(RangeOp(KeyRange(b"k", b"l"), count_only=True)).count == 40
        log = child.log()
        assert "Traceback" not in log
        assert log.count("others wait") == 1
        assert child.stop() == 0

    def watched(self, client: socket.socket) -> int:
        """What the page says of connections; the limit."""
        page = Page(asked(client, "/metrics"))
        limit = int(page["kvstore_client_sockets_limit"])
        assert page["kvstore_client_sockets"] == limit < page["process_max_fds"] == self.FILES
        assert page.at("kvstore_accept_waits_total", reason="limit") == 1
        assert page.at("kvstore_accept_waits_total", reason="error") == 0
        return limit

    def test_a_server_takes_all_that_the_system_allows(self, started: Started) -> None:
        child = started()
        with socket.create_connection(("127.0.0.1", port_of(child))) as client:
            page = Page(asked(client, "/metrics"))
        hard = re.search(r"Max open files +\d+ +(\d+)", Path("/proc/self/limits").read_text())
        assert hard is not None
        assert page["process_max_fds"] == int(hard[1])


def visitors(port: int, count: int) -> Sequence[socket.socket]:
    return [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(count)]


class TestFailures:
    def test_a_taken_port_is_one_line(self, started: Started) -> None:
        port = port_of(started())
        second = started(f"http://127.0.0.1:{port}", "--data-dir", "/nowhere/at/all")
        with pytest.raises(StartFailed):
            second.wait_for(READY)
        assert second.log() == (
            f"kvstore: cannot listen on 127.0.0.1:{port}: Address already in use\n"
        )
