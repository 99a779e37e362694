"""etcdctl put, get and del print the same against ours as against a real etcd."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.clients.etcdctl import Script, Terminal

pytestmark = pytest.mark.slow

Both = Callable[[Script], None]
FORMATS = ("simple", "json", "fields", "protobuf")
VALUES = {"a": "9", "aa": "5", "ab": "7", "b": "1", "c/1": "8", "c/2": "2", "d": "3"}


def fill(terminal: Terminal) -> None:
    """Put seven keys whose values, versions and revisions all sort differently."""
    for key, value in VALUES.items():
        terminal.ok("put", key, value)
    for key in ("b", "aa", "b", "d"):
        terminal.ok("put", key, VALUES[key] + "'")


class TestPut:
    def test_a_new_key_and_a_changed_key(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "key", "one")
            terminal.ok("put", "key", "two")
            terminal.ok("get", "key", "-w", "json")

        both(script)

    def test_prev_kv_in_every_format(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "--prev-kv", "key", "zero")
            for number, form in enumerate(("simple", "json", "fields")):
                terminal.ok("put", "--prev-kv", "key", str(number), "-w", form)
                terminal.ok("put", "other" + form, "value", "-w", form)

        both(script)

    def test_the_value_from_standard_input(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "key", stdin="from\nstandard input")
            terminal.ok("get", "key", "-w", "json")

        both(script)

    def test_bytes_outside_of_ascii(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "clé/ключ", 'valeur ✓ \\ "quoted"\ttab')
            for form in ("simple", "json", "fields"):
                terminal.ok("get", "clé/ключ", "-w", form)
            terminal.ok("get", "clé/ключ", "--hex")

        both(script)

    def test_a_dash_after_the_double_dash(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "key", "--", "-1")
            terminal.ok("put", "key", "several", "words")
            terminal.ok("get", "key")

        both(script)

    def test_ignore_value_and_ignore_lease(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            lease = terminal.lease()
            terminal.ok("put", "key", "value", f"--lease={lease}")
            terminal.ok("put", "key", "--ignore-value")
            terminal.ok("get", "key", "-w", "fields")
            terminal.ok("put", "key", "value", f"--lease={lease}")
            terminal.ok("put", "key", "changed", "--ignore-lease")
            terminal.ok("get", "key", "-w", "fields")
            terminal.fails("put", "missing", "--ignore-value")
            terminal.fails("put", "missing", "value", "--ignore-lease")
            terminal.fails("put", "key", "value", "--ignore-lease", f"--lease={lease}")
            terminal.run("put", "key", "value", "--ignore-value")
            terminal.ok("get", "key", "-w", "fields")

        both(script)

    def test_refused_requests(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.fails("put", "", "value")
            terminal.fails("put", "key", "value", "--lease=1234")
            terminal.fails("put", "key", "value", "--lease=nothex")
            terminal.fails("put")
            terminal.ok("get", "", "--prefix", "-w", "json")

        both(script)

    def test_a_value_over_the_request_limit(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "fits", stdin="x" * (1536 * 1024 - 200))
            terminal.fails("put", "large", stdin="x" * (1536 * 1024))
            terminal.fails("put", "huge", stdin="x" * (2048 * 1024 + 1))
            terminal.ok("get", "", "--prefix", "--keys-only")

        both(script)


class TestGet:
    @pytest.mark.parametrize("form", FORMATS)
    def test_every_kind_of_interval(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            fill(terminal)
            for words in (
                ["a"], ["missing"], ["a", "b"], ["b", "a"], ["a", "a"], ["aa", "c/2"], ["a", ""],
                ["a", "--prefix"], ["", "--prefix"], ["b", "--from-key"], ["", "--from-key"],
                ["c/", "--prefix"], ["zz", "--prefix"],
            ):  # fmt: skip
                if form == "protobuf":
                    # Ids and terms cannot be normalised inside the encoded message.
                    assert terminal.run("get", *words, "-w", form, quiet=True).code == 0
                else:
                    terminal.ok("get", *words, "-w", form)

        both(script)

    @pytest.mark.parametrize("target", ["CREATE", "KEY", "MODIFY", "VALUE", "VERSION"])
    def test_every_order(self, both: Both, target: str) -> None:
        def script(terminal: Terminal) -> None:
            fill(terminal)
            # Versions repeat, and a tie has no fixed order: only its sorted field is compared.
            field = {"VERSION": '"Version"'}.get(target, "")
            for order, limit in itertools.product(("ASCEND", "DESCEND", "ascend", ""), (0, 3)):
                words = [
                    "get",
                    "",
                    "--prefix",
                    f"--sort-by={target}",
                    f"--order={order}",
                    f"--limit={limit}",
                ]
                if field:
                    found = terminal.run(*words, "-w", "fields", quiet=True)
                    terminal.note(
                        "\n".join(x for x in found.out.splitlines() if x.startswith(field))
                    )
                else:
                    terminal.ok(*words, "-w", "fields")

        both(script)

    def test_limit_keys_only_and_values_only(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            fill(terminal)
            for limit in ("0", "1", "6", "7", "8", "-1"):
                terminal.ok("get", "", "--prefix", f"--limit={limit}", "-w", "fields")
            terminal.ok("get", "", "--prefix", "--keys-only")
            terminal.ok("get", "", "--prefix", "--keys-only", "-w", "json")
            terminal.ok("get", "", "--prefix", "--keys-only", "--limit=2", "-w", "fields")
            terminal.ok("get", "", "--prefix", "--keys-only", "--sort-by=VALUE", "--order=DESCEND")
            terminal.ok("get", "", "--prefix", "--print-value-only")
            terminal.ok("get", "a", "--print-value-only", "--hex")
            terminal.fails(
                "get", "a", "--keys-only", "--print-value-only", "--prefix", "--from-key"
            )

        both(script)

    def test_old_revisions(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            start = terminal.revision()
            fill(terminal)
            terminal.ok("del", "b")
            for rev in range(start, start + len(VALUES) + 6):
                terminal.ok("get", "", "--prefix", f"--rev={rev}", "-w", "json")
                terminal.ok("get", "b", f"--rev={rev}")
            terminal.ok("get", "a", "--rev=0", "-w", "json")
            terminal.ok("get", "a", "--rev=-1", "-w", "json")
            terminal.fails("get", "a", f"--rev={start + 1000}")

        both(script)

    def test_both_consistencies(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            fill(terminal)
            for consistency in ("l", "s"):
                terminal.ok("get", "", "--prefix", f"--consistency={consistency}", "-w", "json")
            terminal.fails("get", "a", "--consistency=x")

        both(script)

    def test_refused_requests(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.fails("get")
            terminal.ok("get", "a", "b", "surplus")
            terminal.fails("get", "")
            terminal.fails("get", "", "z")
            terminal.fails("get", "a", "b", "--prefix")
            terminal.fails("get", "a", "b", "--from-key")
            terminal.fails("get", "a", "--order=SIDEWAYS")
            terminal.fails("get", "a", "--sort-by=COLOUR")
            terminal.fails("get", "a", "-w", "table")
            terminal.fails("get", "a", "-w", "yaml")

        both(script)


class TestDel:
    @pytest.mark.parametrize("form", ["simple", "json", "fields"])
    def test_every_kind_of_interval(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            for words in (
                ["a"], ["missing"], ["a", "b"], ["b", "a"], ["a", "--prefix"], ["", "--prefix"],
                ["b", "--from-key"], ["", "--from-key"], ["c/", "--prefix"], ["zz", "--prefix"],
            ):  # fmt: skip
                fill(terminal)
                terminal.ok("del", *words, "-w", form)
                terminal.ok("get", "", "--prefix", "-w", "fields")

        both(script)

    @pytest.mark.parametrize("form", ["simple", "json", "fields"])
    def test_prev_kv(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            fill(terminal)
            terminal.ok("del", "--prev-kv", "a", "-w", form)
            terminal.ok("del", "--prev-kv", "a", "-w", form)
            terminal.ok("del", "--prev-kv", "c/", "--prefix", "-w", form)
            terminal.ok("del", "--prev-kv", "", "--from-key", "-w", form)

        both(script)

    def test_a_key_that_comes_back_starts_again(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            fill(terminal)
            terminal.ok("del", "b")
            terminal.ok("put", "b", "again")
            terminal.ok("get", "b", "-w", "fields")

        both(script)

    def test_refused_requests(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "a", "1")
            terminal.fails("del")
            terminal.fails("del", "")
            terminal.fails("del", "", "z")
            terminal.fails("del", "a", "b", "c")
            terminal.fails("del", "a", "b", "--prefix")
            terminal.fails("del", "a", "b", "--from-key")
            terminal.fails("del", "a", "--prefix", "--from-key")
            terminal.ok("get", "", "--prefix")

        both(script)
