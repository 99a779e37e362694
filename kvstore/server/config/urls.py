"""URLs to listen on and to advertise, with the checks etcd makes of them.

A URL is `http://host:port`, `https://host:port`, `unix://path` or `unixs://path`; port 0 asks for
any free port, and so does none behind the colon. Facts: etcd client/pkg/types/urls.go,
server/embed/config.go (checkBindURLs).
"""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Final, NamedTuple

from kvstore.server.config.values import ConfigError, is_utf8

__all__ = ["Url", "check_advertised", "check_bindable", "default_route_ip", "parse_urls"]

_MOST_PATH_BYTES: Final = 107
"""Of a socket file (sun_path of unix(7), less its end)."""
_DOCUMENTATION_ADDRESS: Final = ("192.0.2.1", 9)


class Url(NamedTuple):
    """One address; for a socket file `host` is its path and `port` is 0."""

    scheme: str
    host: str
    port: int

    @property
    def is_unix(self) -> bool:
        return self.scheme in ("unix", "unixs")

    @property
    def is_secure(self) -> bool:
        return self.scheme in ("https", "unixs")

    @property
    def address(self) -> str:
        """`host:port` with an IPv6 host in brackets, or `unix:path`, as gRPC spells it."""
        if self.is_unix:
            return f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host if self.is_unix else self.address}"


def parse_urls(text: str) -> tuple[Url, ...]:
    """The URLs of a comma separated list, sorted and each once, as etcd keeps them.

    Raises ValueError with etcd's reason.
    """
    if not text.strip():
        return ()
    return tuple(sorted({_parse_url(part.strip()) for part in text.split(",")}, key=str))


def check_bindable(urls: tuple[Url, ...]) -> None:
    """Only an IP address, localhost or a short path can be listened on; raises ConfigError."""
    for url in urls:
        if url.is_unix and len(os.fsencode(url.host)) > _MOST_PATH_BYTES:
            raise ConfigError(
                f"the path of a unix socket has at most {_MOST_PATH_BYTES} bytes: {url}"
            )
        if not url.is_unix and url.host != "localhost" and not _is_ip(url.host):
            raise ConfigError(f"expected IP in URL for binding ({url})")


def check_advertised(flag: str, urls: tuple[Url, ...]) -> None:
    """Others must be able to dial what `flag` advertises; raises ConfigError."""
    for url in urls:
        if not url.host:
            shown = ",".join(map(str, urls))
            raise ConfigError(f'--{flag} "{shown}" must be "host:port" (unexpected empty host)')


def default_route_ip() -> str:
    """The address this host uses to reach others; "" without a route. No packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_DOCUMENTATION_ADDRESS)
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _parse_url(text: str) -> Url:
    if not is_utf8(text):
        raise ValueError("URL must be UTF-8")
    given, colon, rest = text.partition(":")
    scheme = given.lower()
    if not colon or scheme not in ("http", "https", "unix", "unixs"):
        raise ValueError(f"URL scheme must be http, https, unix, or unixs: {text}")
    rest = rest.removeprefix("//")
    if scheme.startswith("unix"):
        if not rest:
            raise ValueError(f"URL must contain the path of a socket: {text}")
        return Url(scheme, rest, 0)
    authority, slash, _ = rest.partition("/")
    host, colon, port = authority.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    port = port or "0"
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f'URL address does not have the form "host:port": {text}')
    if slash:
        raise ValueError(f"URL must not contain a path: {text}")
    return Url(scheme, host, int(port))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host
