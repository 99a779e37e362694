"""The options that change nothing: ignored with a warning, refused, or an older name of another.

What is ignored concerns things one server alone does not have (peers, a raft log, a bbolt file) or
this one does not have yet, so that a command line written for etcd still starts. What is refused
would have the member be part of something else: a cluster of several, or a proxy.
"""

from __future__ import annotations

from typing import Final

from kvstore.server.config.flag import Flag, Kind, Type

__all__ = ["IGNORED", "LEGACY", "OLDER", "REFUSED"]

STRING, BOOL, INT, UINT = Type.STRING, Type.BOOL, Type.INT, Type.UINT
DURATION, URLS, STRINGS = Type.DURATION, Type.URLS, Type.STRINGS

_PEERS = "a server alone has no peers"
_RAFT = "there is no raft log"
_BBOLT = "the data is not in a bbolt file"
_CHECKS = "there are no other members to compare with"
_TRACING = "traces are not exported"
_ROTATION = "log files are not rotated here"
_V2 = "the v2 API is not served"
_ALONE = "this server is always the only member"
_DISCOVERY = "there is no discovery"
_AUTH = "there is no authentication yet"
_BATCHES = "a commit begins as soon as somebody waits for it"


def _ignored(why: str, *rows: tuple[str, Type, str]) -> tuple[Flag, ...]:
    return tuple(
        Flag(name, kind, default, Kind.IGNORED, "Ignored", f"Ignored: {why}.", why=why)
        for name, kind, default in rows
    )


_TRACING_ROWS: Final = (
    ("enable-distributed-tracing", BOOL, "false"),
    ("distributed-tracing-address", STRING, "localhost:4317"),
    ("distributed-tracing-service-name", STRING, "etcd"),
    ("distributed-tracing-instance-id", STRING, ""),
    ("distributed-tracing-sampling-rate", INT, "0"),
)

IGNORED: Final = (
    *_ignored(
        _RAFT,
        ("wal-dir", STRING, ""),
        ("snapshot-count", UINT, "10000"),
        ("snapshot-catchup-entries", UINT, "5000"),
        ("max-snapshots", UINT, "5"),
        ("max-wals", UINT, "5"),
        ("initial-election-tick-advance", BOOL, "true"),
        ("pre-vote", BOOL, "true"),
    ),
    *_ignored(
        _PEERS,
        ("listen-peer-urls", URLS, "http://localhost:2380"),
        ("strict-reconfig-check", BOOL, "true"),
        ("max-learners", INT, "1"),
        ("raft-read-timeout", DURATION, "5s"),
        ("raft-write-timeout", DURATION, "5s"),
        ("downgrade-check-time", DURATION, "5s"),
        ("peer-cert-file", STRING, ""),
        ("peer-key-file", STRING, ""),
        ("peer-client-cert-auth", BOOL, "false"),
        ("peer-client-cert-file", STRING, ""),
        ("peer-client-key-file", STRING, ""),
        ("peer-trusted-ca-file", STRING, ""),
        ("peer-auto-tls", BOOL, "false"),
        ("peer-cert-allowed-cn", STRINGS, ""),
        ("peer-cert-allowed-hostname", STRINGS, ""),
        ("peer-crl-file", STRING, ""),
        ("peer-skip-client-san-verification", BOOL, "false"),
        ("client-cert-file", STRING, ""),
        ("client-key-file", STRING, ""),
    ),
    Flag(
        "initial-cluster-state",
        STRING,
        "new",
        Kind.IGNORED,
        "Ignored",
        f"Ignored: {_ALONE}.",
        choices=("new", "existing"),
        why=_ALONE,
    ),
    Flag(
        "discovery-fallback",
        STRING,
        "exit",
        Kind.IGNORED,
        "Ignored",
        f"Ignored: {_DISCOVERY}.",
        choices=("exit", "proxy"),
        why=_DISCOVERY,
    ),
    *_ignored(
        _DISCOVERY,
        ("discovery-dial-timeout", DURATION, "2s"),
        ("discovery-request-timeout", DURATION, "5s"),
        ("discovery-keepalive-time", DURATION, "2s"),
        ("discovery-keepalive-timeout", DURATION, "6s"),
        ("discovery-insecure-transport", BOOL, "true"),
        ("discovery-insecure-skip-tls-verify", BOOL, "false"),
        ("discovery-cert", STRING, ""),
        ("discovery-key", STRING, ""),
        ("discovery-cacert", STRING, ""),
        ("discovery-user", STRING, ""),
        ("discovery-password", STRING, ""),
        ("discovery-srv-name", STRING, ""),
        ("discovery-proxy", STRING, ""),
    ),
    *_ignored(_ALONE, ("force-new-cluster", BOOL, "false")),
    *_ignored(
        "no quota is enforced yet, Status and /metrics show it",
        ("quota-backend-bytes", INT, "0"),
    ),
    *_ignored(
        _AUTH,
        ("auth-token", STRING, "simple"),
        ("auth-token-ttl", UINT, "300"),
        ("bcrypt-cost", UINT, "10"),
    ),
    *_ignored(
        _BATCHES,
        ("backend-batch-interval", DURATION, "100ms"),
        ("backend-batch-limit", INT, "10000"),
    ),
    *_ignored("no feature here has a gate", ("feature-gates", Type.FEATURES, "")),
    *_ignored("profiles are not served", ("enable-pprof", BOOL, "false")),
    *_ignored(
        "requests are timed with --metrics extensive, not logged",
        ("warning-unary-request-duration", DURATION, "300ms"),
    ),
    *_ignored(
        "an address in TIME_WAIT is always taken over", ("socket-reuse-address", BOOL, "false")
    ),
    Flag(
        "v2-deprecation",
        STRING,
        "write-only",
        Kind.IGNORED,
        "Ignored",
        f"Ignored: {_V2}.",
        choices=("not-yet", "write-only", "write-only-drop-data", "gone"),
        why=_V2,
    ),
    *_ignored(
        _BBOLT,
        ("backend-bbolt-freelist-type", STRING, "map"),
        ("memory-mlock", BOOL, "false"),
        ("bootstrap-defrag-threshold-megabytes", UINT, "0"),
    ),
    *_ignored(
        _CHECKS, ("corrupt-check-time", DURATION, "0s"), ("compact-hash-check-time", DURATION, "1m")
    ),
    *_ignored(
        _ROTATION,
        ("enable-log-rotation", BOOL, "false"),
        ("log-rotation-config-json", STRING, ""),
    ),
    *_ignored(_TRACING, *_TRACING_ROWS),
)

LEGACY: Final = tuple(
    Flag(name, Type.ANY, "", Kind.IGNORED, "Ignored", "Ignored, as etcd does.", why="so does etcd")
    for name in (
        "cluster-active-size",
        "cluster-remove-delay",
        "cluster-sync-interval",
        "config",
        "force",
        "max-result-buffer",
        "max-retry-attempts",
        "peer-heartbeat-interval",
        "peer-election-timeout",
        "retry-interval",
        "snapshot",
        "v",
        "vv",
    )
)


def _alias(name: str, kind: Type, of: str) -> Flag:
    text = f"Older name of --{of}."
    return Flag(name, kind, "", Kind.HONOURED, "Older names", text, alias_of=of)


def _older(why: str, *rows: tuple[str, Type, str], refuses: tuple[str, ...] = ()) -> list[Flag]:
    also = f"; {' and '.join(refuses)} refused" if refuses else ""
    return [
        Flag(
            name,
            kind,
            default,
            Kind.IGNORED,
            "Older names",
            f"Ignored: {why}{also}.",
            refuses=refuses,
            why=why,
        )
        for name, kind, default in rows
    ]


OLDER: Final = (
    *(
        _alias(f"experimental-{name}", kind, name)
        for name, kind in (
            ("watch-progress-notify-interval", DURATION),
            ("compaction-batch-limit", INT),
            ("compaction-sleep-interval", DURATION),
            ("warning-apply-duration", DURATION),
        )
    ),
    *_older(
        "a lease has its full TTL after each restart",
        ("experimental-enable-lease-checkpoint", BOOL, "false"),
        ("experimental-enable-lease-checkpoint-persist", BOOL, "false"),
    ),
    *_older(
        "requests are timed with --metrics extensive, not logged",
        ("experimental-warning-unary-request-duration", DURATION, "300ms"),
    ),
    *_older(
        _CHECKS,
        ("experimental-initial-corrupt-check", BOOL, "false"),
        ("experimental-corrupt-check-time", DURATION, "0s"),
        ("experimental-compact-hash-check-enabled", BOOL, "false"),
        ("experimental-compact-hash-check-time", DURATION, "1m"),
    ),
    *_older(
        _BBOLT,
        ("experimental-bootstrap-defrag-threshold-megabytes", UINT, "0"),
        ("experimental-memory-mlock", BOOL, "false"),
        ("experimental-backend-bbolt-freelist-type", STRING, "map"),
        ("experimental-txn-mode-write-with-shared-buffer", BOOL, "true"),
        ("experimental-stop-grpc-service-on-defrag", BOOL, "false"),
    ),
    *_older(
        _PEERS,
        ("experimental-peer-skip-client-san-verification", BOOL, "false"),
        ("experimental-downgrade-check-time", DURATION, "5s"),
        ("experimental-max-learners", INT, "1"),
        ("experimental-wait-cluster-ready-timeout", DURATION, "5s"),
    ),
    *_older(
        _RAFT,
        ("experimental-snapshot-catchup-entries", UINT, "5000"),
        ("experimental-snapshot-catch-up-entries", UINT, "5000"),
    ),
    *_older(_TRACING, *((f"experimental-{row[0]}", row[1], row[2]) for row in _TRACING_ROWS)),
    *_older(_V2, ("enable-v2", BOOL, "false"), ("experimental-enable-v2v3", STRING, "")),
    *_older("there is no v2 proxy", ("proxy", STRING, "off"), refuses=("on", "readonly")),
    *_older(
        "there is no v2 proxy",
        *((f"proxy-{name}", UINT, "0") for name in ("failure-wait", "refresh-interval")),
        *((f"proxy-{name}-timeout", UINT, "0") for name in ("dial", "write", "read")),
    ),
    *_older("use --log-level", ("debug", BOOL, "false"), ("log-package-levels", STRING, "")),
)


def _refused(why: str, *rows: tuple[str, Type, str]) -> tuple[Flag, ...]:
    return tuple(
        Flag(name, kind, default, Kind.REFUSED, "Refused", f"Refused: {why}.", why=why)
        for name, kind, default in rows
    )


REFUSED: Final = _refused(
    _ALONE + " and does not look for others",
    ("discovery-token", STRING, ""),
    ("discovery-endpoints", STRINGS, ""),
    ("discovery-srv", STRING, ""),
    ("discovery", STRING, ""),
)
