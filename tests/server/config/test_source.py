"""Options from the command line and the environment."""

from __future__ import annotations

import pytest

from kvstore.server.config import Action, ConfigError, Source, UsageError, read_source


def read(*argv: str, **environ: str) -> Source:
    return read_source(argv, environ)


class TestCommandLine:
    @pytest.mark.parametrize("argv", [["--name", "a"], ["--name=a"], ["-name", "a"], ["-name=a"]])
    def test_one_dash_or_two_and_with_or_without_equals(self, argv: list[str]) -> None:
        assert read(*argv).values["name"] == "a"

    def test_a_value_may_look_like_an_option(self) -> None:
        assert read("--name", "--pre-vote").values["name"] == "--pre-vote"

    def test_a_value_may_hold_an_equals_sign(self) -> None:
        assert read("--initial-cluster=a=http://b:1").values["initial-cluster"] == "a=http://b:1"

    def test_the_last_of_a_repeated_option_wins(self) -> None:
        assert read("--name=a", "--name=b").values["name"] == "b"

    @pytest.mark.parametrize(("text", "value"), [("", True), ("=f", False), ("=T", True)])
    def test_a_switch(self, text: str, value: bool) -> None:
        assert read(f"--unsafe-no-fsync{text}").values["unsafe-no-fsync"] is value

    @pytest.mark.parametrize(
        "argv", [["foo"], ["--pre-vote", "foo"], ["--", "foo"], ["--vv", "foo"]]
    )
    def test_a_stray_word_is_an_error(self, argv: list[str]) -> None:
        with pytest.raises(ConfigError, match=r'^"foo" is not a valid flag$') as caught:
            read(*argv)
        assert caught.value.exit_code == 1

    @pytest.mark.parametrize("word", ["gateway", "grpc-proxy"])
    def test_the_proxies_of_etcd_are_refused(self, word: str) -> None:
        with pytest.raises(ConfigError, match=f"{word} is not part of this program"):
            read(word, "start")

    @pytest.mark.parametrize(
        ("argv", "text"),
        [
            (["--bogus"], "flag provided but not defined: -bogus"),
            (["--name"], "flag needs an argument: -name"),
            (["---name"], "bad flag syntax: ---name"),
            (["-=3"], "bad flag syntax: -=3"),
            (["--pre-vote=x"], 'invalid boolean value "x" for -pre-vote: parse error'),
            (["--max-txn-ops=-1"], 'invalid value "-1" for flag -max-txn-ops: parse error'),
            (
                ["--quota-backend-bytes=99999999999999999999"],
                'invalid value "99999999999999999999" for flag -quota-backend-bytes: '
                "value out of range",
            ),
            (
                ["--grpc-keepalive-interval=5"],
                'invalid value "5" for flag -grpc-keepalive-interval: parse error',
            ),
            (
                ["--initial-cluster-state=x"],
                'invalid value "x" for flag -initial-cluster-state: invalid value',
            ),
            (
                ["--listen-client-urls=http://127.0.0.1"],
                'invalid value "http://127.0.0.1" for flag -listen-client-urls: URL address does '
                'not have the form "host:port": http://127.0.0.1',
            ),
            (
                ["--feature-gates=Bogus=true"],
                'invalid value "Bogus=true" for flag -feature-gates: unrecognized feature gate: '
                "Bogus",
            ),
            (["--transport=x"], 'invalid value "x" for flag -transport: invalid value'),
        ],
    )
    def test_what_cannot_be_read_is_a_usage_error(self, argv: list[str], text: str) -> None:
        with pytest.raises(UsageError) as caught:
            read(*argv)
        assert str(caught.value) == text
        assert caught.value.exit_code == 2

    @pytest.mark.parametrize("argv", [["-h"], ["--help"], ["-help"], ["--version", "--help", "x"]])
    def test_help(self, argv: list[str]) -> None:
        assert read(*argv).action is Action.HELP

    def test_an_error_before_help_counts(self) -> None:
        with pytest.raises(UsageError):
            read("--bogus", "--help")

    def test_version(self) -> None:
        assert read("--version", "--name=a").action is Action.VERSION
        assert read("--version=false").action is Action.SERVE


class TestEnvironment:
    def test_every_option_has_a_variable(self) -> None:
        source = read(ETCD_DATA_DIR="d", ETCD_EXPERIMENTAL_COMPACTION_BATCH_LIMIT="7", PATH="x")
        assert source.values["data-dir"] == "d"
        assert source.values["compaction-batch-limit"] == 7
        assert "data-dir" in source.given

    def test_the_same_option_twice_is_fatal(self) -> None:
        with pytest.raises(ConfigError) as caught:
            read("--name=a", ETCD_NAME="a")
        assert str(caught.value) == (
            'conflicting environment variable "ETCD_NAME" is shadowed by corresponding '
            "command-line flag (either unset environment variable or disable flag)"
        )

    def test_an_empty_variable_is_not_set(self) -> None:
        source = read("--name=a", ETCD_NAME="", ETCD_BOGUS="", ETCD_QUOTA_BACKEND_BYTES="")
        assert source.values["name"] == "a"
        assert source.warnings == ()

    def test_a_value_that_cannot_be_read(self) -> None:
        with pytest.raises(ConfigError) as caught:
            read(ETCD_QUOTA_BACKEND_BYTES="x")
        assert str(caught.value) == 'invalid value "x" for ETCD_QUOTA_BACKEND_BYTES: parse error'
        assert caught.value.exit_code == 1

    def test_an_unknown_variable_is_only_warned_about(self) -> None:
        source = read(ETCD_SERVICE_HOST="10.0.0.1", ETCD_IN_MEMORY="true", ETCDCTL_API="3")
        assert source.warnings == (
            "unrecognized environment variable ETCD_SERVICE_HOST=10.0.0.1",
            "unrecognized environment variable ETCD_IN_MEMORY=true",
        )

    def test_special_variables(self) -> None:
        source = read(ETCD_VERSION="3.5", ETCD_UNSUPPORTED_ARCH="arm")
        assert source.action is Action.SERVE
        assert source.warnings == ("cannot set special environment variable ETCD_VERSION=3.5",)

    def test_an_ignored_option_is_warned_about_from_here_too(self) -> None:
        assert read(ETCD_WAL_DIR="w").warnings == ("--wal-dir is ignored: there is no raft log",)


class TestOlderNames:
    def test_the_value_is_taken_over_with_a_warning(self) -> None:
        source = read("--experimental-watch-progress-notify-interval=5s")
        assert source.values["watch-progress-notify-interval"] == 5.0
        assert source.warnings == (
            "--experimental-watch-progress-notify-interval is an older name: "
            "use --watch-progress-notify-interval",
        )

    def test_both_names_are_too_many(self) -> None:
        with pytest.raises(ConfigError, match="use --warning-apply-duration alone"):
            read("--experimental-warning-apply-duration=1s", "--warning-apply-duration=2s")
