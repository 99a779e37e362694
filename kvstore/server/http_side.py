"""Everything that is served besides gRPC, put together when the first client does.

The JSON gateway and the pages need modules that take longer to load than all the rest of a server;
one that is asked for nothing but gRPC starts without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvstore import __version__
from kvstore.server.config import Config
from kvstore.server.header import Headers
from kvstore.server.method import MethodTable
from kvstore.server.services.maintenance import API_VERSION
from kvstore.server.stats import CallStats
from kvstore.store.aio import LoopStore

if TYPE_CHECKING:
    from kvstore.server.recording import CallRecord
    from kvstore.server.transports.http1.connection import Http1Connection
    from kvstore.server.transports.interface import Face
    from kvstore.server.transports.web.messages import Site

__all__ = ["HttpSide"]


class HttpSide:
    """Implements Pages."""

    def __init__(
        self,
        config: Config,
        store: LoopStore,
        headers: Headers,
        methods: MethodTable,
        stats: CallStats,
        record: CallRecord | None,
    ) -> None:
        self._config, self._store, self._headers = config, store, headers
        self._methods, self._stats, self._record = methods, stats, record
        self._sites: dict[bool, Site] = {}

    def connection(self, face: Face, connections: set[Http1Connection]) -> Http1Connection:
        """The protocol of a connection to an address; it is in `connections` while it is open."""
        from kvstore.server.transports.http1.connection import Http1Connection

        return Http1Connection(self.site(face), connections, stats=self._stats)

    def site(self, face: Face) -> Site:
        from kvstore.server.transports.interface import Face

        if not self._sites:
            self._build()
        return self._sites[face is Face.METRICS]

    def _build(self) -> None:
        from kvstore.server.http.site import SiteParts, build_metrics_site, build_site
        from kvstore.server.metrics import Metrics

        metrics = Metrics(self._config, self._store, self._stats, api_version=API_VERSION)
        parts = SiteParts(
            config=self._config,
            store=self._store,
            methods=self._methods,
            headers=self._headers,
            stats=self._stats,
            metrics=metrics.render,
            health=metrics.health,
            own_version=__version__,
            record=self._record,
        )
        self._sites = {False: build_site(parts), True: build_metrics_site(parts)}
