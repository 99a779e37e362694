"""etcdctl watch prints the same against ours as against a real etcd.

Most scripts name a start revision: the watch then prints the same whether it was created before
or after the writes that it shows.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients.etcdctl import Script, Terminal, wait_until

pytestmark = pytest.mark.slow

Both = Callable[[Script], None]


def write_history(terminal: Terminal) -> int:
    """Write nine events over several keys; return the revision of the first."""
    first = terminal.revision() + 1
    for words in (
        ("put", "a", "1"), ("put", "p/1", "x"), ("put", "a", "2"), ("put", "p/2", "y"),
        ("del", "p/1"), ("put", "p/1", "again"), ("del", "a"), ("put", "b", "last"),
    ):  # fmt: skip
        terminal.ok(*words)
    terminal.ok("txn", stdin="\nput p/1 t\nput a t\ndel b\n\n\n")
    return first


class TestHistory:
    @pytest.mark.parametrize("form", ["simple", "json", "fields"])
    @pytest.mark.parametrize("prev", [False, True])
    def test_from_an_old_revision(self, both: Both, form: str, prev: bool) -> None:
        def script(terminal: Terminal) -> None:
            first = write_history(terminal)
            extra = ["-w", form, *(["--prev-kv"] if prev else [])]
            for interval in (["a"], ["p/", "--prefix"], ["a", "b"], ["", "--prefix"]):
                for start in (first, first + 3, first + 8):
                    watch = terminal.start("watch", *interval, f"--rev={start}", *extra)
                    watch.line()
                    terminal.note_rest(
                        watch, "put", "zz" if interval[0] == "" else interval[0], "end"
                    )
                    # The last put is in every interval; each start sees it at its own revision.

        both(script)

    def test_one_key_from_every_revision(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            first = write_history(terminal)
            for start in range(first, first + 8):
                watch = terminal.start("watch", "p/1", f"--rev={start}", "--prev-kv")
                watch.line()
                terminal.note_rest(watch, "put", "p/1", "end")

        both(script)


class TestLive:
    def test_events_that_come_after_the_watch(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            watch = terminal.start("watch", "live/", "--prefix", "--prev-kv")
            # A watch prints nothing when it is created, so it is probed until it answers.
            wait_until(
                lambda: (
                    terminal.run("put", "live/probe", "p", quiet=True).code == 0
                    and watch.poll(0.2) is not None
                ),
                "the first event",
            )
            terminal.ok("put", "live/marker", "m")
            wait_until(lambda: watch.poll(10) == "m", "the marker")
            terminal.ok("put", "live/a", "1")
            watch.lines(3)
            terminal.ok("put", "elsewhere", "1")
            terminal.ok("put", "live/a", "2")
            watch.lines(5)
            terminal.ok("del", "live/a")
            watch.lines(5)
            terminal.ok("txn", stdin="\nput live/b 1\nput live/c 1\ndel live/marker\n\n\n")
            watch.lines(3 + 3 + 5)
            lease = terminal.lease()
            terminal.ok("put", "live/leased", "1", f"--lease={lease}")
            watch.lines(3)
            terminal.ok("lease", "revoke", lease)
            watch.lines(5)

        both(script)

    def test_a_revision_that_is_still_to_come(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            start = terminal.revision() + 3
            watch = terminal.start("watch", "key", f"--rev={start}", "-w", "json")
            for number in range(5):
                terminal.ok("put", "key", str(number))
            # The events may come in one response or in several: only the events are noted.
            events = watch.json_events(3)
            terminal.note(repr([(e["kv"]["mod_revision"], e["kv"]["value"]) for e in events]))

        both(script)

    def test_control_c_ends_it(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "key", "value")
            watch = terminal.start("watch", "key", f"--rev={terminal.revision()}")
            watch.lines(3)
            watch.interrupt()
            watch.finish()

        both(script)

    @pytest.mark.parametrize("count", [1500])
    def test_a_long_history_arrives_whole(self, both: Both, count: int) -> None:
        def script(terminal: Terminal) -> None:
            start = terminal.revision() + 1
            for first in range(0, count, 100):
                puts = "\n".join(
                    f"put key{number:05} {number}" for number in range(first, first + 100)
                )
                terminal.run("txn", stdin=f"\n{puts}\n\n\n", quiet=True)
            watch = terminal.start("watch", "key", "--prefix", f"--rev={start}")
            watch.lines(3 * count)

        both(script)


class TestExec:
    def test_the_command_gets_the_event_in_its_environment(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            first = write_history(terminal)
            watch = terminal.start(
                "watch", "a", f"--rev={first}", "--", "sh", "-c",
                "echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE; "
                "echo $ETCD_WATCH_KEY $ETCD_WATCH_VALUE",
            )  # fmt: skip
            watch.lines(4 * (3 + 2))

        both(script)

    def test_a_command_over_a_range(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            first = write_history(terminal)
            watch = terminal.start("watch", "a", "b", f"--rev={first}", "--", "echo", "seen")
            watch.lines(4 * 3 + 3)

        both(script)

    def test_a_command_that_fails(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "a", "1")
            watch = terminal.start(
                "watch", "a", f"--rev={terminal.revision()}", "--", "sh", "-c", "exit 3"
            )
            watch.finish()

        both(script)


class TestInteractive:
    def test_several_watches_on_one_stream(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            first = write_history(terminal)
            watch = terminal.start("watch", "-i")
            watch.send(f"watch a --rev={first}")
            watch.lines(4 * 3)
            watch.send(f"watch p/ --prefix --rev={first} --prev-kv")
            watch.lines(3 + 3 + 5 + 3 + 5)
            watch.send(f'watch b --rev={first} -- echo "an event"')
            watch.lines(2 * 4)
            terminal.ok("put", "a", "live")
            watch.lines(3)

        both(script)

    def test_words_that_are_not_a_watch(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            for line in ("look a", "watch", "watch a b c", "watch a --rev=x", ""):
                watch = terminal.start("watch", "-i")
                watch.send(line)
                watch.hang_up()
                watch.finish()

        both(script)

    def test_a_key_from_the_environment(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            first = write_history(terminal)
            environment = {"ETCDCTL_WATCH_KEY": "p/1", "ETCDCTL_WATCH_RANGE_END": "p/3"}
            watch = terminal.start("watch", f"--rev={first}", environment=environment)
            watch.lines(5 * 3)

        both(script)


class TestRefusals:
    def test_a_compacted_start(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            first = write_history(terminal)
            # The event at the compacted revision itself is a put: 3.4 loses a delete there.
            terminal.ok("compaction", str(first + 5))
            for form in ("simple", "json", "fields"):
                watch = terminal.start("watch", "a", f"--rev={first}", "-w", form)
                watch.finish()
            watch = terminal.start("watch", "", "--prefix", f"--rev={first + 5}", "--prev-kv")
            watch.lines(3 + 5 + 3)

        both(script)

    def test_bad_words(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.fails("watch")
            terminal.fails("watch", "a", "b", "--prefix")
            terminal.fails("watch", "a", "--rev=x")

        both(script)
