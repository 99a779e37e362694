"""Servers that serve HTTP in every place that etcd has for it, ours and real ones, side by side.

client   the client URL, with gRPC       http      --listen-client-http-urls
                                         metrics   --listen-metrics-urls
"""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import NamedTuple

from tests.support.certificates import Authority, Issued, client_context
from tests.support.etcd import EtcdVersion, etcd_binary, unavailable
from tests.support.process import ChildProcess, free_ports
from tests.support.web_client import Where

__all__ = ["PLACES", "Farm", "Place"]


class Place(NamedTuple):
    url: str
    """Which of the URLs."""
    is_secure: bool
    protocol: str
    is_apart: bool = False
    """HTTP has URLs of its own."""

    def __str__(self) -> str:
        apart = "-apart" if self.is_apart and self.url != "http" else ""
        return f"{self.url}{apart}-{'tls' if self.is_secure else 'plain'}-{self.protocol}"


PLACES = [
    *(
        Place(url, is_secure, protocol, is_apart=url == "http")
        for url in ("client", "http", "metrics")
        for is_secure in (False, True)
        for protocol in (("http/1.1", "h2") if is_secure else ("http/1.1",))
    ),
    Place("client", is_secure=False, protocol="h2"),
]
"""All that serve it. The last is gRPC's alone: it says so, with 415."""


class Farm:
    """Starts servers when they are asked for, each kind once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.authority = Authority(path, "ca")
        self._pair = self.authority.issue("server", addresses=["127.0.0.1"])
        self.alice = self.authority.issue("alice", common_name="alice")
        self._running: dict[object, tuple[dict[str, int], ChildProcess]] = {}

    def where(self, server: str, place: Place, *flags: str, client: Issued | None = None) -> Where:
        """`server` is `ours` or `etcd`; the flags are in the words of both."""
        ports = self._ports(server, place, flags)
        tls = self.context(client) if place.is_secure else None
        return Where(ports[place.url], place.protocol, tls)

    def context(self, client: Issued | None = None) -> ssl.SSLContext:
        return client_context(self.authority, client)

    def close(self) -> list[str]:
        """The logs of ours."""
        logs = []
        for key, (_, child) in self._running.items():
            child.stop()
            if "ours" in str(key):
                logs.append(child.log())
        return logs

    def _ports(self, server: str, place: Place, flags: tuple[str, ...]) -> dict[str, int]:
        key = (server, place.is_secure, place.is_apart, flags)
        if key not in self._running:
            name = f"{server}{len(self._running)}"
            scheme = "https" if place.is_secure else "http"
            first, second, third, peer = free_ports(4)
            ports = {"client": first, "metrics": second}
            if place.is_apart:
                ports["http"] = third
            urls = {url: f"{scheme}://127.0.0.1:{port}" for url, port in ports.items()}
            command = [*_COMMANDS[server](urls, peer), "--data-dir", str(self._path / name)]
            if place.is_secure:
                command += ["--cert-file", str(self._pair.cert_file)]
                command += ["--key-file", str(self._pair.key_file)]
            log = self._path / f"{name}.log"
            child = ChildProcess([*command, *flags], log, {"KVSTORE_VERIFY": "1"})
            child.wait_for("ready to serve client requests")
            self._running[key] = ports, child
        return self._running[key][0]


def _ours(urls: dict[str, str], peer: int) -> list[str]:
    command = [sys.executable, "-W", "error", "-m", "kvstore", "serve"]
    command += ["--listen-client-urls", urls["client"], "--advertise-client-urls", urls["client"]]
    command += ["--listen-metrics-urls", urls["metrics"]]
    return [*command, *(["--listen-client-http-urls", urls["http"]] if "http" in urls else [])]


def _etcd(urls: dict[str, str], peer: int) -> list[str]:
    binary = etcd_binary(EtcdVersion.ETCD_37)
    if binary is None:
        unavailable("no etcd 3.7 on this machine")
    command = [str(binary), "--listen-peer-url", f"http://127.0.0.1:{peer}", "--unsafe-no-fsync"]
    command += ["--listen-client-url", urls["client"], "--listen-metrics-url", urls["metrics"]]
    return [*command, *(["--listen-client-http-url", urls["http"]] if "http" in urls else [])]


_COMMANDS = {"ours": _ours, "etcd": _etcd}
