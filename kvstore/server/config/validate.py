"""Options that are right each become a configuration that is right as a whole, or one clear line.

Facts: etcd server/embed/config.go (Validate), embed/etcd.go, etcdserver/server.go (times).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from kvstore import limits
from kvstore.server.config.bounds import (
    at_least_one,
    min_lease_ttl_s,
    not_negative_s,
    quota_bytes,
    read_max_request_bytes,
    read_progress_interval_s,
)
from kvstore.server.config.cluster import check_initial_cluster
from kvstore.server.config.model import Config
from kvstore.server.config.source import Action, Source, read_source
from kvstore.server.config.tls import check_schemes, read_tls
from kvstore.server.config.urls import Url, check_advertised, check_bindable, default_route_ip
from kvstore.server.config.values import ConfigError, is_utf8, parse_duration_s
from kvstore.server.identity_ids import derive_cluster_id, derive_member_id

__all__ = ["LOG_LEVELS", "make_config", "parse_config"]

LOG_LEVELS: Final = ("debug", "info", "warn", "error", "dpanic", "panic", "fatal")

_MAX_ELECTION_MS: Final = 50_000


def parse_config(argv: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Config:
    """The configuration for a command line, without any environment unless one is given.

    Raises ConfigError, UsageError; ConfigError also when `argv` asks for help or a version.
    """
    source = read_source(argv, environ or {})
    if source.action is not Action.SERVE:
        raise ConfigError(f"--{source.action.value} asks for no server")
    return make_config(source)


def make_config(source: Source) -> Config:
    """The configuration that the options of `source` amount to; raises ConfigError."""
    values = source.values
    warnings = list(source.warnings)
    urls = _check_urls(source)
    tls = read_tls(values)
    _check_ticks(values)
    _check_texts(values)
    _check_choices(values)
    members = check_initial_cluster(source)
    member_id = derive_member_id(members, values["initial-cluster-token"])
    periodic_s, revisions = _read_retention(values)
    data_dir = _read_data_dir(source, warnings)
    if values["unsafe-no-fsync"]:
        warnings.append("--unsafe-no-fsync: a crash of the machine loses acknowledged writes")
    warnings += check_schemes(
        (*urls, *values["listen-client-http-urls"], *values["listen-metrics-urls"]),
        tls,
        transport=values["transport"],
    )
    advertised, is_default = _read_advertised(source, urls)
    return Config(
        name=values["name"],
        member_id=member_id,
        cluster_id=derive_cluster_id([member_id]),
        peer_urls=members,
        cluster_token=values["initial-cluster-token"],
        data_dir=data_dir,
        in_memory=values["in-memory"],
        unsafe_no_fsync=values["unsafe-no-fsync"],
        client_urls=urls,
        client_http_urls=values["listen-client-http-urls"],
        metrics_urls=values["listen-metrics-urls"],
        advertise_client_urls=advertised,
        is_advertise_default=is_default,
        transport=values["transport"],
        tls=tls,
        socket_reuse_port=values["socket-reuse-port"],
        max_request_bytes=read_max_request_bytes(values, warnings),
        max_txn_ops=values["max-txn-ops"],
        max_concurrent_streams=values["max-concurrent-streams"],
        quota_backend_bytes=quota_bytes(values),
        grpc_keepalive_min_time_s=not_negative_s(values, "grpc-keepalive-min-time"),
        grpc_keepalive_interval_s=not_negative_s(values, "grpc-keepalive-interval"),
        grpc_keepalive_timeout_s=not_negative_s(values, "grpc-keepalive-timeout"),
        heartbeat_interval_ms=values["heartbeat-interval"],
        election_timeout_ms=values["election-timeout"],
        min_lease_ttl_s=min_lease_ttl_s(values),
        watch_progress_notify_interval_s=read_progress_interval_s(values, warnings),
        auto_compaction_mode=values["auto-compaction-mode"],
        auto_compaction_retention_s=periodic_s,
        auto_compaction_retention_revisions=revisions,
        compaction_batch_limit_keys=at_least_one(
            values, "compaction-batch-limit", limits.COMPACTION_BATCH_KEYS
        ),
        compaction_sleep_interval_s=not_negative_s(values, "compaction-sleep-interval")
        or limits.COMPACTION_SLEEP_S,
        enable_grpc_gateway=values["enable-grpc-gateway"],
        cors_origins=frozenset(values["cors"]),
        host_whitelist=frozenset(values["host-whitelist"] or ("*",)),
        metrics=_read_metrics(values, warnings),
        debug_record_calls=values["debug-record-calls"],
        log_level=values["log-level"],
        log_format="json" if values["log-format"] == "json" else "text",
        log_outputs=tuple(dict.fromkeys(values["log-outputs"] or ("default",))),
        warning_apply_duration_s=values["warning-apply-duration"],
        warnings=tuple(warnings),
    )


def _check_urls(source: Source) -> tuple[Url, ...]:
    values = source.values
    urls: tuple[Url, ...] = values["listen-client-urls"] or (Url("http", "localhost", 2379),)
    check_bindable(values["listen-peer-urls"])
    check_bindable(urls)
    check_bindable(values["listen-client-http-urls"])
    check_bindable(values["listen-metrics-urls"])
    for flag in ("initial-advertise-peer-urls", "advertise-client-urls"):
        check_advertised(flag, values[flag])
    if (
        not source.file
        and "listen-client-urls" in source.given
        and "advertise-client-urls" not in source.given
    ):
        raise ConfigError(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly"
        )
    return urls


def _read_advertised(source: Source, urls: tuple[Url, ...]) -> tuple[tuple[str, ...], bool]:
    """What to advertise and whether that is the default; for 0.0.0.0 it is this host's address."""
    advertised: tuple[Url, ...] = source.values["advertise-client-urls"]
    is_default = "advertise-client-urls" not in source.given or not advertised
    if is_default and urls[0].host == "0.0.0.0" and (host := default_route_ip()):
        return (str(urls[0]._replace(host=host)),), False
    return tuple(map(str, advertised or (Url("http", "localhost", 2379),))), is_default


def _check_ticks(values: Mapping[str, Any]) -> None:
    heartbeat_ms, election_ms = values["heartbeat-interval"], values["election-timeout"]
    for flag in ("heartbeat-interval", "election-timeout"):
        if values[flag] == 0:
            raise ConfigError(f"--{flag} must be >0 (set to 0ms)")
    if 5 * heartbeat_ms > election_ms:
        raise ConfigError(
            f"--election-timeout[{election_ms}ms] should be at least as 5 times as "
            f"--heartbeat-interval[{heartbeat_ms}ms]"
        )
    if election_ms > _MAX_ELECTION_MS:
        raise ConfigError(
            f"--election-timeout[{election_ms}ms] is too long, "
            f"and should be set less than {_MAX_ELECTION_MS}ms"
        )


def _check_texts(values: Mapping[str, Any]) -> None:
    """What clients are shown, or what ids are made of, is text."""
    for flag in ("name", "initial-cluster", "initial-cluster-token"):
        if not is_utf8(values[flag]):
            raise ConfigError(f"--{flag} is not UTF-8")


def _check_choices(values: Mapping[str, Any]) -> None:
    mode, token = values["auto-compaction-mode"], values["auth-token"]
    if mode not in ("periodic", "revision"):
        raise ConfigError(f'unknown auto-compaction-mode "{mode}"')
    if values["logger"] not in ("zap", ""):
        raise ConfigError(f'unknown logger option "{values["logger"]}"')
    if values["log-level"] not in LOG_LEVELS:
        raise ConfigError(f'unrecognized level: "{values["log-level"]}"')
    if values["log-format"] not in ("text", "console", "json"):
        raise ConfigError(f'unknown log-format "{values["log-format"]}": text or json')
    kind = token.partition(",")[0]
    if kind not in ("simple", "jwt", ""):
        raise ConfigError(f'unknown auth token type "{kind}"')
    gates = values["feature-gates"]
    if gates.get("LeaseCheckpointPersist") and not gates.get("LeaseCheckpoint"):
        raise ConfigError(
            "enabling feature gate LeaseCheckpointPersist requires enabling "
            "feature gate LeaseCheckpoint"
        )


def _read_data_dir(source: Source, warnings: list[str]) -> str:
    values = source.values
    if values["in-memory"]:
        warnings.append("--in-memory: nothing is on disk, all data is lost when the server stops")
        if "data-dir" in source.given:
            warnings.append(f"--data-dir {values['data-dir']} is not used with --in-memory")
        return ""
    data_dir: str = values["data-dir"] or f"{values['name']}.etcd"
    if os.path.exists(os.path.join(data_dir, "member", "snap", "db")):
        raise ConfigError(
            f"{data_dir} holds the data of an etcd server (member/snap/db), "
            "which is left untouched: choose another --data-dir"
        )
    return data_dir


def _read_retention(values: Mapping[str, Any]) -> tuple[float, int]:
    """Seconds for mode periodic and revisions for mode revision, one of them 0."""
    mode, text = values["auto-compaction-mode"], values["auto-compaction-retention"]
    if text.isascii() and text.isdigit():
        return (int(text) * 3600.0, 0) if mode == "periodic" else (0.0, int(text))
    if mode == "revision":
        raise ConfigError(f'--auto-compaction-retention "{text}" must be a number of revisions')
    try:
        retention_s = parse_duration_s(text)
    except ValueError:
        retention_s = -1.0
    if retention_s < 0:
        raise ConfigError(f'error parsing CompactionRetention: invalid duration "{text}"')
    return retention_s, 0


def _read_metrics(values: Mapping[str, Any], warnings: list[str]) -> Literal["basic", "extensive"]:
    if values["metrics"] == "extensive":
        return "extensive"
    if values["metrics"] not in ("basic", ""):
        warnings.append(f'--metrics "{values["metrics"]}" is unknown: basic is used')
    return "basic"
