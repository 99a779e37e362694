"""Faults at the n-th call that changes a file system: it fails, or the process ends there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

__all__ = ["CALLS", "at_call"]

CALLS = (
    *("mkdir", "chmod", "open", "fchmod", "ftruncate", "pwrite", "fsync", "rename", "unlink"),
    "posix_fallocate",
)


@contextlib.contextmanager
def at_call(number: int, fault: Callable[[], None]) -> Iterator[list[str]]:
    """While it lasts, `fault` is called in the place of the n-th call; yields the calls so far."""
    made: list[str] = []

    def wrapped(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            made.append(name)
            if len(made) == number:
                fault()
            return real(*args, **kwargs)

        return call

    with contextlib.ExitStack() as stack:
        for name in CALLS:
            stack.enter_context(patch(f"os.{name}", wrapped(name)))
        yield made
