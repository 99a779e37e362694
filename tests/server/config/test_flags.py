"""The table of options is complete: every option of etcd is honoured, ignored or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvstore.server.config import ConfigError, parse_config
from kvstore.server.config.flag import Kind, Type
from kvstore.server.config.flags import BY_ENVIRONMENT, FLAGS, flag_named
from kvstore.server.config.help import help_text, reference_page


def words(text: str) -> list[str]:
    return text.split()


HONOURED = words("""
    name data-dir listen-client-urls listen-client-http-urls advertise-client-urls
    listen-metrics-urls initial-advertise-peer-urls initial-cluster initial-cluster-token
    max-request-bytes max-txn-ops max-concurrent-streams grpc-keepalive-min-time
    grpc-keepalive-interval grpc-keepalive-timeout auto-compaction-mode auto-compaction-retention
    cert-file key-file trusted-ca-file client-cert-auth auto-tls client-cert-allowed-hostname
    client-crl-file cipher-suites tls-min-version tls-max-version self-signed-cert-validity cors
    host-whitelist enable-grpc-gateway metrics watch-progress-notify-interval log-level log-format
    log-outputs logger unsafe-no-fsync compaction-batch-limit compaction-sleep-interval
    warning-apply-duration socket-reuse-port election-timeout heartbeat-interval config-file
    version help
""")

IGNORED = words("""
    wal-dir snapshot-count snapshot-catchup-entries max-snapshots max-wals listen-peer-urls
    initial-cluster-state initial-election-tick-advance strict-reconfig-check pre-vote
    max-learners raft-read-timeout raft-write-timeout memory-mlock backend-bbolt-freelist-type
    corrupt-check-time compact-hash-check-time downgrade-check-time
    bootstrap-defrag-threshold-megabytes enable-log-rotation log-rotation-config-json
    enable-distributed-tracing distributed-tracing-address distributed-tracing-service-name
    distributed-tracing-instance-id distributed-tracing-sampling-rate v2-deprecation
    peer-cert-file peer-key-file peer-client-cert-auth peer-client-cert-file peer-client-key-file
    peer-trusted-ca-file peer-auto-tls peer-cert-allowed-cn peer-cert-allowed-hostname
    peer-crl-file peer-skip-client-san-verification client-cert-file client-key-file
    discovery-fallback discovery-dial-timeout discovery-request-timeout discovery-keepalive-time
    discovery-keepalive-timeout discovery-insecure-transport discovery-insecure-skip-tls-verify
    discovery-cert discovery-key discovery-cacert discovery-user discovery-password
    discovery-srv-name discovery-proxy force-new-cluster quota-backend-bytes auth-token
    auth-token-ttl bcrypt-cost backend-batch-interval backend-batch-limit feature-gates
    enable-pprof warning-unary-request-duration socket-reuse-address
""")

LEGACY = words("""
    cluster-active-size cluster-remove-delay cluster-sync-interval config force max-result-buffer
    max-retry-attempts peer-heartbeat-interval peer-election-timeout retry-interval snapshot v vv
""")

OLDER_IGNORED = words("""
    experimental-initial-corrupt-check experimental-corrupt-check-time
    experimental-compact-hash-check-enabled experimental-compact-hash-check-time
    experimental-bootstrap-defrag-threshold-megabytes experimental-memory-mlock
    experimental-txn-mode-write-with-shared-buffer experimental-stop-grpc-service-on-defrag
    experimental-peer-skip-client-san-verification experimental-snapshot-catchup-entries
    experimental-snapshot-catch-up-entries experimental-downgrade-check-time
    experimental-enable-distributed-tracing experimental-distributed-tracing-address
    experimental-distributed-tracing-service-name experimental-distributed-tracing-instance-id
    experimental-distributed-tracing-sampling-rate enable-v2 proxy debug log-package-levels
    experimental-enable-v2v3 experimental-enable-lease-checkpoint
    experimental-wait-cluster-ready-timeout
    experimental-enable-lease-checkpoint-persist experimental-warning-unary-request-duration
""")

OLDER_MAPPED = {
    "experimental-watch-progress-notify-interval": "watch-progress-notify-interval",
    "experimental-compaction-batch-limit": "compaction-batch-limit",
    "experimental-compaction-sleep-interval": "compaction-sleep-interval",
    "experimental-warning-apply-duration": "warning-apply-duration",
}

REFUSED = {
    "discovery-token": "t",
    "discovery-endpoints": "http://a:1",
    "discovery-srv": "example.org",
    "discovery": "http://a/b",
    "proxy": "on",
}

A_VALUE = {
    Type.STRING: "x",
    Type.BOOL: "true",
    Type.INT: "1",
    Type.UINT: "1",
    Type.UINT32: "1",
    Type.DURATION: "1s",
    Type.URLS: "http://localhost:2380",
    Type.STRINGS: "a,b",
    Type.FEATURES: "AllAlpha=true",
    Type.ANY: "x",
}
A_VALUE_OF = {
    "auth-token": "jwt,pub-key=a,priv-key=b,sign-method=RS256",
    "bcrypt-cost": "99",
    "backend-batch-interval": "-1s",
    "backend-batch-limit": "-1",
    "discovery-fallback": "proxy",
    "quota-backend-bytes": "8589934593",
    "v2-deprecation": "gone",
    "initial-cluster-state": "existing",
    "proxy": "off",
}
"""Where another one would be refused, and where the usual one says less."""


class TestTable:
    @pytest.mark.parametrize("name", HONOURED)
    def test_an_option_to_honour_is_honoured(self, name: str) -> None:
        assert FLAGS[name].kind is Kind.HONOURED
        assert not FLAGS[name].alias_of

    @pytest.mark.parametrize("name", IGNORED + LEGACY + OLDER_IGNORED)
    def test_an_option_without_meaning_is_ignored_with_one_warning(self, name: str) -> None:
        value = A_VALUE_OF.get(name, A_VALUE[FLAGS[name].type])
        config = parse_config([f"--{name}={value}"])
        assert len(config.warnings) == 1
        assert config.warnings[0] == f"--{name} is ignored: {FLAGS[name].why}"

    @pytest.mark.parametrize(("name", "value"), REFUSED.items())
    def test_an_option_that_changes_too_much_is_refused(self, name: str, value: str) -> None:
        with pytest.raises(ConfigError, match=f"^--{name}={value} is refused: ") as caught:
            parse_config([f"--{name}={value}"])
        assert caught.value.exit_code == 1

    def test_a_refused_option_with_its_default_does_nothing(self) -> None:
        assert parse_config(["--discovery-srv=", "--discovery="]).name == "default"

    @pytest.mark.parametrize(("name", "target"), OLDER_MAPPED.items())
    def test_an_older_name_stands_for_its_successor(self, name: str, target: str) -> None:
        assert FLAGS[name].alias_of == target

    def test_there_is_nothing_else_of_etcd_3_7(self) -> None:
        ours = {"in-memory", "transport", "debug-record-calls"}
        older = {flag.name for flag in FLAGS.values() if flag.group == "Older names"}
        before_37 = {"discovery", "discovery-proxy"}
        rest = set(FLAGS) - older - ours - set(LEGACY) - before_37
        assert rest == {*HONOURED, *IGNORED, *REFUSED} - older - before_37
        assert len(rest - {"help"}) == 113

    def test_every_option_is_in_one_of_these_lists(self) -> None:
        ours = {"in-memory", "transport", "debug-record-calls"}
        proxies = {name for name in FLAGS if name.startswith("proxy-")}
        tested = {*HONOURED, *IGNORED, *LEGACY, *OLDER_IGNORED, *OLDER_MAPPED, *REFUSED}
        unlisted = set(FLAGS) - tested - ours - proxies
        assert {FLAGS[name].group for name in unlisted} <= {"Older names"}

    def test_every_default_can_be_parsed(self) -> None:
        for flag in FLAGS.values():
            if not flag.alias_of:
                assert not flag.is_refused(flag.default), flag.name

    def test_every_ignored_or_refused_option_says_why(self) -> None:
        for flag in FLAGS.values():
            assert flag.help, flag.name
            assert flag.kind is Kind.HONOURED or flag.why, flag.name

    def test_an_unknown_name_is_no_option(self) -> None:
        assert flag_named("bogus") is None
        assert flag_named("h") is FLAGS["help"]

    def test_own_options_have_no_environment_variable(self) -> None:
        assert "ETCD_IN_MEMORY" not in BY_ENVIRONMENT
        assert BY_ENVIRONMENT["ETCD_LISTEN_CLIENT_URLS"] is FLAGS["listen-client-urls"]


class TestTexts:
    def test_help_names_every_option_but_the_forgotten_on_a_line_of_its_own(self) -> None:
        words = {line.split()[0] for line in help_text().splitlines() if line.strip()}
        assert {f"--{name}" for name in FLAGS} <= words

    def test_the_page_of_the_reference_is_current(self) -> None:
        page = Path(__file__).parents[3] / "docs" / "reference" / "flags.md"
        assert reference_page() == page.read_text(encoding="utf-8")
