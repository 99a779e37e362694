"""An exception out of nowhere: at the n-th place of a piece of code, for each n.

Python runs a signal's handler between two instructions of the main thread, at the places where it
looks for signals: when a function begins, after a call, at a jump back. `Interruption` raises at
one of these, or before one of the lines, of the files that it is told. A place between a call at
the end of a `with` or a `try` and what comes behind that is left out: the exception would come out
of the call, inside, and a trace function can raise only outside.
"""

from __future__ import annotations

import dis
import opcode
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

__all__ = ["STEP", "Interrupted", "Interruption", "places"]

STEP = int(os.environ.get("KVSTORE_INTERRUPTION_STEP", "7"))
"""Every so many of the places are tried; 1: each."""

_LOOKS = frozenset(
    number
    for name, number in opcode.opmap.items()
    if name.startswith(("CALL", "JUMP_BACKWARD", "SEND"))
)


class Interrupted(BaseException):
    """What a signal handler raises, as KeyboardInterrupt."""


class Interruption:
    """A context in which an exception is raised once, at place `at`; `places` counts them.

    With `lines` the places are all lines, else where Python looks for signals. `files` has parts of
    the file names that count. Only the thread that enters is interrupted.
    """

    def __init__(
        self,
        files: tuple[str, ...],
        at: int = 0,
        *,
        lines: bool = False,
        act: Callable[[], None] | None = None,
        error: type[BaseException] = Interrupted,
    ) -> None:
        """`act` is called instead of raising `error`."""
        self._files, self._at, self._lines, self._act = files, at, lines, act
        self._error = error
        self.places = 0
        self.where = ""
        self._before: dict[FrameType, int] = {}  # the offset of the last instruction

    def __enter__(self) -> Interruption:
        sys.settrace(self._begin)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)
        self._before.clear()

    def _begin(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not any(part in frame.f_code.co_filename for part in self._files):
            return None
        if not self._lines:
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            self._visit(frame)
        return self._go_on

    def _go_on(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and self._lines:
            self._visit(frame)
        elif event == "opcode":
            before, self._before[frame] = self._before.get(frame), frame.f_lasti
            if before is not None and frame.f_lasti in _behind_looks(frame.f_code).get(before, ()):
                self._visit(frame)
        elif event == "return":
            self._before.pop(frame, None)
        return self._go_on

    def _visit(self, frame: FrameType) -> None:
        self.places += 1
        if self.places == self._at:
            sys.settrace(None)
            self.where = f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
            if self._act is None:
                raise self._error(self.where)
            self._act()


@lru_cache(None)
def _behind_looks(code: CodeType) -> dict[int, set[int]]:
    """Where Python looks for signals -> the instructions behind it with the same handler."""
    table = dis._parse_exception_table(code)  # type: ignore[attr-defined]  # there is no other way

    def handler(offset: int) -> int | None:
        found = [entry.target for entry in table if entry.start <= offset < entry.end]
        return found[-1] if found else None

    offsets = [each.offset for each in dis.get_instructions(code)]
    return {
        offset: {other for other in offsets if handler(other) == handler(offset)}
        for offset in offsets
        if code.co_code[offset] in _LOOKS
    }


def places(call: Callable[[], object], files: tuple[str, ...], *, lines: bool = False) -> int:
    """How many places there are in `call`, which is done."""
    with Interruption(files, lines=lines) as counting:
        call()
    return counting.places
