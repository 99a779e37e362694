"""Commands whose output nobody takes, and commands that are interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kvstore.cli.main import main

ROOT = Path(__file__).parents[2]
COMMANDS = [
    ["version"],
    ["--help"],
    ["serve", "--help"],
    ["serve", "--version"],
    ["check", "--help"],
    ["salvage", "--help"],
    ["bench", "--help"],
    ["bench", "put", "--help"],
]
pytestmark = pytest.mark.slow


def run(
    arguments: list[str], shell: str, buffered: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run the command in a shell, with redirections that follow it."""
    environment = {key: each for key, each in os.environ.items() if not key.startswith("ETCD_")}
    environment.pop("PYTHONUNBUFFERED", None)
    if not buffered:
        environment["PYTHONUNBUFFERED"] = "1"
    command = ["sh", "-c", f'"$@" {shell}', "sh", sys.executable, "-m", "kvstore", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("arguments", [["help"], ["check", "--help"], ["salvage", "--help"]])
def test_help_fits_a_terminal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert [line for line in capsys.readouterr().out.split("\n") if len(line) > 80] == []


def test_no_command_prints_by_itself() -> None:
    """What a command prints goes through `output`, which knows what to do when it fails."""
    for path in (ROOT / "kvstore" / "cli").glob("*.py"):
        assert path.stem == "output" or not re.search(r"\bprint\(", path.read_text()), path


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
class TestFull:
    @pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
    def test_a_full_disk_is_one_line(self, arguments: list[str]) -> None:
        done = run(arguments, ">/dev/full")
        assert done.stderr == "kvstore: standard output: No space left on device\n"
        assert done.returncode == 1

    def test_it_is_the_same_without_a_buffer(self) -> None:
        done = run(["bench", "--help"], ">/dev/full", buffered=False)
        assert done.stderr == "kvstore: standard output: No space left on device\n"
        assert done.returncode == 1

    @pytest.mark.parametrize("arguments", [[], ["no-such"], ["serve", "--bogus"], ["bench"]])
    def test_an_error_that_cannot_be_said_keeps_its_code(self, arguments: list[str]) -> None:
        assert run(arguments, "2>/dev/full").returncode == 2


class TestClosed:
    @pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
    def test_a_reader_that_went_away_ends_the_command_silently(self, arguments: list[str]) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "kvstore", *arguments],
            cwd=ROOT,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, b"")

    @pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
    def test_a_descriptor_that_is_closed_is_as_none(self, closed: str) -> None:
        done = run(["version"], closed)
        assert (done.returncode, done.stderr) == (0, "")

    def test_what_is_opened_next_does_not_take_its_place(self, tmp_path: Path) -> None:
        """A store's file that became descriptor 1 or 2 would be printed into."""
        program = (
            "import os, sys; from kvstore.cli.output import open_closed_files\n"
            "open_closed_files(); sys.exit(os.open(sys.argv[1], os.O_CREAT | os.O_RDWR) < 3)"
        )
        command = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-c", program]
        done = subprocess.run([*command, str(tmp_path / "file")], cwd=ROOT, timeout=60)
        assert done.returncode == 0

    def test_characters_that_cannot_be_shown_are_replaced(self) -> None:
        program = "from kvstore.cli import output; output.open_closed_files(); output.say('∎ 1 µs')"
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (0, b"? 1 ?s\n")


class TestInterrupted:
    def test_a_command_ends_with_130_and_without_a_traceback(self) -> None:
        """Of a stand-in for `check`: only `serve` and `bench` do something about it themselves."""
        program = (
            "import os, signal, sys; from kvstore.cli import main\n"
            "def wait(argv):\n"
            "    os.kill(os.getpid(), signal.SIGINT); signal.pause()\n"
            "import kvstore.cli.check; kvstore.cli.check.check = wait\n"
            "sys.exit(main.main(['check', 'x']))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60
        )
        assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, b"", b"")
