"""Which page or method answers a request, and the sites that a server has.

build_site           all of it: pages and the gateway; for client URLs and client HTTP URLs
build_metrics_site   /metrics and the health pages; for --listen-metrics-urls
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Final, Protocol
from urllib.parse import quote

from kvstore import limits
from kvstore.server.config import Config
from kvstore.server.gateway.gateway import Gateway
from kvstore.server.header import Headers
from kvstore.server.http.access import Access
from kvstore.server.http.debug_vars import debug_vars_page
from kvstore.server.http.health import CheckedStore, health_pages
from kvstore.server.http.pages import Page, Reply, calls_page, metrics_page, not_found, version_page
from kvstore.server.method import MethodTable
from kvstore.server.metrics import HealthStats
from kvstore.server.recording import CallRecord
from kvstore.server.stats import CallStats
from kvstore.server.transports.web.messages import Answer, Handler
from kvstore.server.transports.web.target import LONGEST_PATH
from kvstore.types import StoreStatus

__all__ = ["PageSite", "SiteParts", "build_metrics_site", "build_site"]

_GATEWAY: Final = "/v3/"
_OLD_GATEWAY: Final = "/v3beta/"


class SiteStore(CheckedStore, Protocol):
    def status(self) -> StoreStatus: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteParts:
    """What sites are made of."""

    config: Config
    store: SiteStore
    methods: MethodTable
    headers: Headers
    stats: CallStats
    metrics: Callable[[str], tuple[str, bytes]]
    """The content type and the text of /metrics for what a client accepts (Metrics.render)."""
    health: HealthStats
    """Where health checks are counted."""
    own_version: str
    alarms: Callable[[], Iterable[str]] = tuple
    """The names of the alarms that are raised."""
    record: CallRecord | None = None
    """Served as /debug/calls."""


def build_site(parts: SiteParts) -> PageSite:
    """The gateway is left out with --enable-grpc-gateway=false."""
    config = parts.config
    gateway = None
    if config.enable_grpc_gateway:
        max_message_bytes = config.max_request_bytes + limits.REQUEST_OVERHEAD_BYTES
        gateway = Gateway(parts.methods, parts.stats, max_message_bytes=max_message_bytes)
    pages = {
        **_metrics_pages(parts),
        "/version": version_page(parts.own_version),
        "/debug/vars": debug_vars_page(parts.headers, parts.store.status),
    }
    if parts.record is not None:
        pages["/debug/calls"] = calls_page(parts.record)
    return PageSite(pages, gateway, Access(config.cors_origins, config.host_whitelist))


def build_metrics_site(parts: SiteParts) -> PageSite:
    """Without CORS and for every host, as in etcd."""
    return PageSite(_metrics_pages(parts))


def _metrics_pages(parts: SiteParts) -> dict[str, Page]:
    return {
        "/metrics": metrics_page(parts.metrics),
        **health_pages(parts.store, parts.alarms, parts.health),
    }


class PageSite:
    """Implements Site."""

    def __init__(
        self,
        pages: Mapping[str, Page],
        gateway: Gateway | None = None,
        access: Access | None = None,
    ) -> None:
        self._pages, self._gateway, self._access = pages, gateway, access

    def __repr__(self) -> str:
        return f"<PageSite {len(self._pages)} pages, gateway={self._gateway is not None}>"

    def begin(self, answer: Answer) -> Handler | None:
        request = answer.request
        if request.method == "OPTIONS" and request.target == "*":
            answer.reply(200, (), b"")
            return None
        path = request.path
        if self._access is not None:
            refusal = self._access.refusal(request)
            if refusal is not None:
                answer.reply(*refusal)
                return None
            answer.base = self._access.cors_fields(request)
            if path.startswith(_OLD_GATEWAY):
                path = _GATEWAY + path.removeprefix(_OLD_GATEWAY)
            if request.method == "OPTIONS":
                answer.reply(200, (), b"")
                return None
        if request.target == "*":
            answer.reply(400, (), b"", closes=True)
            return None
        if len(path) > LONGEST_PATH:
            answer.reply(*not_found(request))
            return None
        target = self._moved(path)
        if target != path and request.method != "CONNECT":
            answer.reply(*_redirect(answer, target))
            return None
        if self._gateway is not None and path.startswith(_GATEWAY):
            return self._gateway.begin(answer, path)
        answer.reply(*self._pages.get(path, not_found)(request))
        return None

    def _moved(self, path: str) -> str:
        """Where a path is really: without empty parts and dots, and the gateway ends in a slash."""
        clean = posixpath.normpath(f"/{path}").replace("//", "/")
        if path.endswith("/") and clean != "/":
            clean += "/"
        if self._gateway is not None and clean + "/" == _GATEWAY:
            return _GATEWAY
        return clean


def _redirect(answer: Answer, target: str) -> Reply:
    request = answer.request
    location = quote(target) + (f"?{request.query}" if request.query else "")
    if request.method not in ("GET", "HEAD"):
        return Reply(307, [("Location", location)], b"")
    fields = [("Content-Type", "text/html; charset=utf-8"), ("Location", location)]
    link = f'<a href="{escape(location)}">Temporary Redirect</a>.\n\n'
    return Reply(307, fields, link.encode() if request.method == "GET" else b"")
