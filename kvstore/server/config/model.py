"""The configuration of a server, complete and checked: what `run` is given.

Units are in the names. Nothing in here is read from anywhere again while the server runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kvstore.server.config.urls import Url

__all__ = ["Config", "TlsConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """How clients are met on https and unixs URLs; paths are as given, "" where none is."""

    cert_file: str
    key_file: str
    trusted_ca_file: str
    client_cert_auth: bool
    client_crl_file: str
    client_cert_allowed_hostnames: tuple[str, ...]
    auto_tls: bool
    self_signed_cert_validity_years: int
    cipher_suites: tuple[str, ...]
    min_version: str
    """TLS1.2 or TLS1.3."""
    max_version: str
    """TLS1.2, TLS1.3, or "" for the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a server needs to know before it starts."""

    # Who this is.
    name: str
    member_id: int
    cluster_id: int
    peer_urls: tuple[str, ...]
    """Advertised to peers; only shown, nothing listens there."""
    cluster_token: str

    # Where the data is.
    data_dir: str
    """"" when `in_memory`."""
    in_memory: bool
    unsafe_no_fsync: bool

    # Where clients are served.
    client_urls: tuple[Url, ...]
    """To listen on, at least one; a port 0 is a free port to be chosen."""
    client_http_urls: tuple[Url, ...]
    """If any, HTTP is served here and not on `client_urls`."""
    metrics_urls: tuple[Url, ...]
    advertise_client_urls: tuple[str, ...]
    """What the member list says. May have port 0 until `bound` was called."""
    is_advertise_default: bool
    """True when nobody said what to advertise."""
    transport: Literal["native", "grpcio"]
    tls: TlsConfig
    socket_reuse_port: bool

    # What a client may ask for.
    max_request_bytes: int
    max_txn_ops: int
    max_concurrent_streams: int
    quota_backend_bytes: int
    """Only shown; negative for no quota, never 0."""
    grpc_keepalive_min_time_s: float
    grpc_keepalive_interval_s: float
    """0 for never."""
    grpc_keepalive_timeout_s: float
    """0 for no limit."""

    # Time.
    heartbeat_interval_ms: int
    election_timeout_ms: int
    min_lease_ttl_s: int
    watch_progress_notify_interval_s: float

    # History.
    auto_compaction_mode: Literal["periodic", "revision"]
    auto_compaction_retention_s: float
    """For mode periodic; 0 keeps everything."""
    auto_compaction_retention_revisions: int
    """For mode revision; 0 keeps everything."""
    compaction_batch_limit_keys: int
    compaction_sleep_interval_s: float

    # HTTP, metrics and logs.
    enable_grpc_gateway: bool
    cors_origins: frozenset[str]
    """`*` alone for every origin."""
    host_whitelist: frozenset[str]
    """`*` alone for every host."""
    metrics: Literal["basic", "extensive"]
    debug_record_calls: bool
    log_level: str
    log_format: Literal["text", "json"]
    log_outputs: tuple[str, ...]
    warning_apply_duration_s: float

    warnings: tuple[str, ...]
    """One line each, to be logged at the start."""

    def bound(self, ports: Sequence[int]) -> Config:
        """The same with the ports really bound, one for each of `client_urls` in order.

        An advertised URL with port 0 gets the port of the listener with the same scheme and host
        that asked for port 0, or of the first that did. Without an explicit advertised URL, what
        is bound is advertised. The number for a unix socket is of no meaning.
        """
        urls = tuple(
            url if url.is_unix else url._replace(port=port)
            for url, port in zip(self.client_urls, ports, strict=True)
        )
        chosen = [
            (asked, got)
            for asked, got in zip(self.client_urls, urls, strict=True)
            if not asked.is_unix and asked.port == 0
        ]
        if not chosen:
            return self
        if self.is_advertise_default:
            advertised = tuple(map(str, urls))
        else:
            advertised = tuple(_with_port(url, chosen) for url in self.advertise_client_urls)
        return replace(self, client_urls=urls, advertise_client_urls=advertised)


def _with_port(advertised: str, chosen: list[tuple[Url, Url]]) -> str:
    start, colon, port = advertised.rpartition(":")
    if advertised.startswith("unix") or not colon or not port or port.strip("0"):
        return advertised
    for asked, got in chosen:
        if str(asked) == advertised:
            return str(got)
    return f"{start}:{chosen[0][1].port}"
