"""Where a URL has a server listen, beside what Go's net.Listen does (seen with etcd 3.4.23)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from kvstore.server.config import Url
from kvstore.server.transports.native.listening import SocketFile, listen_tcp, make_way


def reachable(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class TestTcp:
    @pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
    @pytest.mark.parametrize(
        ("host", "families"),
        [
            ("0.0.0.0", {"127.0.0.1", "::1"}),
            ("::", {"127.0.0.1", "::1"}),
            ("::ffff:0.0.0.0", {"127.0.0.1", "::1"}),
            ("127.0.0.1", {"127.0.0.1"}),
            ("::1", {"::1"}),
            ("::ffff:127.0.0.1", {"127.0.0.1"}),
        ],
    )
    def test_a_host_serves_the_families_that_it_stands_for(
        self, host: str, families: set[str]
    ) -> None:
        (listener,) = listen_tcp(Url("http", host, 0))
        with listener:
            port = listener.getsockname()[1]
            assert families == {each for each in ("127.0.0.1", "::1") if reachable(each, port)}

    def test_all_addresses_of_localhost_have_one_port(self) -> None:
        listeners = listen_tcp(Url("http", "localhost", 0))
        ports = {listener.getsockname()[1] for listener in listeners}
        for listener in listeners:
            listener.close()
        assert len(ports) == 1

    def test_without_ipv6_all_addresses_are_those_of_ipv4(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = socket.socket

        def socket_of(family: int, *rest: int) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(97, "Address family not supported by protocol")
            return real(family, *rest)

        monkeypatch.setattr("socket.socket", socket_of)
        (listener,) = listen_tcp(Url("http", "::", 0))
        monkeypatch.undo()
        with listener:
            assert listener.getsockname()[0] == "0.0.0.0"

    def test_a_taken_port_is_an_error(self) -> None:
        (first,) = listen_tcp(Url("http", "127.0.0.1", 0))
        with first, pytest.raises(OSError, match="Address already in use"):
            listen_tcp(Url("http", "0.0.0.0", first.getsockname()[1]))


class TestSocketFile:
    def test_it_is_gone_with_its_server(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        file = SocketFile(str(path))
        assert path.is_socket()
        file.socket.close()
        file.remove()
        assert not path.exists()

    def test_one_that_was_left_behind_is_replaced(self, tmp_path: Path) -> None:
        path = str(tmp_path / "s")
        SocketFile(path).socket.close()  # as after a SIGKILL
        with SocketFile(path).socket, socket.socket(socket.AF_UNIX) as client:
            client.connect(path)

    @pytest.mark.parametrize("backlog", [5, 0])
    def test_that_of_a_running_server_is_left_alone(self, tmp_path: Path, backlog: int) -> None:
        path = str(tmp_path / "s")
        with SocketFile(path).socket as first, socket.socket(socket.AF_UNIX) as client:
            first.listen(backlog)
            client.connect(path)  # the queue is full now, if it holds nobody
            with pytest.raises(OSError, match="another server listens there"):
                SocketFile(path)
            first.accept()[0].close()
            with socket.socket(socket.AF_UNIX) as another:
                another.settimeout(10)
                first.setblocking(True)
                if backlog:
                    first.accept()[0].close()  # the one that looked
                another.connect(path)

    def test_one_that_another_server_made_meanwhile_is_not_removed(self, tmp_path: Path) -> None:
        path = str(tmp_path / "s")
        first = SocketFile(path)
        first.socket.close()
        os.rename(path, tmp_path / "old")  # keeps its number in use
        with SocketFile(path).socket:
            first.remove()
            assert os.path.exists(path)

    def test_another_kind_of_file_is_not_removed(self, tmp_path: Path) -> None:
        path = tmp_path / "notes"
        path.write_text("mine")
        with pytest.raises(FileExistsError, match="this file is no socket"):
            make_way(str(path))
        assert path.read_text() == "mine"

    def test_a_path_that_is_free_needs_no_way(self, tmp_path: Path) -> None:
        make_way(str(tmp_path / "s"))
