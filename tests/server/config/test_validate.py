"""What the options amount to, and which of them do not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kvstore.server.config import ConfigError, parse_config, validate

LISTEN = ["--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://127.0.0.1:0"]


def refuse(*argv: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(argv)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestDefaults:
    def test_they_are_those_of_etcd(self) -> None:
        config = parse_config([])
        assert (config.name, config.data_dir) == ("default", "default.etcd")
        assert list(map(str, config.client_urls)) == ["http://localhost:2379"]
        assert config.advertise_client_urls == ("http://localhost:2379",)
        assert config.peer_urls == ("http://localhost:2380",)
        assert config.member_id == 0x8E9E05C52164694D
        assert config.cluster_id == 0xCDF818194E3A8C32
        assert config.quota_backend_bytes == 2 * 1024**3
        assert (config.max_request_bytes, config.max_txn_ops) == (1572864, 128)
        assert config.min_lease_ttl_s == 2
        assert config.watch_progress_notify_interval_s == 600.0
        assert config.auto_compaction_retention_s == 0.0
        assert config.warnings == ()

    @pytest.mark.parametrize(
        ("option", "field", "value"),
        [
            ("--name=a", "data_dir", "a.etcd"),
            ("--data-dir=/d", "data_dir", "/d"),
            ("--max-concurrent-streams=7", "max_concurrent_streams", 7),
            ("--grpc-keepalive-interval=0", "grpc_keepalive_interval_s", 0.0),
            ("--compaction-batch-limit=0", "compaction_batch_limit_keys", 1000),
            ("--compaction-sleep-interval=1s", "compaction_sleep_interval_s", 1.0),
            ("--watch-progress-notify-interval=0", "watch_progress_notify_interval_s", 600.0),
            ("--warning-apply-duration=1s", "warning_apply_duration_s", 1.0),
            ("--host-whitelist=", "host_whitelist", frozenset({"*"})),
            ("--log-format=console", "log_format", "text"),
            ("--log-format=json", "log_format", "json"),
            ("--log-outputs=", "log_outputs", ("default",)),
            ("--log-outputs=stderr,a,stderr", "log_outputs", ("stderr", "a")),
            ("--metrics=extensive", "metrics", "extensive"),
            ("--enable-grpc-gateway=false", "enable_grpc_gateway", False),
            ("--logger=zap", "log_level", "info"),
        ],
    )
    def test_an_option_changes_its_field(self, option: str, field: str, value: Any) -> None:
        config = parse_config([option])
        assert getattr(config, field) == value
        assert config.warnings == ()


class TestTimes:
    @pytest.mark.parametrize(
        ("election_ms", "heartbeat_ms", "ttl_s"),
        [(1000, 100, 2), (100, 10, 1), (5000, 100, 8), (5000, 1000, 7), (50000, 100, 75)],
    )
    def test_the_shortest_lease_follows_the_election_timeout(
        self, election_ms: int, heartbeat_ms: int, ttl_s: int
    ) -> None:
        argv = [f"--election-timeout={election_ms}", f"--heartbeat-interval={heartbeat_ms}"]
        assert parse_config(argv).min_lease_ttl_s == ttl_s

    def test_election_timeout_and_heartbeat_fit(self) -> None:
        assert refuse("--heartbeat-interval=201") == (
            "--election-timeout[1000ms] should be at least as 5 times as "
            "--heartbeat-interval[201ms]"
        )
        assert refuse("--election-timeout=50001") == (
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms"
        )
        assert refuse("--heartbeat-interval=0") == "--heartbeat-interval must be >0 (set to 0ms)"
        assert refuse("--election-timeout=0") == "--election-timeout must be >0 (set to 0ms)"

    def test_a_short_progress_interval_is_raised(self) -> None:
        config = parse_config(["--watch-progress-notify-interval=1ms"])
        assert config.watch_progress_notify_interval_s == 0.1
        assert config.warnings == ("--watch-progress-notify-interval 1ms is raised to 100ms",)

    def test_no_time_is_negative(self) -> None:
        assert refuse("--compaction-sleep-interval=-1s") == (
            "--compaction-sleep-interval must be >=0 (set to -1s)"
        )
        assert refuse("--compaction-batch-limit=-1") == (
            "--compaction-batch-limit must be >=0 (set to -1)"
        )


class TestCompaction:
    @pytest.mark.parametrize(
        ("mode", "text", "seconds", "revisions"),
        [
            ("periodic", "1", 3600.0, 0),
            ("periodic", "1h", 3600.0, 0),
            ("periodic", "5m", 300.0, 0),
            ("periodic", "0", 0.0, 0),
            ("revision", "1000", 0.0, 1000),
            ("revision", "0", 0.0, 0),
        ],
    )
    def test_the_mode_gives_the_retention_its_unit(
        self, mode: str, text: str, seconds: float, revisions: int
    ) -> None:
        config = parse_config(
            [f"--auto-compaction-mode={mode}", f"--auto-compaction-retention={text}"]
        )
        assert config.auto_compaction_mode == mode
        assert config.auto_compaction_retention_s == seconds
        assert config.auto_compaction_retention_revisions == revisions

    def test_what_is_no_retention(self) -> None:
        assert refuse("--auto-compaction-mode=x") == 'unknown auto-compaction-mode "x"'
        for text in ("x", "-1", "-1h"):
            assert refuse(f"--auto-compaction-retention={text}") == (
                f'error parsing CompactionRetention: invalid duration "{text}"'
            )
        assert "must be a number of revisions" in refuse(
            "--auto-compaction-mode=revision", "--auto-compaction-retention=1h"
        )


class TestAddresses:
    def test_listening_without_advertising_is_an_error(self) -> None:
        assert refuse(LISTEN[0]) == (
            "--advertise-client-urls is required when --listen-client-urls is set explicitly"
        )

    def test_advertising_alone_is_fine(self) -> None:
        config = parse_config(["--advertise-client-urls=http://b:2,http://a:1"])
        assert config.advertise_client_urls == ("http://a:1", "http://b:2")

    @pytest.mark.parametrize(
        "flag",
        [
            "listen-client-urls",
            "listen-peer-urls",
            "listen-metrics-urls",
            "listen-client-http-urls",
        ],
    )
    def test_a_domain_name_cannot_be_listened_on(self, flag: str) -> None:
        text = refuse(f"--{flag}=http://example.org:1", LISTEN[1])
        assert text == "expected IP in URL for binding (http://example.org:1)"

    def test_what_is_advertised_has_a_host(self) -> None:
        assert "unexpected empty host" in refuse("--advertise-client-urls=http://:1")

    def test_no_url_is_the_default(self) -> None:
        config = parse_config(["--listen-client-urls=", "--advertise-client-urls="])
        assert list(map(str, config.client_urls)) == ["http://localhost:2379"]
        assert config.is_advertise_default

    def test_everywhere_is_advertised_as_this_host(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:

        monkeypatch.setattr(validate, "default_route_ip", lambda: "10.1.2.3")
        path = tmp_path / "c.yaml"
        path.write_text("listen-client-urls: http://0.0.0.0:0", encoding="utf-8")
        config = parse_config([f"--config-file={path}"])
        assert config.advertise_client_urls == ("http://10.1.2.3:0",)
        assert config.bound([77]).advertise_client_urls == ("http://10.1.2.3:77",)


class TestTls:
    @pytest.mark.parametrize(
        "argv", [["--auto-tls"], ["--cert-file=c", "--key-file=k"]], ids=["auto", "files"]
    )
    @pytest.mark.parametrize("url", ["https://127.0.0.1:0", "unixs://s"])
    def test_secure_urls_are_for_the_native_transport(self, argv: list[str], url: str) -> None:
        urls = [f"--listen-client-urls={url}", f"--advertise-client-urls={url}"]
        config = parse_config([*urls, *argv])
        assert (str(config.client_urls[0]), config.warnings) == (url, ())
        text = refuse(*urls, *argv, "--transport=grpcio")
        assert text == f"{url}: --transport grpcio serves no TLS, use http or unix"

    def test_it_needs_certificates(self) -> None:
        url = "--listen-client-urls=https://127.0.0.1:0"
        assert refuse(url, LISTEN[1]).startswith("TLS key/cert (--cert-file, --key-file) must be")
        assert refuse(url, LISTEN[1], "--cert-file=c") == (
            "KeyFile and CertFile must both be present[key: , cert: c]"
        )

    def test_certificates_go_before_auto_tls(self) -> None:
        url = "https://127.0.0.1:0"
        urls = [f"--listen-client-urls={url}", f"--advertise-client-urls={url}"]
        config = parse_config([*urls, "--auto-tls", "--cert-file=c", "--key-file=k"])
        assert config.warnings == ("ignoring --auto-tls since certs given",)

    def test_certificates_for_a_plain_url_are_warned_about(self) -> None:
        config = parse_config([*LISTEN, "--cert-file=c", "--key-file=k", "--client-cert-auth"])
        assert (config.tls.cert_file, config.tls.key_file) == ("c", "k")
        assert len(config.warnings) == 2

    @pytest.mark.parametrize(
        "flag",
        [
            "--trusted-ca-file=c",
            "--client-crl-file=c",
            "--client-cert-allowed-hostname=c",
            "--auto-tls",
        ],
    )
    def test_what_protects_no_url_is_warned_about(self, flag: str) -> None:
        ignored = f"{flag.partition('=')[0]} is ignored: no URL to listen on is https or unixs"
        assert parse_config([*LISTEN, flag]).warnings == (ignored,)
        url = "https://127.0.0.1:0"
        urls = [f"--listen-client-urls={url}", f"--advertise-client-urls={url}"]
        assert parse_config([*urls, "--auto-tls", flag]).warnings == ()

    def test_contradictions(self) -> None:
        assert refuse("--tls-min-version=TLS1.1") == 'unexpected TLS version "TLS1.1"'
        assert "is greater than max version" in refuse(
            "--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"
        )
        assert refuse("--cipher-suites=x") == 'unexpected TLS cipher suite "x"'
        assert "only TLS1.3" in refuse(
            "--tls-min-version=TLS1.3", "--cipher-suites=TLS_AES_128_GCM_SHA256"
        )


class TestCluster:
    def test_the_name_makes_the_cluster(self) -> None:
        config = parse_config(["--name=m", "--initial-advertise-peer-urls=http://10.0.0.1:2380"])
        assert config.peer_urls == ("http://10.0.0.1:2380",)

    def test_one_member_with_its_urls_is_accepted(self) -> None:
        config = parse_config(
            [
                "--name=m",
                "--initial-cluster=m=http://b:1,m=http://a:1",
                "--initial-advertise-peer-urls=http://a:1,http://b:1",
                "--initial-cluster-state=new",
            ]
        )
        assert config.peer_urls == ("http://a:1", "http://b:1")

    def test_localhost_is_127_0_0_1(self) -> None:
        config = parse_config(["--initial-advertise-peer-urls=http://127.0.0.1:2380"])
        assert config.member_id == 0x8E9E05C52164694D

    def test_the_token_changes_both_ids(self) -> None:
        config = parse_config(["--initial-cluster-token=other"])
        assert config.member_id != 0x8E9E05C52164694D
        assert config.cluster_id != 0xCDF818194E3A8C32

    def test_other_members_are_refused(self) -> None:
        text = refuse("--initial-cluster=default=http://localhost:2380,b=http://b:1")
        assert text.startswith("--initial-cluster names other members (b)")

    def test_this_member_must_be_in_it(self) -> None:
        expected = 'couldn\'t find local name "{}" in the initial cluster configuration'
        assert refuse("--initial-cluster=a=http://localhost:2380") == expected.format("default")
        assert refuse("--name=") == expected.format("")

    def test_its_urls_must_be_those_advertised(self) -> None:
        assert "but --initial-advertise-peer-urls is http://a:2" in refuse(
            "--name=m", "--initial-cluster=m=http://a:1", "--initial-advertise-peer-urls=http://a:2"
        )
        assert "but --initial-advertise-peer-urls is" in refuse(
            "--initial-advertise-peer-urls=http://localhost:1"
        )

    @pytest.mark.parametrize("text", ["default", "default=", "default=http://a"])
    def test_what_is_no_cluster(self, text: str) -> None:
        assert refuse(f"--initial-cluster={text}").startswith("--initial-cluster: ")


class TestChoices:
    @pytest.mark.parametrize(
        ("option", "text"),
        [
            ("--logger=capnslog", 'unknown logger option "capnslog"'),
            ("--log-level=loud", 'unrecognized level: "loud"'),
            ("--log-format=xml", 'unknown log-format "xml": text or json'),
            ("--auth-token=x", 'unknown auth token type "x"'),
        ],
    )
    def test_an_unknown_choice_is_refused(self, option: str, text: str) -> None:
        assert refuse(option) == text

    def test_checkpoints_persist_only_when_there_are_some(self) -> None:
        gate = "--feature-gates=LeaseCheckpointPersist=true"
        assert "requires enabling feature gate LeaseCheckpoint" in refuse(gate)
        assert len(parse_config([f"{gate},LeaseCheckpoint=true"]).warnings) == 1

    @pytest.mark.parametrize(("given", "shown"), [("5", 5), ("0", 2 * 1024**3), ("-5", -1)])
    def test_the_quota_is_shown(self, given: str, shown: int) -> None:
        assert parse_config([f"--quota-backend-bytes={given}"]).quota_backend_bytes == shown

    @pytest.mark.parametrize(
        ("option", "start"),
        [
            ("--max-request-bytes=10485761", "--max-request-bytes 10485761 is over"),
            ("--metrics=x", '--metrics "x" is unknown'),
            ("--unsafe-no-fsync", "--unsafe-no-fsync: a crash of the machine loses"),
            ("--in-memory", "--in-memory: nothing is on disk"),
        ],
    )
    def test_what_deserves_a_warning(self, option: str, start: str) -> None:
        (warning,) = parse_config([option]).warnings
        assert warning.startswith(start)


class TestDirectory:
    def test_in_memory_there_is_none(self) -> None:
        config = parse_config(["--in-memory", "--data-dir=d"])
        assert (config.in_memory, config.data_dir) == (True, "")
        assert config.warnings[-1] == "--data-dir d is not used with --in-memory"

    def test_that_of_a_real_etcd_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "member" / "snap").mkdir(parents=True)
        assert parse_config([f"--data-dir={tmp_path}"]).data_dir == str(tmp_path)
        (tmp_path / "member" / "snap" / "db").touch()
        text = refuse(f"--data-dir={tmp_path}")
        assert text.startswith(f"{tmp_path} holds the data of an etcd server")
        assert parse_config([f"--data-dir={tmp_path}", "--in-memory"]).in_memory


def test_asking_for_help_is_no_configuration() -> None:
    assert refuse("--help") == "--help asks for no server"


class TestTexts:
    @pytest.mark.parametrize("flag", ["name", "initial-cluster", "initial-cluster-token"])
    def test_what_others_are_shown_is_utf8(self, flag: str) -> None:
        assert refuse(f"--{flag}=\udcff") == f"--{flag} is not UTF-8"
