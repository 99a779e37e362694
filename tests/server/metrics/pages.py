"""Reading the page /metrics as Prometheus does."""

from __future__ import annotations

import re
from typing import NamedTuple

from kvstore.backend import open_backend
from kvstore.server.config import Config, parse_config
from kvstore.server.metrics import Metrics
from kvstore.server.services import Settings, build_methods
from kvstore.server.stats import CallStats
from kvstore.store.aio import LoopStore
from kvstore.store.options import StoreOptions

__all__ = ["Family", "Page", "Served"]

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Family(NamedTuple):
    type: str
    labels: frozenset[str]


class Page:
    """Types by the name on the TYPE line, values by sample name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.types = dict(
            line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE ")
        )
        # The library's own parser gives every counter the ending `_total`.
        self.samples = {
            (name, tuple(sorted(_LABEL.findall(labels)))): float(value)
            for name, labels, value in _SAMPLE.findall(text)
        }

    def families(self) -> dict[str, Family]:
        """Label names without `le`; a histogram's samples belong to its name."""
        labels: dict[str, set[str]] = {name: set() for name in self.types}
        for name, pairs in self.samples:
            if name not in labels:
                name = name.rpartition("_")[0]
            labels[name] |= {label for label, _ in pairs} - {"le"}
        return {name: Family(self.types[name], frozenset(labels[name])) for name in labels}

    def __getitem__(self, name: str) -> float:
        """The value of a sample without labels."""
        return self.samples[name, ()]

    def at(self, sample: str, /, **labels: str) -> float:
        return self.samples[sample, tuple(sorted(labels.items()))]


class Served:
    """A store, the stats of a transport and the page about them; on a running loop."""

    def __init__(self, config: Config, store: LoopStore, *, timed: bool) -> None:
        self.store = store
        methods = build_methods(None, None, Settings())  # type: ignore[arg-type]
        self.stats = CallStats(methods, timed=timed)
        self.metrics = Metrics(config, store, self.stats, api_version="3.7.1")

    @classmethod
    async def open(
        cls,
        path: str = ":memory:",
        *flags: str,
        options: StoreOptions | None = None,
        timed: bool = False,
    ) -> Served:
        store = await LoopStore.open(open_backend(path), options=options)
        return cls(parse_config(flags), store, timed=timed)

    def page(self) -> Page:
        return Page(self.metrics.render()[1].decode())
