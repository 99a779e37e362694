"""The command `kvstore`: finds the subcommand and hands the rest of the line to it.

Subcommands are imported when they are asked for, so that `--version` does not load a server.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import PurePath
from typing import Final

from kvstore.cli.failure import report
from kvstore.cli.output import INTERRUPTED, OutputFailed, complain, flush, open_closed_files, say
from kvstore.cli.version import version_text

__all__ = ["main"]

_COMMANDS: Final = {
    "serve": "Serve a store to etcd clients, with etcd's options.",
    "check": "Say whether the data in a directory is sound.",
    "salvage": "Take what is whole out of a damaged directory.",
    "bench": "Load an endpoint and say how fast it answered.",
    "version": "Print the versions.",
}

_HELP: Final = """\
Usage: kvstore COMMAND [ARGUMENT...]

Examples:

  kvstore serve --data-dir /var/lib/kvstore
  kvstore serve --in-memory
  kvstore check /var/lib/kvstore
  kvstore salvage /var/lib/kvstore /var/lib/kvstore.new
  kvstore bench put --clients 16 --duration 10s

Commands:

{commands}

'kvstore COMMAND --help' says more.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: of this process); returns the exit code.

    Under the name `etcd` (a symbolic link) the whole line is taken as that of `kvstore serve`.
    Besides the codes of the command: 130 after Ctrl-C, 141 when nobody reads what it prints.
    """
    open_closed_files()
    try:
        code = _run(argv)
        flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputFailed as failed:
        if not failed.is_unread:
            report(failed)
        return failed.exit_code
    return code


def _run(argv: list[str] | None) -> int:
    if argv is None:
        argv = sys.argv[1:]
        if PurePath(sys.argv[0]).name == "etcd":
            argv = ["serve", *argv]
    command, rest = (argv[0], argv[1:]) if argv else ("", [])
    match command:
        case "serve" | "check" | "salvage" | "bench":
            run: Callable[[Sequence[str]], int] = getattr(
                import_module(f"kvstore.cli.{command}"), command
            )
            return run(rest)
        case "version" | "--version":
            say(version_text())
            return 0
        case "help" | "-h" | "--help":
            say(_help())
            return 0
        case "":
            complain(_help())
            return 2
    report(f'"{command}" is not a command: {", ".join(_COMMANDS)} are')
    return 2


def _help() -> str:
    width = max(map(len, _COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in _COMMANDS.items()]
    return _HELP.format(commands="\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
