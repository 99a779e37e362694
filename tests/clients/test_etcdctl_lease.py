"""etcdctl lease prints the same against ours as against a real etcd."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.clients.etcdctl import Script, Terminal, wait_until

pytestmark = pytest.mark.slow

Both = Callable[[Script], None]


def note_ttl(terminal: Terminal, *words: str, within: range) -> None:
    """Run `lease timetolive` and note its output with the remaining seconds checked and cut."""
    found = terminal.run("lease", "timetolive", *words, quiet=True)
    pattern = re.compile(r'(remaining\(|"ttl":|"TTL" : )(\d+)')
    match = pattern.search(found.out)
    assert match is not None, found.out
    assert int(match[2]) in within, found.out
    terminal.note(pattern.sub(r"\1T", found.out))
    terminal.note(found.err)
    terminal.note(str(found.code))


class TestGrant:
    @pytest.mark.parametrize("form", ["simple", "json", "fields"])
    def test_every_format(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            for ttl in ("100", "1000", "9000000000"):
                terminal.ok("lease", "grant", ttl, "-w", form)

        both(script)

    def test_a_short_time_is_raised_to_the_minimum(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            for ttl in ("1", "0", "-1", "-9000000000"):
                terminal.ok("lease", "grant", "--", ttl)

        both(script)

    def test_refused_grants(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.fails("lease", "grant", "9000000001")
            terminal.fails("lease", "grant", "soon")
            terminal.fails("lease", "grant")
            terminal.fails("lease", "grant", "1", "2")
            terminal.ok("lease", "list")

        both(script)


class TestRevoke:
    @pytest.mark.parametrize("form", ["simple", "json", "fields"])
    def test_its_keys_are_deleted_at_one_revision(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            lease, other = terminal.lease(), terminal.lease()
            for key in ("c", "a", "b"):
                terminal.ok("put", key, "1", f"--lease={lease}")
            terminal.ok("put", "moved", "1", f"--lease={lease}")
            terminal.ok("put", "moved", "1", f"--lease={other}")
            terminal.ok("put", "freed", "1", f"--lease={lease}")
            terminal.ok("put", "freed", "1")
            rev = terminal.revision() + 1
            terminal.ok("lease", "revoke", lease, "-w", form)
            terminal.ok("get", "", "--prefix", "-w", "json")
            watch = terminal.start(
                "watch", "", "--prefix", f"--rev={rev}", "--prev-kv", "-w", "json"
            )
            watch.line()
            watch.kill()
            terminal.ok("lease", "revoke", other, "-w", form)
            terminal.ok("lease", "revoke", terminal.lease(), "-w", form)
            terminal.ok("get", "", "--prefix", "-w", "json")

        both(script)

    def test_refused_revocations(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.fails("lease", "revoke", "1234")
            terminal.fails("lease", "revoke", "0")
            terminal.fails("lease", "revoke", "nothex")
            terminal.fails("lease", "revoke")

        both(script)


class TestTimeToLive:
    @pytest.mark.parametrize("form", ["simple", "json", "fields"])
    def test_with_and_without_keys(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            lease = terminal.lease(100)
            note_ttl(terminal, lease, "--keys", "-w", form, within=range(85, 101))
            for key in ("b", "a", "c"):
                terminal.ok("put", key, "1", f"--lease={lease}")
            note_ttl(terminal, lease, "-w", form, within=range(85, 101))
            # The keys of a lease come in no fixed order.
            found = terminal.run(
                "lease", "timetolive", lease, "--keys", "-w", "json", quiet=True
            ).json
            terminal.note(str(sorted(found["keys"])))
            terminal.ok("del", "b", "d")
            note_ttl(terminal, lease, "--keys", "-w", form, within=range(85, 101))

        both(script)

    @pytest.mark.parametrize("form", ["simple", "json", "fields"])
    def test_an_unknown_lease(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            terminal.run("lease", "timetolive", "1234", "-w", form)
            terminal.run("lease", "timetolive", "1234", "--keys", "-w", form)
            terminal.run("lease", "timetolive", "0", "-w", form)
            terminal.fails("lease", "timetolive", "nothex")
            terminal.fails("lease", "timetolive")

        both(script)


class TestList:
    @pytest.mark.parametrize("form", ["simple", "json", "fields"])
    def test_leases_in_order_of_their_end(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("lease", "list", "-w", form)
            leases = [terminal.lease(ttl) for ttl in (5000, 1000, 3000, 2000, 4000)]
            terminal.ok("lease", "list", "-w", form)
            terminal.ok("lease", "revoke", leases[2])
            terminal.ok("lease", "list", "-w", form)
            terminal.ok("lease", "list", "surplus")

        both(script)


class TestKeepAlive:
    @pytest.mark.parametrize("form", ["simple", "json", "fields"])
    def test_once(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            lease = terminal.lease(100)
            terminal.ok("lease", "keep-alive", "--once", lease, "-w", form)
            terminal.run("lease", "keep-alive", "--once", "1234", "-w", form)

        both(script)

    def test_until_the_lease_is_revoked(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            lease = terminal.lease(2)
            terminal.ok("put", "key", "value", f"--lease={lease}")
            alive = terminal.start("lease", "keep-alive", lease)
            # More lines than one lease time lasts: without them the key would be gone.
            alive.lines(5)
            terminal.ok("get", "key")
            terminal.ok("lease", "revoke", lease)
            # How many more lines come before the end is a matter of timing.
            ended = f"lease {lease} expired or revoked."
            wait_until(lambda: alive.poll(10) == ended, "the end of the lease")
            terminal.ok("get", "key")

        both(script)

    def test_refused_words(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.run("lease", "keep-alive", "1234")
            terminal.fails("lease", "keep-alive", "nothex")
            terminal.fails("lease", "keep-alive")

        both(script)


class TestExpiry:
    def test_keys_go_with_their_lease(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            rev = terminal.revision()
            lease = terminal.lease(1)
            watch = terminal.start("watch", "", "--prefix", f"--rev={rev + 1}", "--prev-kv")
            terminal.ok("put", "b", "1", f"--lease={lease}")
            terminal.ok("put", "a", "2", f"--lease={lease}")
            watch.lines(3 + 3)
            watch.lines(2 * 5)
            watch.kill()
            terminal.ok("get", "", "--prefix", "-w", "json")
            terminal.fails("lease", "revoke", lease)
            terminal.ok("lease", "list")

        both(script)
