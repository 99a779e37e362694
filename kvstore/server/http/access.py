"""Who may ask over plain HTTP: --cors and --host-whitelist (etcd server/embed/serve.go)."""

from __future__ import annotations

from collections.abc import Collection

from kvstore.server.http.pages import Reply, error
from kvstore.server.transports.web.messages import Fields, Request

__all__ = ["Access"]

_EVERY = "*"


class Access:
    def __init__(self, origins: Collection[str], hosts: Collection[str]) -> None:
        """An empty collection, or one with `*`, lets everyone in."""
        self._allows_every_origin = not origins or _EVERY in origins
        self._allows_every_host = not hosts or _EVERY in hosts
        self._origins, self._hosts = frozenset(origins), frozenset(hosts)

    def refusal(self, request: Request) -> Reply | None:
        """For a host that is not listed; with TLS the certificate has said who we are."""
        if request.is_secure or self._allows_every_host:
            return None
        host = host_name(request.host)
        if host in self._hosts:
            return None
        return error(421, _REBINDING.format(host=host))

    def cors_fields(self, request: Request) -> Fields:
        origin = _EVERY if self._allows_every_origin else request.field("origin")
        if origin != _EVERY and origin not in self._origins:
            return ()
        return (
            ("Access-Control-Allow-Headers", "accept, content-type, authorization"),
            ("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE"),
            ("Access-Control-Allow-Origin", origin),
        )


_REBINDING = """
This host name is not one that the server expects: {host!r}.

A web page may point a name of its own at this address (DNS rebinding, CVE-2018-5702), so over
plain HTTP only known names are answered. Either
- use TLS, where the certificate tells, or
- add the name to the flag --host-whitelist.
"""


def host_name(authority: str) -> str:
    """`host:port` or `[host]:port` without the port; anything else as it is."""
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        return authority
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1]
    return authority if ":" in host else host
