"""The same files and clients for a real etcd and for our server as a process: who is served."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from kvstore.proto import rpc_pb2
from tests.server.tls.greeting import greet
from tests.support.certificates import Authority, Issued, client_context
from tests.support.etcd import EtcdVersion, etcd_binary, unavailable
from tests.support.process import ChildProcess, free_ports

pytestmark = pytest.mark.slow

ALLOWED = "client.test"


class World:
    """An authority, and certificates of every kind."""

    def __init__(self, path: Path) -> None:
        day = timedelta(days=1)
        self.path = path
        self.authority = authority = Authority(path, "ca")
        inner, other = Authority(path, "inner", authority), Authority(path, "other")
        self.server = authority.issue("server", addresses=["127.0.0.1"])
        self.clients: dict[str, Issued | None] = {
            "good": authority.issue("good", names=[ALLOWED]),
            "wildcard": authority.issue("wildcard", names=["*.test"]),
            "through-intermediate": inner.issue("through-intermediate", names=[ALLOWED]),
            "none": None,
            "other-authority": other.issue("other-authority", names=[ALLOWED]),
            "other-name": authority.issue("other-name", names=["other.test"]),
            "common-name-alone": authority.issue("common-name-alone", common_name=ALLOWED),
            "expired": authority.issue("expired", names=[ALLOWED], start=-2 * day, end=-day),
            "not-yet": authority.issue("not-yet", names=[ALLOWED], start=day, end=2 * day),
            "no-client-usage": authority.issue(
                "no-client-usage", names=[ALLOWED], usages=[ExtendedKeyUsageOID.SERVER_AUTH]
            ),
            "revoked": authority.issue("revoked", names=[ALLOWED]),
        }
        revoked = self.clients["revoked"]
        assert revoked is not None
        self.crl = authority.revoke(revoked.certificate)

    def flags(self) -> list[str]:
        return [
            f"--cert-file={self.server.cert_file}",
            f"--key-file={self.server.key_file}",
            f"--trusted-ca-file={self.authority.cert_file}",
            f"--client-crl-file={self.crl}",
            f"--client-cert-allowed-hostname={ALLOWED}",
        ]

    def is_served(self, port: int, name: str) -> bool:
        context = client_context(self.authority, self.clients[name])
        context.set_alpn_protocols(["h2"])
        return greet(port, context).is_served


def kvstore(path: Path, port: int, *flags: str) -> list[str]:
    url = f"https://127.0.0.1:{port}"
    command = [sys.executable, "-m", "kvstore", "serve", f"--data-dir={path}", *flags]
    return [*command, f"--listen-client-urls={url}", f"--advertise-client-urls={url}"]


def etcd34(path: Path, port: int, *flags: str) -> list[str]:
    binary = etcd_binary(EtcdVersion.ETCD_34)
    if binary is None:
        unavailable("no etcd on this machine")
    url, peer = f"https://127.0.0.1:{port}", f"http://127.0.0.1:{free_ports(1)[0]}"
    command = [str(binary), f"--data-dir={path}", *flags]
    command += [f"--listen-client-urls={url}", f"--advertise-client-urls={url}"]
    command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    return [*command, f"--initial-cluster=default={peer}"]


SERVERS = pytest.mark.parametrize("server", [etcd34, kvstore])
Command = Callable[..., list[str]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., int]]:
    """Starts a server with flags, once for the same ones; returns its port."""
    running: dict[Any, tuple[int, ChildProcess]] = {}

    def get(server: Command, *flags: str) -> int:
        key = (server, flags)
        if key not in running:
            path, port = tmp_path_factory.mktemp("server") / "d", free_ports(1)[0]
            child = ChildProcess(server(path, port, *flags), path.with_suffix(".log"))
            child.wait_for("ready to serve client requests")
            running[key] = port, child
        return running[key][0]

    yield get
    for _, child in running.values():
        child.stop()
        assert "Traceback" not in child.log()


class TestClients:
    @SERVERS
    @pytest.mark.parametrize(
        ("name", "is_served"),
        [
            ("good", True),
            ("wildcard", True),
            ("through-intermediate", True),
            ("none", False),
            ("other-authority", False),
            ("other-name", False),
            ("common-name-alone", False),
            ("expired", False),
            ("not-yet", False),
            ("no-client-usage", False),
            ("revoked", False),
        ],
    )
    def test_the_certificate_decides(
        self, world: World, start: Callable[..., int], server: Command, name: str, is_served: bool
    ) -> None:
        assert world.is_served(start(server, *world.flags()), name) == is_served

    @SERVERS
    def test_a_plain_client_is_no_harm(
        self, world: World, start: Callable[..., int], server: Command
    ) -> None:
        port = start(server, *world.flags())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(
                "/etcdserverpb.KV/Range",
                rpc_pb2.RangeRequest.SerializeToString,
                rpc_pb2.RangeResponse.FromString,
            )
            with pytest.raises(grpc.RpcError) as caught:
                call(rpc_pb2.RangeRequest(key=b"k"), timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert world.is_served(port, "good")


class TestCalls:
    @SERVERS
    def test_a_client_of_grpc_puts_and_gets(
        self, world: World, start: Callable[..., int], server: Command
    ) -> None:
        good = world.clients["good"]
        assert good is not None
        credentials = grpc.ssl_channel_credentials(
            world.authority.cert_file.read_bytes(),
            good.key_file.read_bytes(),
            good.cert_file.read_bytes(),
        )
        port = start(server, *world.flags())
        with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            put = channel.unary_unary(
                "/etcdserverpb.KV/Put",
                rpc_pb2.PutRequest.SerializeToString,
                rpc_pb2.PutResponse.FromString,
            )
            get = channel.unary_unary(
                "/etcdserverpb.KV/Range",
                rpc_pb2.RangeRequest.SerializeToString,
                rpc_pb2.RangeResponse.FromString,
            )
            # Larger than a record of TLS and a read of a socket.
            value = bytes(range(256)) * 2000
            assert put(rpc_pb2.PutRequest(key=b"k", value=value), timeout=10).header.revision > 1
            assert get(rpc_pb2.RangeRequest(key=b"k"), timeout=10).kvs[0].value == value


class TestAutoTls:
    @SERVERS
    def test_it_serves_a_client_that_trusts_anybody(
        self, world: World, start: Callable[..., int], server: Command
    ) -> None:
        port = start(server, "--auto-tls")
        context = client_context(None)
        context.set_alpn_protocols(["h2"])
        assert greet(port, context).is_served


class TestCannotStart:
    @SERVERS
    @pytest.mark.parametrize(
        ("cert", "key", "words"),
        [
            ("nowhere.pem", "server.key", "open {cert}: no such file or directory"),
            ("server.pem", "nowhere.key", "open {key}: no such file or directory"),
            ("server.pem", "good.key", "tls: private key does not match public key"),
            ("server.key", "server.key", "tls: failed to "),
            ("good.crl", "server.key", "tls: failed to find any PEM data in certificate input"),
        ],
    )
    def test_the_reason_is_in_the_words_of_etcd(
        self, world: World, tmp_path: Path, server: Command, cert: str, key: str, words: str
    ) -> None:
        paths = {"cert": str(world.path / cert), "key": str(world.path / key)}
        (world.path / "good.crl").write_bytes(b"\x30\x00")
        flags = [f"--cert-file={paths['cert']}", f"--key-file={paths['key']}"]
        command = server(tmp_path / "d", free_ports(1)[0], *flags)
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 1
        assert words.format(**paths) in ended.stderr
        if server is kvstore:
            assert ended.stderr.startswith("kvstore: ")
            assert ended.stderr.count("\n") == 1
