"""The configuration of `kvstore serve`: etcd's own options, with etcd's meaning.

    flags (the table) -> source (command line, environment or file) -> validate -> Config

`parse_config(["--in-memory", ...])` does it all.
"""

from __future__ import annotations

from kvstore.server.config.model import Config, TlsConfig
from kvstore.server.config.source import Action, Source, read_source
from kvstore.server.config.urls import Url
from kvstore.server.config.validate import make_config, parse_config
from kvstore.server.config.values import ConfigError, UsageError

__all__ = [
    "Action",
    "Config",
    "ConfigError",
    "Source",
    "TlsConfig",
    "Url",
    "UsageError",
    "make_config",
    "parse_config",
    "read_source",
]
