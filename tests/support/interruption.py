"""An exception out of nowhere: at the n-th place of a piece of code, for each n.

Python runs a signal's handler between two instructions of the main thread, at the places where it
looks for signals: when a function begins, after a call, at a jump back. `Interruption` raises at
one of these, or before one of the lines, of the files that it is told.
"""

from __future__ import annotations

import opcode
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Interrupted", "Interruption", "places"]

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
    ) -> None:
        """`act` is called instead of raising Interrupted."""
        self._files, self._at, self._lines, self._act = files, at, lines, act
        self.places = 0
        self.where = ""
        self._before: dict[FrameType, int] = {}

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
            before = self._before.get(frame)
            self._before[frame] = frame.f_code.co_code[frame.f_lasti]
            if before in _LOOKS:
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
                raise Interrupted(self.where)
            self._act()


def places(call: Callable[[], object], files: tuple[str, ...], *, lines: bool = False) -> int:
    """How many places there are in `call`, which is done."""
    with Interruption(files, lines=lines) as counting:
        call()
    return counting.places
