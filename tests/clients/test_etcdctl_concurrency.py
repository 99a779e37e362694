"""etcdctl lock, elect and make-mirror do the same against ours as against a real etcd."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest

from tests.clients.etcdctl import Script, Terminal, compare, wait_until
from tests.clients.servers import Pair, Server

pytestmark = pytest.mark.slow

Both = Callable[[Script], None]


def wait_for_keys(terminal: Terminal, prefix: str, count: int) -> None:
    """Wait until so many keys exist: contenders of a lock or an election write theirs at once."""
    wait_until(
        lambda: (
            len(terminal.run("get", prefix, "--prefix", "--keys-only", quiet=True).out.split())
            == count
        ),
        f"{count} keys below {prefix}",
    )


class TestLock:
    def test_it_is_held_until_control_c(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            lock = terminal.start("lock", "name")
            key = lock.line()
            assert re.fullmatch(r"name/[0-9a-f]+", key), key
            terminal.ok("get", "name", "--prefix", "-w", "fields")
            lock.interrupt()
            lock.finish()
            terminal.ok("get", "name", "--prefix", "-w", "fields")

        both(script)

    def test_a_command_runs_under_it(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("lock", "name", "--", "echo", "locked")
            found = terminal.run(
                "lock", "name", "--", "sh", "-c",
                "etcdctl get name --prefix; echo $ETCD_LOCK_KEY",
            )  # fmt: skip
            assert len(found.out.split()) == 2, found.out
            terminal.ok("get", "", "--prefix", "-w", "json")

        both(script)

    def test_a_command_that_fails(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.run("lock", "name", "--", "sh", "-c", "exit 3")
            terminal.fails("lock", "name", "--", "no-such-program")
            terminal.ok("get", "", "--prefix", "-w", "json")

        both(script)

    def test_contenders_get_it_in_order(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            locks = []
            for number in range(3):
                locks.append(terminal.start("lock", "name", "--ttl=30"))
                wait_for_keys(terminal, "name/", number + 1)
                if number == 0:
                    locks[0].line()
            for lock in locks[1:]:
                assert lock.poll(0.05) is None, "two hold the lock"
            locks[0].interrupt()
            locks[0].finish()
            locks[1].line()
            assert locks[2].poll(0.05) is None, "two hold the lock"
            locks[1].interrupt()
            locks[1].finish()
            locks[2].line()
            locks[2].interrupt()
            locks[2].finish()
            terminal.ok("get", "", "--prefix")

        both(script)

    def test_it_is_free_when_the_holder_dies(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            holder = terminal.start("lock", "name", "--ttl=1")
            holder.line()
            waiting = terminal.start("lock", "name")
            wait_for_keys(terminal, "name/", 2)
            holder.kill()
            waiting.line()
            waiting.interrupt()
            waiting.finish()

        both(script)

    def test_bad_words(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.fails("lock")

        both(script)


class TestElect:
    def test_a_leader_and_an_observer(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            first = terminal.start("elect", "name", "first")
            first.lines(2)
            observer = terminal.start("elect", "-l", "name")
            observer.lines(2)
            second = terminal.start("elect", "name", "second")
            wait_for_keys(terminal, "name/", 2)
            assert second.poll(0.05) is None, "two leaders"
            terminal.ok("get", "name", "--prefix", "--sort-by=CREATE", "-w", "fields")
            first.interrupt()
            first.finish()
            second.lines(2)
            observer.lines(2)
            second.interrupt()
            second.finish()
            terminal.ok("get", "", "--prefix", "-w", "json")
            observer.interrupt()
            observer.finish()

        both(script)

    def test_an_observer_waits_for_the_first_leader(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            observer = terminal.start("elect", "--listen", "name", "-w", "json")
            leader = terminal.start("elect", "name", "value", "-w", "json")
            leader.line()
            observer.line()
            leader.interrupt()
            leader.finish()

        both(script)

    def test_bad_words(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.fails("elect")
            terminal.fails("elect", "name")
            terminal.fails("elect", "-l", "name", "value")

        both(script)


def mirror(terminal: Terminal, destination: Server, *, dest_prefix: str, flags: list[str]) -> str:
    """Mirror `src/` while it changes; return what the destination then holds, as JSON."""
    for number in range(25):
        terminal.ok("put", f"src/{number:02}", str(number))
    terminal.ok("put", "outside", "not copied")
    process = terminal.start("make-mirror", *flags, destination.target)
    at = [f"--endpoints={destination.target}"]
    wait_until(
        lambda: terminal.run("get", f"{dest_prefix}24", *at, quiet=True).out != "", "the first copy"
    )
    terminal.ok("put", "src/new", "live")
    terminal.ok("del", "src/00", "src/05")
    terminal.ok("txn", stdin="\nput src/10 changed\nput src/11 changed\ndel src/12\n\n\n")
    terminal.ok("put", "src/marker", "end")
    wait_until(
        lambda: terminal.run("get", f"{dest_prefix}marker", *at, quiet=True).out != "", "the marker"
    )
    process.interrupt()
    process.finish()
    copied = terminal.run("get", dest_prefix, "--prefix", *at, "-w", "simple", quiet=True)
    assert copied.code == 0, copied.err
    return copied.out


class TestMakeMirror:
    def test_into_another_prefix_of_the_same_server(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            flags = ["--prefix=src/", "--dest-prefix=copy/"]
            out = mirror(terminal, terminal.server, dest_prefix="copy/", flags=flags)
            assert "copy/10\nchanged\n" in out, out
            terminal.note(out)

        both(script)

    def test_without_the_prefix(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            out = mirror(
                terminal,
                terminal.server,
                dest_prefix="",
                flags=["--prefix=src/", "--no-dest-prefix"],
            )
            terminal.note(out)

        both(script)

    def test_to_a_closed_port(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.fails("make-mirror")

        both(script)

    def test_from_each_server_into_the_other(self, pair: Pair) -> None:
        def script(terminal: Terminal) -> None:
            other = pair.ours if terminal.server is pair.etcd else pair.etcd
            # Each side has its own place in the other server, as both mirrors run at once.
            place = f"from-{os.path.basename(terminal.server.target)}/"
            out = mirror(
                terminal,
                other,
                dest_prefix=place,
                flags=["--prefix=src/", f"--dest-prefix={place}"],
            )
            terminal.note(out.replace(place, "PLACE/"))

        # A write of the other side's mirror changes the revisions, which are not compared here.
        compare(pair, script)
