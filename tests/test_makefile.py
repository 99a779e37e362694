"""What a newcomer meets first: `make help`, and `make test` without a real etcd."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SH = shutil.which("sh") or "/bin/sh"


class TestHelp:
    def test_it_has_a_line_for_each_target(self) -> None:
        if shutil.which("make") is None:
            pytest.skip("no make on PATH")
        done = subprocess.run(
            ["make", "--no-print-directory", "help"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        text = (ROOT / "Makefile").read_text().replace("\\\n", "")
        targets = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)[0].split()
        assert sorted(targets) == sorted(re.findall(r"^make (\S+) ", done.stdout, re.MULTILINE))

    def test_each_step_that_installs_says_so_first(self) -> None:
        """A rule that calls pip quietly would be silent for minutes."""
        for rule in (ROOT / "Makefile").read_text().split("\n\n"):
            if "$(PIP)" in rule and ":=" not in rule:
                assert rule.index("@echo") < rule.index("$(PIP)"), rule


class TestInstallEtcd:
    """With a PATH of stand-ins: nothing is installed here."""

    @pytest.fixture
    def commands(self, tmp_path: Path) -> Path:
        for name in ("cat", "printf", "chmod", "rm", "test", "sh"):
            if found := shutil.which(name):
                (tmp_path / name).symlink_to(found)
        return tmp_path

    def add(self, commands: Path, name: str, body: str = "exit 0") -> None:
        path = commands / name
        path.write_text(f"#!{SH}\n{body}\n")
        path.chmod(0o755)

    def run(self, commands: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SH, str(ROOT / "tests" / "support" / "install_etcd.sh")],
            env={"PATH": str(commands)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def test_both_are_there(self, commands: Path) -> None:
        self.add(commands, "etcd")
        self.add(commands, "etcdctl")
        done = self.run(commands)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_a_user_without_sudo_is_told_what_to_install(self, commands: Path) -> None:
        self.add(commands, "etcd")
        self.add(commands, "apt-get", "echo called >&2; exit 9")
        self.add(commands, "id", "echo 1000")
        done = self.run(commands)
        assert done.returncode == 1
        assert "you are not root, and there is no sudo" in done.stderr
        assert "apt-get install etcd-server etcd-client" in done.stderr
        assert "called" not in done.stderr
        assert "not found" not in done.stderr

    def test_a_password_that_nobody_can_give_is_not_waited_for(self, commands: Path) -> None:
        self.add(commands, "apt-get")
        self.add(commands, "id", "echo 1000")
        self.add(commands, "sudo", "exit 1")
        done = self.run(commands)
        assert done.returncode == 1
        assert "sudo wants a password" in done.stderr

    def test_another_system_is_told_what_is_missing(self, commands: Path) -> None:
        done = self.run(commands)
        assert done.returncode == 1
        assert "no etcd or no etcdctl on PATH: this is no Debian" in done.stderr

    def test_a_user_with_sudo_and_root_install(self, commands: Path) -> None:
        self.add(commands, "apt-get")
        self.add(commands, "id", "echo 1000")
        # It runs what it is given, but for the script that would write a policy into /usr.
        self.add(commands, "sudo", 'test "$1" = -n && exit 0\necho "$1 $2"')
        done = self.run(commands)
        assert done.returncode == 0, done.stderr
        assert "Installing etcd-server and etcd-client" in done.stdout
        assert "apt-get update\n" in done.stdout
