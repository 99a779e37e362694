"""The log, as text and as zap's JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from kvstore.server.config import parse_config
from kvstore.server.log import configure_logging, set_up_logging
from tests.support.logs import restored_logging


@pytest.fixture(autouse=True)
def restored_logger() -> Iterator[None]:
    with restored_logging():
        yield


class TestFormats:
    def test_json_has_the_keys_of_zap_in_its_order(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        set_up_logging(format="json")
        logging.getLogger("kvstore.server.app").warning(
            "slow %s", "put", extra={"fields": {"took_s": 1.5, "level": "no"}}
        )
        line = json.loads(capsys.readouterr().err)
        assert list(line) == ["level", "ts", "caller", "msg", "took_s"]
        assert (line["level"], line["msg"], line["took_s"]) == ("warn", "slow put", 1.5)
        assert line["caller"].startswith("config/test_log.py:")
        assert line["ts"].endswith("Z")
        assert len(line["ts"]) == len("2026-01-02T03:04:05.678901Z")

    def test_json_keeps_an_exception_on_the_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        log = set_up_logging(format="json")
        try:
            raise OSError("full")
        except OSError:
            log.exception("failed")
        line = json.loads(capsys.readouterr().err)
        assert (line["level"], line["error"]) == ("error", "full")
        assert "Traceback" in line["stacktrace"]

    def test_text_is_one_readable_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_logging().info("ready", extra={"fields": {"port": 1}})
        out, err = capsys.readouterr()
        words = err.split()
        assert out == ""
        assert words[1] == "INFO"
        assert words[-2:] == ["ready", "port=1"]

    def test_text_shows_an_exception(self, capsys: pytest.CaptureFixture[str]) -> None:
        log = set_up_logging()
        try:
            raise OSError("full")
        except OSError:
            log.exception("failed")
        assert "OSError: full" in capsys.readouterr().err


class TestWordsOfClients:
    FORGED = "x\n2026-01-02T03:04:05.678Z INFO  server/app.py:1 forged"

    @pytest.mark.parametrize("format", ["text", "json"])
    @pytest.mark.parametrize(
        "character",
        ["\n", "\r", "\0", "\x1b[31m", "\x85", "\u2028", "\u2029", "\u202e", "\udc80"],
    )
    def test_a_record_is_one_printable_line(
        self,
        format: Literal["text", "json"],
        character: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        log = set_up_logging(format=format)
        log.warning("a%s%s", character, "b", extra={"fields": {"name": f"c{character}d"}})
        (line,) = capsys.readouterr().err.splitlines()
        assert line.isprintable()

    def test_what_was_escaped_can_be_told_from_what_was_said(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        log = set_up_logging()
        log.info(r"said \n\t" + "\n")
        log.info(r"C:\path")
        said, path = capsys.readouterr().err.splitlines()
        assert said.endswith(r"said \\n\\t\n")
        assert path.endswith(r"C:\path")

    def test_a_traceback_forges_no_record(self, capsys: pytest.CaptureFixture[str]) -> None:
        log = set_up_logging()
        try:
            raise ValueError(self.FORGED)
        except ValueError:
            log.exception("failed")
        first, *rest = capsys.readouterr().err.split("\n")[:-1]
        assert first.endswith("failed")
        assert all(line.startswith("    ") and line.isprintable() for line in rest)
        assert any("forged" in line for line in rest)

    @pytest.mark.parametrize("format", ["text", "json"])
    def test_what_the_loop_says_is_in_the_same_log(
        self, format: Literal["text", "json"], capsys: pytest.CaptureFixture[str]
    ) -> None:
        set_up_logging(format=format)
        logging.getLogger("asyncio").debug("not this")
        logging.getLogger("asyncio").error("never retrieved: %s", self.FORGED)
        (line,) = capsys.readouterr().err.splitlines()
        assert "error" in line.lower()


class TestLostConnections:
    def test_what_is_written_to_one_is_not_told_line_by_line(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A client that asks for a hundred answers over TLS and goes brought a line for each."""
        set_up_logging()

        async def write_in_vain() -> None:
            ours, theirs = socket.socketpair()
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                asyncio.Protocol, ours
            )
            theirs.close()
            for _ in range(20):
                transport.write(b"x")

        asyncio.run(write_in_vain())
        assert capsys.readouterr().err == ""


class TestLevels:
    @pytest.mark.parametrize(
        ("level", "shown"),
        [
            ("debug", ["debug", "info", "warn", "error", "fatal"]),
            ("info", ["info", "warn", "error", "fatal"]),
            ("warn", ["warn", "error", "fatal"]),
            ("error", ["error", "fatal"]),
            ("panic", ["fatal"]),
            ("fatal", ["fatal"]),
        ],
    )
    def test_lower_ones_are_left_out(
        self, level: str, shown: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        log = set_up_logging(level=level, format="json")
        for number in (10, 20, 30, 40, 50):
            log.log(number, "x")
        lines = capsys.readouterr().err.splitlines()
        assert [json.loads(line)["level"] for line in lines] == shown


class TestOutputs:
    def test_default_and_stderr_are_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_logging(outputs=("default", "stderr", "systemd/journal")).info("x")
        assert len(capsys.readouterr().err.splitlines()) == 1

    def test_stdout(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_logging(outputs=("stdout",)).info("x")
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == 1
        assert err == ""

    def test_files_are_appended_to(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_text("before\n", encoding="utf-8")
        set_up_logging(outputs=(str(path), "/dev/null")).info("after")
        assert len(path.read_text(encoding="utf-8").splitlines()) == 2

    def test_nothing_is_said_to_dev_null(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_logging(outputs=("/dev/null",)).error("x")
        assert capsys.readouterr() == ("", "")

    def test_a_file_that_cannot_be_opened(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            set_up_logging(outputs=(str(tmp_path / "no" / "log"),))

    def test_a_second_set_up_replaces_the_first(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_logging()
        configure_logging(parse_config(["--log-format=json", "--log-level=debug"]))
        logging.getLogger("kvstore.x").debug("x")
        (line,) = capsys.readouterr().err.splitlines()
        assert json.loads(line)["level"] == "debug"
