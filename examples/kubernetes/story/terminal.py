"""What the story looks like: a line for each thing that happens, beginning with its layer."""

from __future__ import annotations

import os
import sys

from examples.kubernetes.story.changes import Call, Change

__all__ = ["chapter", "command", "show_call", "show_change", "show_end", "show_line"]

_WIDTH = 100
_DETAILS = 4
_COLORS = {"rest": 36, "store": 33, "watch": 32, "operator": 35, "gitops": 34}


def chapter(title: str) -> None:
    print(f"\n{_colored(f'== {title}', 1)}\n", flush=True)


def command(text: str) -> None:
    print(f"$ {text}", flush=True)


def show_call(call: Call, note: str = "") -> None:
    said = f"{call.user:<10} {call.method:<6} {call.path} {call.status}"
    show_line("rest", f"{said} {note}".rstrip())


def show_change(change: Change) -> None:
    """The call, the key with its revision, the event that was handed on, and what was new in it."""
    told = change.told
    name = f"{told.object['kind']} {told.object['metadata']['name']}"
    show_call(change.call)
    kind = change.stored.type.name
    show_line("store", f"{'':<10} {kind:<6} {change.key} rev {change.revision}")
    show_line("watch", f"{'':<10} {told.type} {name} resourceVersion {told.revision}")
    for detail in change.details[:_DETAILS]:
        print(f"{'':<22}{_cut(detail, _WIDTH - 22)}", flush=True)
    if (more := len(change.details) - _DETAILS) > 0:
        print(f"{'':<22}… and {more} more", flush=True)


def show_end(changes: int) -> None:
    print(f"\n{changes} changes, each seen at every layer.", flush=True)


def show_line(layer: str, text: str) -> None:
    print(f"  {_colored(f'{layer:<8}', _COLORS.get(layer, 0))} {text}", flush=True)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _colored(text: str, code: int) -> str:
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\033[{code}m{text}\033[0m"
