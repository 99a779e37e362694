"""etcdctl compaction, endpoint and member list print the same against ours and a real etcd."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.clients.etcdctl import Script, Terminal
from tests.clients.servers import NOT_SERVED

pytestmark = pytest.mark.slow

Both = Callable[[Script], None]


def cut_sizes(text: str) -> str:
    """Replace the version, the sizes of the database and the raft indexes, which all differ."""
    text = re.sub(r"\b3\.\d+\.\d+\b", "VERSION", text)
    text = re.sub(r"\b\d+(\.\d+)? ?[kM]?B\b", "SIZE", text)
    text = re.sub(r'("(?:dbSize|dbSizeInUse|DBSize|DBSizeInUse)" ?: ?)\d+', r"\1SIZE", text)
    text = re.sub(
        r'("(?:raftIndex|raftAppliedIndex|raftTerm|RaftIndex|RaftAppliedIndex)" ?: ?)\d+',
        r"\1N",
        text,
    )
    # simple and table: term, index and applied index are the last three numbers of a line
    text = re.sub(
        r"((?:true|false)(?:,| *\|) *)\d+((?:,| *\|) *)\d+((?:,| *\|) *)\d+", r"\1N\2N\3N", text
    )
    return re.sub(r"\|\s+", "| ", re.sub(r"\s+\|", " |", text))


class TestCompaction:
    @pytest.mark.parametrize("flags", [[], ["--physical"]])
    def test_history_ends_at_the_revision(self, both: Both, flags: list[str]) -> None:
        def script(terminal: Terminal) -> None:
            start = terminal.revision()
            for number in range(4):
                terminal.ok("put", "key", str(number))
            terminal.ok("put", "gone", "1")
            terminal.ok("del", "gone")
            terminal.ok("put", "other", "1")
            terminal.ok("compaction", *flags, str(start + 3))
            for rev in range(start + 1, start + 8):
                terminal.run("get", "", "--prefix", f"--rev={rev}", "-w", "json")
            terminal.ok("compaction", *flags, str(start + 6))
            terminal.ok("get", "", "--prefix", f"--rev={start + 6}", "-w", "json")
            terminal.ok("compaction", *flags, str(start + 7))
            terminal.ok("get", "", "--prefix", "-w", "json")

        both(script)

    def test_refused_revisions(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            for number in range(3):
                terminal.ok("put", "key", str(number))
            rev = terminal.revision()
            terminal.ok("compaction", str(rev - 1))
            terminal.fails("compaction", str(rev - 1))
            terminal.fails("compaction", str(rev - 2))
            terminal.fails("compaction", str(rev + 1))
            terminal.fails("compaction", "0")
            terminal.fails("compaction", "--", "-1")
            terminal.fails("compaction", "latest")
            terminal.fails("compaction")
            terminal.fails("compaction", "1", "2")
            terminal.fails("get", "key", f"--rev={rev - 2}")
            terminal.fails("txn", stdin=f"\nput a 1\nget key --rev={rev - 2}\n\n\n")
            terminal.ok("get", "", "--prefix", "-w", "json")

        both(script)


class TestEndpoint:
    @pytest.mark.parametrize("form", ["simple", "json", "table", "fields"])
    def test_health(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("endpoint", "health", "-w", form)

        both(script)

    @pytest.mark.parametrize("form", ["simple", "json", "table", "fields"])
    def test_status(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "key", "value")
            # The lines are cut before the ids get their names, and only then noted.
            found = terminal.run("endpoint", "status", "-w", form, quiet=True)
            text = found.out.replace(terminal.server.target, "ENDPOINT")
            text = re.sub(r"\+-[-+]*", "+-", cut_sizes(text))
            if form == "json":
                text = re.sub(r',"(?:storageVersion|dbSizeQuota|downgradeInfo)":[^,}]*', "", text)
            terminal.note(text)
            terminal.note(found.err)
            terminal.note(str(found.code))

        both(script)

    @NOT_SERVED
    def test_hashkv(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            # The hash itself depends on everything written since the server was new.
            found = terminal.run("endpoint", "hashkv", quiet=True)
            terminal.note(re.sub(r", \d+$", ", HASH", found.out.strip()))
            terminal.fails("endpoint", "hashkv", f"--rev={terminal.revision() + 100}")

        both(script)

    def test_a_closed_port(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            found = terminal.run(
                "endpoint",
                "health",
                "--endpoints=127.0.0.1:1",
                "--command-timeout=200ms",
                quiet=True,
            )
            terminal.note(f"{found.code} {'is unhealthy' in found.err}")
            found = terminal.run("get", "a", "--endpoints=127.0.0.1:1", "--dial-timeout=200ms",
                                 "--command-timeout=200ms", quiet=True)  # fmt: skip
            terminal.note(f"{found.code}")

        both(script)


class TestMemberList:
    @pytest.mark.parametrize("form", ["simple", "json", "table", "fields"])
    def test_the_one_member(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            found = terminal.run("member", "list", "-w", form, quiet=True)
            # The advertised URLs are what each server was told; their ports differ.
            text = re.sub(r"http://(127\.0\.0\.1|localhost):\d+", "URL", found.out)
            text = re.sub(r"\+-[-+]*", "+-", cut_sizes(text))
            terminal.note(text)
            terminal.note(found.err)
            terminal.note(str(found.code))

        both(script)

    @NOT_SERVED
    def test_refused_changes(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.fails("member", "remove", "1234")
            terminal.fails("member", "remove", "nothex")
            terminal.fails("member", "update", "1234", "--peer-urls=http://127.0.0.1:9")
            terminal.fails("member", "promote", "1234")
            terminal.fails("member", "list", "--colour")

        both(script)


class TestAlarms:
    def test_none_at_first(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("alarm", "list")
            terminal.ok("alarm", "disarm")

        both(script)
