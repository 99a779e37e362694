"""Where a load goes: an endpoint in etcd's notation, with TLS or without.

host:port    http://host:port    https://host:port    unix:///path    unixs:///path
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from kvstore.bench.errors import UsageError

__all__ = ["Endpoint", "Tls", "parse_endpoint"]

_SCHEMES: Final = ("http", "https", "unix", "unixs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The paths of PEM files, as etcd's --cacert, --cert and --key; empty: not given."""

    cacert: str = ""
    cert: str = ""
    key: str = ""
    insecure_skip_verify: bool = False

    def context(self) -> ssl.SSLContext:
        """Raises OSError (ssl.SSLError among them) for files that cannot be used."""
        context = ssl.create_default_context(cafile=self.cacert or None)
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert:
            context.load_cert_chain(self.cert, self.key or None)
        context.set_alpn_protocols(["h2"])
        return context


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One parsed endpoint; `ssl` is None without TLS."""

    text: str
    host: str
    port: int
    unix_path: str = ""
    ssl: ssl.SSLContext | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.text

    @property
    def sni(self) -> str | None:
        """The name that the certificate has to hold; None without TLS."""
        if self.ssl is None:
            return None
        return self.host or "localhost"

    def fields(self, path: str, metadata: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """The header fields of a request."""
        authority = f"[{self.host}]" if ":" in self.host else self.host
        return [
            (":method", "POST"),
            (":scheme", "http" if self.ssl is None else "https"),
            (":path", path),
            (":authority", f"{authority}:{self.port}" if authority else "localhost"),
            ("content-type", "application/grpc"),
            ("user-agent", "kvstore-bench"),
            ("te", "trailers"),
            *metadata,
        ]


def parse_endpoint(text: str, tls: Tls) -> Endpoint:
    """Raises UsageError for what is no endpoint, OSError for files of `tls`."""
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        # Without a scheme TLS is used when something of it is given, as etcdctl does it.
        scheme, rest = ("https" if tls != Tls() else "http"), text.strip()
    if scheme not in _SCHEMES:
        raise UsageError(f'endpoint "{text}": the scheme is one of {", ".join(_SCHEMES)}')
    context = tls.context() if scheme in ("https", "unixs") else None
    if scheme.startswith("unix"):
        if not rest:
            raise UsageError(f'endpoint "{text}" has no path')
        return Endpoint(text, "", 0, rest, context)
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f'endpoint "{text}": {error}') from None
    if not host or port is None or parts.path.strip("/"):
        raise UsageError(f'endpoint "{text}" is not host:port')
    return Endpoint(text, host, port, "", context)
