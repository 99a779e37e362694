"""`kvstore bench WORKLOAD`: loads an etcd endpoint and says how fast it answered."""

from __future__ import annotations

import argparse
import getpass
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kvstore.bench import (
    WORKLOADS,
    BenchError,
    Comparison,
    Interrupted,
    Options,
    Result,
    UsageError,
)
from kvstore.bench import compare as compare_endpoints
from kvstore.bench import run as run_workload
from kvstore.bench.endpoint import Tls
from kvstore.bench.html import page
from kvstore.bench.options import Value
from kvstore.bench.progress import ProgressLine
from kvstore.bench.text import comparison_text, result_text
from kvstore.bench.workloads import Parameter, Workload
from kvstore.cli.failure import describe, report
from kvstore.cli.output import INTERRUPTED, complain, say

__all__ = ["bench", "parse_duration"]

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")

_SWITCHES: Final = {
    "--insecure-skip-verify",
    "--target-leader",
    "--precise",
    "--sample",
    "--json",
    *(
        f"--{parameter.name}"
        for workload in WORKLOADS.values()
        for parameter in workload.parameters
        if isinstance(parameter.default, bool)
    ),
}

_HELP: Final = """\
Usage: kvstore bench WORKLOAD [FLAG...]

Load an etcd v3 endpoint and say how fast it answered. Workloads and flags are
those of etcd's own benchmark tool. A run ends with --total requests or after
--duration.

Workloads:

{workloads}

Examples:

  kvstore bench put --clients 64 --conns 8 --total 100000
  kvstore bench range key --rate 1000 --duration 10s --report range.html
  kvstore bench txn-put --compare 127.0.0.1:2479 --duration 10s
  kvstore bench kubernetes --tier 100

'kvstore bench WORKLOAD --help' names the flags of a workload. The exit code is
0, 1 when calls failed, 2 for bad usage, 130 after Ctrl-C.
"""


def bench(argv: Sequence[str]) -> int:
    """Run the benchmark that `argv` names; returns the exit code.

    0 is a run without errors, 1 one with calls that failed or an endpoint that cannot be used, 2 a
    command line without sense, 130 a run that Ctrl-C ended.
    """
    parser = _parser()
    if not argv:
        complain(_help())
        return 2
    try:
        arguments = parser.parse_args(_plain_switches(argv))
    except SystemExit as asked:
        return int(asked.code or 0)
    try:
        outcome = _bench(arguments)
    except Interrupted as error:
        report(error)
        return INTERRUPTED
    except UsageError as error:
        report(error)
        return 2
    except BenchError as error:
        report(error)
        return 1
    except OSError as error:
        report(describe(error))
        return 1
    say(_text(outcome, arguments), end="")
    if not _has_report(outcome, arguments.report, ["kvstore", "bench", *argv]):
        return 1
    results = [outcome.one, outcome.other] if isinstance(outcome, Comparison) else [outcome]
    if any(each.interrupted for each in results):
        return INTERRUPTED
    return 1 if any(each.error_count for each in results) else 0


def _bench(arguments: argparse.Namespace) -> Result | Comparison:
    workload = WORKLOADS[arguments.workload]
    options = _options(arguments, workload)
    if arguments.target_leader:
        complain("note: --target-leader is ignored, the endpoints given are used")
    progress = ProgressLine()
    if arguments.compare:
        return compare_endpoints(
            workload.name,
            arguments.endpoints,
            arguments.compare,
            options,
            rounds=arguments.rounds,
            progress=progress,
        )
    return run_workload(workload.name, arguments.endpoints, options, progress=progress)


def _has_report(outcome: Result | Comparison, path: str, command: Sequence[str]) -> bool:
    """Write the page at `path`, if one is wanted; False when it cannot be, which is told.

    It comes after the text: what a long run measured is not lost with a mistyped path.
    """
    if not path:
        return True
    text = page(outcome, shlex.join(_without_password(command)))
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        report(f"the page is not written: {path}: {error.strerror or error}")
        return False
    return True


def _text(outcome: Result | Comparison, arguments: argparse.Namespace) -> str:
    if arguments.json or arguments.output == "json":
        return json.dumps(outcome.to_json(), indent=2) + "\n"
    if isinstance(outcome, Comparison):
        return comparison_text(outcome, precise=arguments.precise, sample=arguments.sample)
    return result_text(outcome, precise=arguments.precise, sample=arguments.sample)


def _without_password(command: Sequence[str]) -> list[str]:
    """A report is passed on; what follows the name of the user is not."""
    shown, is_user = [], False
    for each in command:
        if is_user or each.startswith("--user="):
            each = each.partition(":")[0]
        is_user = each == "--user"
        shown.append(each)
    return shown


def _options(arguments: argparse.Namespace, workload: Workload) -> Options:
    user = arguments.user
    if user and ":" not in user:
        user = f"{user}:{getpass.getpass('Password: ')}"
    flags = (*workload.parameters, *workload.arguments)
    return Options(
        clients=arguments.clients,
        conns=arguments.conns,
        processes=arguments.processes,
        total=getattr(arguments, "total", 0),
        duration_s=arguments.duration,
        rate=getattr(arguments, "rate", 0.0),
        user=user,
        tls=Tls(
            cacert=arguments.cacert,
            cert=arguments.cert,
            key=arguments.key_file,
            insecure_skip_verify=arguments.insecure_skip_verify,
        ),
        dial_timeout_s=arguments.dial_timeout or 5.0,
        timeout_s=arguments.timeout,
        parameters={each.name: _value(arguments, each) for each in flags},
    )


def _value(arguments: argparse.Namespace, parameter: Parameter) -> Value:
    value = getattr(arguments, _destination(parameter))
    assert isinstance(value, bool | int | float | str)
    return value


def _destination(parameter: Parameter) -> str:
    """Apart from the names of the flags that all workloads have."""
    return f"parameter_{parameter.name}"


def parse_duration(text: str) -> float:
    """Seconds of `1m30s`, in Go's notation, or of a bare number. Raises ArgumentTypeError."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        raise argparse.ArgumentTypeError(f'"{text}" is not a duration like 10s or 1m30s')
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))


def _plain_switches(argv: Sequence[str]) -> list[str]:
    """Go's notation of a switch with its value, `--precise=true`, as argparse knows it."""
    plain = []
    for each in argv:
        name, _, value = each.partition("=")
        if name not in _SWITCHES or value not in ("true", "false"):
            plain.append(each)
        elif value == "true":
            plain.append(name)
    return plain


def _help() -> str:
    width = max(map(len, WORKLOADS))
    lines = [f"  {name:<{width}}  {each.summary}" for name, each in WORKLOADS.items()]
    return _HELP.format(workloads="\n".join(lines))


class _Parser(argparse.ArgumentParser):
    """Whose help is printed as everything is: argparse does not notice a full disk."""

    def print_help(self, file: object = None) -> None:
        say(self.format_help(), end="")


class _MainParser(_Parser):
    def format_help(self) -> str:
        return _help()


def _parser() -> argparse.ArgumentParser:
    parser = _MainParser(prog="kvstore bench", usage="kvstore bench WORKLOAD [FLAG...]")
    commands = parser.add_subparsers(
        dest="workload", metavar="WORKLOAD", required=True, parser_class=_Parser
    )
    for workload in WORKLOADS.values():
        arguments = "".join(f" [{each.name.upper()}]" for each in workload.arguments)
        command = commands.add_parser(
            workload.name,
            prog=f"kvstore bench {workload.name}",
            usage=f"kvstore bench {workload.name}{arguments} [FLAG...]",
            description=workload.description or workload.summary,
            allow_abbrev=False,
        )
        own = command.add_argument_group("the workload")
        for argument in workload.arguments:
            own.add_argument(
                _destination(argument),
                metavar=argument.name.upper(),
                nargs="?",
                default=argument.default,
                help=argument.help,
            )
        for parameter in workload.parameters:
            _add(own, parameter)
        _add_end(own, workload)
        _add_common(command)
    return parser


def _add(group: argparse._ArgumentGroup, parameter: Parameter) -> None:
    names = [f"--{name}" for name in (parameter.name, *parameter.aliases)]
    destination = _destination(parameter)
    shown = f"{parameter.help} (default {_shown(parameter)})"
    if isinstance(parameter.default, bool):
        _add_switch(group, *names, dest=destination, help_text=parameter.help)
        return
    group.add_argument(
        *names,
        dest=destination,
        type=parse_duration if parameter.is_duration else type(parameter.default),
        choices=parameter.choices or None,
        default=parameter.default,
        metavar=None if parameter.choices else _metavar(parameter),
        help=shown,
    )


def _add_switch(
    group: argparse._ArgumentGroup, *names: str, help_text: str, dest: str | None = None
) -> None:
    dest = dest or names[0].strip("-").replace("-", "_")
    group.add_argument(*names, dest=dest, action="store_true", help=help_text)


def _shown(parameter: Parameter) -> str:
    if parameter.is_duration:
        return f"{parameter.default:g}s"
    return repr(parameter.default) if isinstance(parameter.default, str) else f"{parameter.default}"


def _metavar(parameter: Parameter) -> str:
    if parameter.is_duration:
        return "DURATION"
    return {int: "N", float: "X", str: "TEXT"}[type(parameter.default)]


def _add_end(group: argparse._ArgumentGroup, workload: Workload) -> None:
    if workload.has_total:
        shown = f"requests altogether (default {workload.total}, no limit with --duration)"
        group.add_argument("--total", type=int, default=0, metavar="N", help=shown)
    if workload.has_rate:
        shown = "requests per second, at a constant rate (default 0: as fast as answers come)"
        group.add_argument("--rate", type=float, default=0.0, metavar="X", help=shown)
    shown = "end after this time"
    if workload.duration_s:
        shown += f" (default {workload.duration_s:g}s)"
    group.add_argument(
        "--duration", type=parse_duration, default=0.0, metavar="DURATION", help=shown
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("the endpoint")
    where.add_argument(
        "--endpoints",
        default="127.0.0.1:2379",
        help="gRPC endpoints, with commas between (default 127.0.0.1:2379)",
    )
    where.add_argument("--user", default="", help="name[:password]; asks for a password left out")
    where.add_argument("--cacert", default="", metavar="FILE", help="the CA bundle of the server")
    where.add_argument("--cert", default="", metavar="FILE", help="the client's certificate")
    where.add_argument("--key", dest="key_file", default="", metavar="FILE", help="its key")
    _add_switch(where, "--insecure-skip-verify", help_text="take any certificate of the server")
    where.add_argument(
        "--dial-timeout",
        type=parse_duration,
        default=0.0,
        metavar="DURATION",
        help="for a connection (default 5s)",
    )
    where.add_argument(
        "--timeout",
        type=parse_duration,
        default=30.0,
        metavar="DURATION",
        help="for the answer to a call (default 30s)",
    )
    _add_switch(where, "--target-leader", help_text="ignored, with a note")
    load = parser.add_argument_group("the load")
    load.add_argument("--clients", type=int, default=1, metavar="N", help="clients (default 1)")
    load.add_argument("--conns", type=int, default=1, metavar="N", help="connections (default 1)")
    load.add_argument(
        "--processes",
        type=int,
        default=0,
        metavar="N",
        help="processes that make the load (default: one for each core but one, two at most)",
    )
    load.add_argument(
        "--compare", default="", metavar="ENDPOINTS", help="load these by turns with --endpoints"
    )
    load.add_argument(
        "--rounds", type=int, default=2, metavar="N", help="pairs of turns (default 2)"
    )
    out = parser.add_argument_group("the report")
    _add_switch(out, "--precise", help_text="all digits")
    _add_switch(out, "--sample", help_text="a line for each second")
    _add_switch(out, "--json", help_text="JSON instead of text")
    out.add_argument("--output", choices=("json",), default="", help="json: the same as --json")
    out.add_argument("--report", default="", metavar="FILE", help="write an HTML page as well")
