"""etcdctl txn prints the same against ours as against a real etcd."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients.etcdctl import Script, Terminal

pytestmark = pytest.mark.slow

Both = Callable[[Script], None]


def document(compares: list[str], success: list[str], failure: list[str]) -> str:
    """Write a transaction the way etcdctl reads it: three parts, each ended by an empty line."""
    return "\n".join([*compares, "", *success, "", *failure, "", ""])


class TestTxn:
    @pytest.mark.parametrize("form", ["simple", "json", "fields"])
    def test_both_branches_in_every_format(self, both: Both, form: str) -> None:
        def script(terminal: Terminal) -> None:
            for key in ("a", "b", "c"):
                terminal.ok("put", key, "old " + key)
            for wanted in ("old a", "new a", "neither"):
                text = document(
                    [f'value("a") = "{wanted}"'],
                    ['put a "new a"', "get a", "get a z", "del b", "get b", "put d fresh"],
                    ["get c", "del missing", "del a z --prev-kv", 'get --prefix ""'],
                )
                terminal.ok("txn", "-w", form, stdin=text)
                terminal.ok("get", "", "--prefix", "-w", "json")

        both(script)

    @pytest.mark.parametrize("target", ["value", "version", "create", "mod", "lease"])
    def test_every_compare(self, both: Both, target: str) -> None:
        def script(terminal: Terminal) -> None:
            lease = terminal.lease()
            terminal.ok("put", "a", "1")
            terminal.ok("put", "a", "3", f"--lease={lease}")
            current = terminal.ok("get", "a", "-w", "json").json["kvs"][0]
            exact = {
                "value": 3, "version": 2, "create": current["create_revision"],
                "mod": current["mod_revision"], "lease": int(lease, 16),
            }[target]  # fmt: skip
            for key in ("a", "missing"):
                for operator in ("=", "!=", "<", ">"):
                    for operand in (exact - 1, exact, exact + 1, 0):
                        # A lease is written in hexadecimal, everything else in decimal.
                        shown = f"{operand:x}" if target == "lease" else operand
                        text = document([f'{target}("{key}") {operator} "{shown}"'], ["get a"], [])
                        found = terminal.run("txn", stdin=text, quiet=True)
                        terminal.note(f"{key} {operator} {operand - exact if operand else 0}")
                        terminal.note(f"{found.code} {found.out.splitlines()[:1]}")

        both(script)

    def test_several_compares_must_all_hold(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "a", "1")
            first, second = 'version("a") = "1"', 'version("b") = "0"'
            wrong = 'version("a") > "1"'
            for compares in ([], [first], [first, second], [first, wrong], [wrong, second]):
                terminal.ok("txn", stdin=document(compares, ["get a"], ["get b"]))

        both(script)

    def test_reads_see_the_writes_before_them(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "a", "1")
            rev = terminal.revision()
            text = document(
                [],
                [
                    "get a",
                    "put a 2",
                    "get a",
                    f"get a --rev={rev}",
                    "del a",
                    "get a",
                    'get "" --prefix',
                ],
                [],
            )
            terminal.run("txn", "-w", "json", stdin=text)
            text = document(
                [], ["get a", "put a 2", "get a", f"get a --rev={rev}", "put b 1", "get a z"], []
            )
            terminal.ok("txn", "-w", "json", stdin=text)
            terminal.ok(
                "txn", "-w", "fields", stdin=document([], ["get a z --limit=1 --keys-only"], [])
            )

        both(script)

    def test_an_empty_transaction_changes_nothing(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("txn", "-w", "json", stdin=document([], [], []))
            terminal.ok("txn", "-w", "json", stdin=document([], ["del missing"], []))
            terminal.ok("txn", "-w", "json", stdin=document([], ["get missing"], []))

        both(script)

    def test_interactive_prompts(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            text = document(['mod("a") = "0"'], ["put a 1", "get a"], ["del a"])
            terminal.ok("txn", "-i", stdin=text)
            terminal.ok("txn", "--interactive", "-w", "json", stdin=text)

        both(script)

    def test_leases_and_previous_values(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            lease = terminal.lease()
            terminal.ok("put", "a", "1")
            text = document(
                [], [f"put a 2 --lease={lease} --prev-kv", "put b 3", "del c --prev-kv"], []
            )
            terminal.ok("txn", "-w", "json", stdin=text)
            terminal.ok("get", "", "--prefix", "-w", "json")
            terminal.ok("lease", "revoke", lease)
            terminal.ok("get", "", "--prefix", "-w", "json")
            terminal.fails("txn", stdin=document([], ["put b 4", "put a 2 --lease=1234"], []))
            terminal.ok("txn", stdin=document([], ["get b"], ["put a 2 --lease=1234"]))
            terminal.ok("get", "", "--prefix", "-w", "json")

        both(script)

    def test_refused_transactions_write_nothing(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.ok("put", "a", "1")
            future = terminal.revision() + 100
            for success, failure in (
                (["put b 1", "put b 2"], []),
                (["put b 1", "del b"], []),
                (["del a z", "put b 1"], []),
                (["put b 1", f"get a --rev={future}"], []),
                (["put b 1", "put missing --ignore-value"], []),
                (["put b 1", "put missing 1 --ignore-lease"], []),
                (["put b 1", 'put "" 1'], []),
                (["put b 1"], ['put "" 1']),
                (["put b 1"], ['get ""']),
                (["put b 1"], ['del ""']),
                (["put b 1"], ["put c 1", "put c 1"]),
            ):
                terminal.fails("txn", stdin=document([], success, failure))
            terminal.fails("txn", stdin=document(['version("") = "0"'], ["put b 1"], []))
            terminal.ok("txn", stdin=document([], ["del a", "del a z", "get a"], []))
            terminal.ok("get", "", "--prefix", "-w", "json")

        both(script)

    @pytest.mark.parametrize("count", [128, 129])
    def test_the_limit_of_operations(self, both: Both, count: int) -> None:
        def script(terminal: Terminal) -> None:
            puts = [f"put key{number:03} {number}" for number in range(count)]
            terminal.run("txn", stdin=document([], puts, []))
            terminal.run("txn", stdin=document([], [], puts))
            terminal.run(
                "txn",
                stdin=document([f'version("k{x}") = "0"' for x in range(count)], ["get a"], []),
            )
            terminal.ok("get", "key", "--prefix", "--keys-only", "-w", "json")

        both(script)

    def test_text_that_is_not_a_transaction(self, both: Both) -> None:
        def script(terminal: Terminal) -> None:
            terminal.fails("txn", stdin='colour("a") = "1"\n\n\n\n')
            terminal.fails("txn", stdin='mod("a") = "x"\n\n\n\n')
            terminal.fails("txn", stdin="nonsense\n\n\n\n")
            terminal.fails("txn", stdin="\nnonsense a\n\n\n")
            terminal.fails("txn", "surplus", stdin="\n\n\n")

        both(script)
