"""What a command prints, and what happens when standard output is closed or full.

closed before the start    /dev/null takes its place, as in Go: or the next file that is opened,
                           a store's, would be what a stray message is written into
a pipe that nobody reads   the command ends silently with 141, as if by SIGPIPE
a full disk                one line on standard error, and 1; if standard error is what is full,
                           the exit code of the command
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Final, TextIO

__all__ = ["INTERRUPTED", "OutputFailed", "complain", "flush", "open_closed_files", "say"]

INTERRUPTED: Final = 128 + 2
"""The exit code after Ctrl-C, as a shell says it of a program that SIGINT ended."""
UNREAD: Final = 128 + 13
"""As a shell says it of a program that wrote into a pipe without a reader."""


class OutputFailed(Exception):
    """Standard output does not take what is written to it. `exit_code` is what to end with."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self._text = f"standard output: {error.strerror or error}"
        self.is_unread = isinstance(error, BrokenPipeError)
        self.exit_code = UNREAD if self.is_unread else 1

    def __str__(self) -> str:
        return self._text


def open_closed_files() -> None:
    """Have descriptors 0, 1 and 2 open, and characters that they cannot show replaced."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free descriptor is the one that is closed: those below it are open.
            os.open(os.devnull, os.O_RDWR)


def say(text: object, end: str = "\n") -> None:
    """Print it now. Raises OutputFailed."""
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        raise _failed(error) from None


def flush() -> None:
    """Write what others printed. Raises OutputFailed."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        raise _failed(error) from None


def complain(text: str) -> None:
    """Print lines on standard error. When it does not take them the exit code says it alone."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)


def _failed(error: OSError) -> OutputFailed:
    _drop(sys.stdout)
    return OutputFailed(error)


def _drop(stream: TextIO) -> None:
    """The interpreter writes what is buffered once more at its end, and would fail again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
