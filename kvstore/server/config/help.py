"""The texts about the options: usage, help by groups, and the page of the reference.

`python -m kvstore.server.config.help FILE` writes the page.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Final

from kvstore.server.config.flag import Flag, Kind, Type
from kvstore.server.config.flags import FLAGS

__all__ = ["USAGE", "help_text", "reference_page"]

USAGE: Final = """\
Usage:

  kvstore serve [options]
    Serve a store to etcd clients.

  kvstore serve --config-file FILE
    The same, with every option from a YAML or JSON file and none from elsewhere.

  kvstore serve -h | --help
    Show every option.

  kvstore serve --version
    Show the versions.
"""

_EXAMPLES: Final = """\
Examples:

  kvstore serve
  kvstore serve --data-dir /var/lib/kvstore --log-format json
  kvstore serve --in-memory --listen-client-urls http://127.0.0.1:0 \\
      --advertise-client-urls http://127.0.0.1:0
"""

_REST: Final = """\
Ignored, with one warning each, so that a command line written for etcd starts:
{ignored}

Older names of options above, and ignored older ones:
{older}

Refused:
{refused}

Every option but those that are not in etcd can also be given as ETCD_NAME in the environment:
--data-dir as ETCD_DATA_DIR. Giving one in both places is an error.
"""

_PAGE_HEAD: Final = """\
# Options of `kvstore serve`

<!-- Written by `python -m kvstore.server.config.help docs/reference/flags.md`;
change the table, not this page. -->

The options are etcd's, with etcd's meaning and syntax: `--flag value`, `--flag=value`, one dash or
two, and for switches `--flag` or `--flag=false`. An option can also come from the environment
(`ETCD_` and the name in capitals, `-` as `_`), but not from both. With `--config-file` the file
alone counts; in it durations are whole nanoseconds, lists of URLs one comma separated string, and
TLS files sit under `client-transport-security`.

Types: a *duration* is `10m`, `1h30m` or `500ms`; *URLs* and *strings* are comma separated; a *bool*
is `true` or `false`; *any* takes anything or nothing.
"""

_PAGE_NOTES: Final = {
    "Ignored": "Accepted with one warning each, so that a command line written for etcd starts.",
    "Refused": "The start fails when one of these has another value than its default.",
    "Older names": "What etcd 3.4 to 3.6 had under another name, or has dropped.",
    "Not in etcd": "These have no environment variable.",
}


def help_text() -> str:
    """What `kvstore serve --help` prints: honoured options with a line of help, others by name."""
    shown = [flag for flag in FLAGS.values() if flag.kind is Kind.HONOURED and not flag.alias_of]
    sections = [USAGE, _EXAMPLES]
    for group, flags in groupby(shown, key=lambda flag: flag.group):
        lines = [f"{group}:", *(_help_lines(flag) for flag in flags)]
        sections.append("\n".join(lines) + "\n")
    sections.append(
        _REST.format(
            ignored=_names("Ignored"),
            older=_names("Older names"),
            refused=_names("Refused"),
        )
    )
    return "\n".join(sections)


def reference_page() -> str:
    """The page docs/reference/flags.md."""
    parts = [_PAGE_HEAD]
    for group, flags in groupby(FLAGS.values(), key=lambda flag: flag.group):
        note = _PAGE_NOTES.get(group)
        head = [f"## {group}", ""] + ([note, ""] if note else [])
        rows = [_row(flag) for flag in flags]
        parts.append(
            "\n".join([*head, "| option | type | default | meaning |", "|---|---|---|---|", *rows])
            + "\n"
        )
    return "\n".join(parts)


def _help_lines(flag: Flag) -> str:
    default = f" '{flag.default}'" if flag.name not in ("help", "version") else ""
    return f"  --{flag.name}{default}\n    {flag.help}"


def _names(group: str) -> str:
    return "\n".join(f"  --{flag.name}" for flag in FLAGS.values() if flag.group == group)


def _row(flag: Flag) -> str:
    default = f"`{flag.default}`" if flag.default and flag.type is not Type.ANY else ""
    meaning = flag.help.replace("|", "\\|")
    return f"| `--{flag.name}` | {flag.type.value} | {default} | {meaning} |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference_page(), encoding="utf-8")
