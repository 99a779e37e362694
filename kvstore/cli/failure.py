"""How a command says what went wrong: one line on standard error, never a traceback."""

from __future__ import annotations

from kvstore.cli.output import complain

__all__ = ["describe", "report"]


def report(message: object) -> None:
    """Print `message` on one line of standard error, after the name of the program."""
    complain(f"kvstore: {' '.join(str(message).split())}")


def describe(error: BaseException) -> str:
    """What an error says to somebody who does not read Python; never empty."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    return str(error) or type(error).__name__
