"""Options from a configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvstore.server.config import Config, ConfigError, parse_config


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def load(path: Path, text: str, *argv: str, **environ: str) -> Config:
    path.write_text(text, encoding="utf-8")
    return parse_config([f"--config-file={path}", *argv], environ)


class TestReading:
    def test_values_are_written_as_etcd_wants_them(self, path: Path) -> None:
        config = load(
            path,
            """
            name: m1
            data-dir: some/where
            initial-advertise-peer-urls: http://localhost:1
            listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2
            advertise-client-urls: http://127.0.0.1:1
            watch-progress-notify-interval: 5000000000
            quota-backend-bytes: 1024
            max-request-bytes: "2048"
            auto-compaction-retention: 2
            feature-gates: AllAlpha=true,AllBeta=false
            log-outputs: [stderr, /dev/null]
            cors: http://a:1
            host-whitelist: a,b
            unsafe-no-fsync: true
            socket-options: {reuse-port: true, reuse-address: true}
            client-transport-security:
              cert-file: c
              key-file: k
              client-cert-auth: true
              trusted-ca-file: ca
              allowed-hostname: [x, y]
            peer-transport-security: {auto-tls: true, allowed-cn: [z]}
            """,
        )
        assert (config.name, config.data_dir) == ("m1", "some/where")
        assert [url.port for url in config.client_urls] == [1, 2]
        assert config.watch_progress_notify_interval_s == 5.0
        assert (config.quota_backend_bytes, config.max_request_bytes) == (1024, 2048)
        assert config.auto_compaction_retention_s == 7200.0
        assert config.log_outputs == ("stderr", "/dev/null")
        assert config.cors_origins == {"http://a:1"}
        assert config.host_whitelist == {"a", "b"}
        assert config.unsafe_no_fsync
        assert config.socket_reuse_port
        assert (config.tls.cert_file, config.tls.key_file) == ("c", "k")
        assert config.tls.client_cert_auth
        assert config.tls.client_cert_allowed_hostnames == ("x", "y")

    def test_json_is_read_too(self, path: Path) -> None:
        assert load(path, '{"name": "m1", "max-txn-ops": 7}').max_txn_ops == 7

    def test_an_empty_file_is_all_defaults(self, path: Path) -> None:
        assert load(path, "") == parse_config([])

    def test_a_null_is_not_given(self, path: Path) -> None:
        assert load(path, "name:\nclient-transport-security: {cert-file: null}").name == "default"

    def test_a_number_can_be_a_name(self, path: Path) -> None:
        assert load(path, "name: 5").name == "5"


class TestSample:
    def test_the_values_that_etcd_shows_in_its_sample_start(self, path: Path) -> None:
        """Its keys with what stands behind them, of 3.4 (with a proxy) and of 3.7 alike."""
        config = load(
            path,
            """
            name: 'default'
            data-dir:
            wal-dir:
            snapshot-count: 10000
            heartbeat-interval: 100
            election-timeout: 1000
            quota-backend-bytes: 0
            listen-peer-urls: http://localhost:2380
            listen-client-urls: http://localhost:2379
            max-snapshots: 5
            max-wals: 5
            cors:
            initial-advertise-peer-urls: http://localhost:2380
            advertise-client-urls: http://localhost:2379
            discovery:
            discovery-fallback: 'proxy'
            discovery-proxy:
            discovery-srv:
            initial-cluster:
            initial-cluster-token: 'etcd-cluster'
            initial-cluster-state: 'new'
            strict-reconfig-check: false
            enable-v2: true
            enable-pprof: true
            proxy: 'off'
            proxy-failure-wait: 5000
            proxy-refresh-interval: 30000
            proxy-dial-timeout: 1000
            proxy-write-timeout: 5000
            proxy-read-timeout: 0
            client-transport-security:
              cert-file:
              key-file:
              client-cert-auth: false
              trusted-ca-file:
              auto-tls: false
            peer-transport-security:
              cert-file:
              key-file:
              client-cert-auth: false
              trusted-ca-file:
              auto-tls: false
              allowed-cn:
              allowed-hostname:
            self-signed-cert-validity: 1
            log-level: debug
            logger: zap
            log-outputs: [stderr]
            force-new-cluster: false
            auto-compaction-mode: periodic
            auto-compaction-retention: "1"
            cipher-suites: [
              TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
              TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
            ]
            tls-min-version: 'TLS1.2'
            tls-max-version: 'TLS1.3'
            discovery-config: {endpoints: [], token: ''}
            """,
        )
        assert config.auto_compaction_retention_s == 3600.0
        assert config.log_level == "debug"
        assert all(" is ignored: " in warning for warning in config.warnings)


class TestPrecedence:
    def test_other_options_and_the_environment_do_not_count(self, path: Path) -> None:
        config = load(path, "name: a", "--name=b", "--max-txn-ops=1", ETCD_DATA_DIR="d", ETCD_X="y")
        assert (config.name, config.max_txn_ops, config.data_dir) == ("a", 128, "a.etcd")
        assert config.warnings == (f"only {path} counts, ignored: --max-txn-ops --name",)

    def test_the_environment_can_name_the_file(self, path: Path) -> None:
        path.write_text("name: a", encoding="utf-8")
        config = parse_config([], {"ETCD_CONFIG_FILE": str(path), "ETCD_NAME": "b"})
        assert config.name == "a"

    def test_the_command_line_names_the_file_before_the_environment(self, path: Path) -> None:
        assert load(path, "name: a", ETCD_CONFIG_FILE="/nowhere").name == "a"

    def test_listening_without_advertising_is_allowed_here(self, path: Path) -> None:
        config = load(path, "listen-client-urls: http://127.0.0.1:5")
        assert config.advertise_client_urls == ("http://localhost:2379",)


class TestRefusing:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("watch-progress-notify-interval: 10m", "must be a whole number of nanoseconds"),
            ("watch-progress-notify-interval: true", "must be a whole number of nanoseconds"),
            ("unsafe-no-fsync: 'true'", "must be true or false"),
            ("max-txn-ops: 1.5", "must be a whole number"),
            ("max-txn-ops: true", "must be a whole number"),
            ("max-txn-ops: x", 'max-txn-ops: invalid value "x": parse error'),
            ("listen-client-urls: [http://a:1]", "must be one string of URLs separated by commas"),
            ("listen-client-urls: a", 'listen-client-urls: invalid value "a": URL scheme must be'),
            ("name: [a]", "must be a string"),
            ("client-transport-security: x", "invalid client-transport-security"),
            ("client-transport-security: {auto-tls: 1}", "client-transport-security.auto-tls must"),
            ("[a, b]", "must hold a mapping of options"),
            ("a: [", "is neither YAML nor JSON"),
            ("name: 2001-13-01", "is neither YAML nor JSON"),
            ("name: !!int x", "is neither YAML nor JSON"),
            ("name: !!bool x", "is neither YAML nor JSON"),
            ("name: !!timestamp x", "is neither YAML nor JSON"),
            ("discovery-config: {endpoints: [a], token: b}", "discovery-config is refused"),
            ("discovery-srv: example.org", "discovery-srv=example.org is refused"),
            ("initial-cluster-state: x", 'initial-cluster-state: invalid value "x"'),
        ],
    )
    def test_a_wrong_value_is_one_line_with_the_path(
        self, path: Path, text: str, reason: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            load(path, text)
        assert str(caught.value).startswith(str(path))
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_missing_file(self) -> None:
        with pytest.raises(ConfigError, match=r"^open /nowhere: No such file or directory"):
            parse_config(["--config-file=/nowhere"])

    def test_unknown_keys_are_ignored_with_a_warning(self, path: Path) -> None:
        config = load(path, "bogus: 1\ncert-file: c\nv: 1\npeer-transport-security: {x: 1}")
        assert config.warnings == tuple(
            f"{path}: the key {key} is unknown and ignored"
            for key in ("bogus", "cert-file", "v", "peer-transport-security.x")
        )

    def test_an_ignored_option_is_warned_about(self, path: Path) -> None:
        config = load(path, "wal-dir: w\nsnapshot-count: 5")
        assert config.warnings == (
            f"{path}: wal-dir is ignored: there is no raft log",
            f"{path}: snapshot-count is ignored: there is no raft log",
        )
