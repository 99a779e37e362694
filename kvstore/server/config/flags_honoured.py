"""The options that change what the server does: those of etcd 3.7, and the few of our own."""

from __future__ import annotations

from typing import Final

from kvstore import limits
from kvstore.server.config.flag import Flag, Kind, Type

__all__ = ["HONOURED", "OWN"]

STRING, BOOL, INT, UINT = Type.STRING, Type.BOOL, Type.INT, Type.UINT
DURATION, URLS, STRINGS = Type.DURATION, Type.URLS, Type.STRINGS


def _flags(group: str, *rows: tuple[str, Type, str, str]) -> tuple[Flag, ...]:
    return tuple(
        Flag(name, kind, default, Kind.HONOURED, group, text) for name, kind, default, text in rows
    )


MEMBER: Final = _flags(
    "Member",
    ("name", STRING, "default", "What this member calls itself in the member list."),
    (
        "data-dir",
        STRING,
        "",
        "Directory of the data. Empty means NAME.etcd in the working directory.",
    ),
    ("config-file", STRING, "", "Read everything from this YAML or JSON file, and nothing else."),
    (
        "listen-client-urls",
        URLS,
        "http://localhost:2379",
        "Where clients may connect; IPs or localhost.",
    ),
    (
        "listen-client-http-urls",
        URLS,
        "",
        "Where to serve HTTP apart from gRPC; empty: on the same.",
    ),
    (
        "heartbeat-interval",
        UINT,
        "100",
        "Milliseconds of one tick; election-timeout is at least five.",
    ),
    (
        "election-timeout",
        UINT,
        "1000",
        "Milliseconds; the shortest lease is one and a half.",
    ),
    ("max-txn-ops", UINT, str(limits.MAX_TXN_OPS), "Operations that one transaction may have."),
    (
        "max-request-bytes",
        UINT,
        str(limits.MAX_REQUEST_BYTES),
        "Size of the largest request accepted.",
    ),
    (
        "max-concurrent-streams",
        Type.UINT32,
        str(2**32 - 1),
        "Streams one connection may have open.",
    ),
    ("enable-grpc-gateway", BOOL, "true", "Serve the JSON form of the API under /v3/."),
    ("grpc-keepalive-min-time", DURATION, "5s", "How often a client may ping at most."),
    ("grpc-keepalive-interval", DURATION, "2h", "How often idle clients are pinged; 0 is never."),
    (
        "grpc-keepalive-timeout",
        DURATION,
        "20s",
        "How long an unanswered ping is waited for; 0 is for ever.",
    ),
    ("socket-reuse-port", BOOL, "false", "Share the port with other processes (SO_REUSEPORT)."),
    (
        "watch-progress-notify-interval",
        DURATION,
        "10m",
        "How often an idle watcher that asked for it hears how far it is; at least 100ms.",
    ),
    ("warning-apply-duration", DURATION, "100ms", "Count a write that took longer than this."),
    (
        "compaction-batch-limit",
        INT,
        str(limits.COMPACTION_BATCH_KEYS),
        "Keys that one step of a compaction visits. 0 is the default.",
    ),
    (
        "compaction-sleep-interval",
        DURATION,
        "10ms",
        "Pause between two steps of a compaction. 0 is the default.",
    ),
)

CLUSTERING: Final = _flags(
    "Clustering",
    ("advertise-client-urls", URLS, "http://localhost:2379", "Where clients are told to find us."),
    (
        "initial-advertise-peer-urls",
        URLS,
        "http://localhost:2380",
        "The member's peer URLs. Nothing connects there; the member id is made of them.",
    ),
    (
        "initial-cluster",
        STRING,
        "",
        "NAME=PEER-URL of the one member. Empty is made of the name and the peer URLs.",
    ),
    (
        "initial-cluster-token",
        STRING,
        "etcd-cluster",
        "Makes the member id and the cluster id unique.",
    ),
    (
        "auto-compaction-mode",
        STRING,
        "periodic",
        "Keep history by time (periodic) or amount (revision).",
    ),
    (
        "auto-compaction-retention",
        STRING,
        "0",
        "History kept: a number of revisions, or a duration (a bare number is hours). 0 is all.",
    ),
)

SECURITY: Final = _flags(
    "Security",
    ("cert-file", STRING, "", "Certificate shown to clients."),
    ("key-file", STRING, "", "Private key of the certificate."),
    (
        "trusted-ca-file",
        STRING,
        "",
        "Authorities a client certificate must come from; makes it required.",
    ),
    (
        "client-cert-auth",
        BOOL,
        "false",
        "Take the common name of the client certificate as the user.",
    ),
    ("client-crl-file", STRING, "", "Revoked client certificates."),
    (
        "client-cert-allowed-hostname",
        STRINGS,
        "",
        "Names one of which a client certificate must have.",
    ),
    ("auto-tls", BOOL, "false", "Make a self-signed certificate when none is given."),
    ("self-signed-cert-validity", UINT, "1", "Years that the self-signed certificate is good for."),
    ("cipher-suites", STRINGS, "", "Cipher suites up to TLS 1.2, by their IANA names."),
    ("tls-min-version", STRING, "TLS1.2", "Lowest TLS version: TLS1.2 or TLS1.3."),
    ("tls-max-version", STRING, "", "Highest TLS version: TLS1.2 or TLS1.3, empty is the newest."),
    ("cors", Type.ORIGINS, "*", "Origins whose pages may use the HTTP API; * is every origin."),
    (
        "host-whitelist",
        STRINGS,
        "*",
        "Host names plain HTTP requests may be addressed to; * is any.",
    ),
)

MONITORING: Final = _flags(
    "Profiling and monitoring",
    ("metrics", STRING, "basic", "basic, or extensive to add latency histograms per method."),
    (
        "listen-metrics-urls",
        URLS,
        "",
        "Where else to serve metrics and health, and nothing but those.",
    ),
)

LOGGING: Final = (
    Flag("logger", STRING, "zap", Kind.HONOURED, "Logging", "Always zap."),
    *_flags(
        "Logging",
        ("log-level", STRING, "info", "debug, info, warn, error, panic or fatal."),
        ("log-format", STRING, "text", "text (or console) for people, json for programs."),
        (
            "log-outputs",
            STRINGS,
            "default",
            "default, stderr, stdout or paths of files, comma separated.",
        ),
    ),
)

UNSAFE: Final = _flags(
    "Unsafe features",
    (
        "unsafe-no-fsync",
        BOOL,
        "false",
        "Do not wait for the disk. A crash of the machine loses data.",
    ),
)

INFORMATION: Final = _flags(
    "Information",
    ("version", BOOL, "false", "Print the versions and exit."),
    ("help", BOOL, "false", "Print this text and exit; also -h."),
)

HONOURED: Final = (
    *MEMBER,
    *CLUSTERING,
    *SECURITY,
    *MONITORING,
    *LOGGING,
    *UNSAFE,
    *INFORMATION,
)

OWN: Final = (
    Flag(
        "in-memory",
        BOOL,
        "false",
        Kind.HONOURED,
        "Not in etcd",
        "Keep everything in memory and nothing on disk: all data is gone when the server stops.",
        is_own=True,
    ),
    Flag(
        "transport",
        STRING,
        "native",
        Kind.HONOURED,
        "Not in etcd",
        "What serves clients: native, or grpcio (gRPC alone, without TLS, slower).",
        choices=("native", "grpcio"),
        is_own=True,
    ),
    Flag(
        "debug-record-calls",
        BOOL,
        "false",
        Kind.HONOURED,
        "Not in etcd",
        "Count calls by what they ask for and how they are answered, and serve it as /debug/calls.",
        is_own=True,
    ),
)
