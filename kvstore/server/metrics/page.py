"""The page /metrics of one server, made when it is asked for.

What writes it is loaded for the first request: the start of a server does not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvstore.server.config import Config
from kvstore.server.metrics.health import HealthStats
from kvstore.server.metrics.measured import MeasuredStore
from kvstore.server.stats import CallStats

if TYPE_CHECKING:
    from kvstore.server.metrics.collector import Collected

__all__ = ["Metrics"]


class Metrics:
    """Renders /metrics. `health` is for whoever serves /health, /livez and /readyz to add to."""

    def __init__(
        self, config: Config, store: MeasuredStore, stats: CallStats, *, api_version: str
    ) -> None:
        """`api_version` is the version of etcd that is served, as Status says it."""
        self._config, self._store, self._stats = config, store, stats
        self._api_version = api_version
        self.health = HealthStats()
        store.stats.slow_after_s = config.warning_apply_duration_s
        self._collected: Collected | None = None

    def __repr__(self) -> str:
        return f"<Metrics of {self._config.name}>"

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """The content type and the page. To be called on the loop of the store; a few milliseconds.

        Args:
            accept: the header of the request, "" for anything.

        Raises StoreClosed.
        """
        if self._collected is None:
            from kvstore.server.metrics.collector import Collected

            self._collected = Collected(
                self._config, self._store, self._stats, self.health, self._api_version
            )
        return self._collected.render(accept)
