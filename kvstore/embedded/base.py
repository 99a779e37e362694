"""What both faces have in common and never waits: revisions, statistics, life and process.

A store belongs to the process that opened it. In a child made by fork the lock, the threads and
the memory map are the parent's, so there every call is refused instead of corrupting its data.
"""

from __future__ import annotations

import logging
import os
import warnings
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from kvstore.backend import MEMORY
from kvstore.errors import InvalidRequest, StoreClosed
from kvstore.store.options import StoreOptions
from kvstore.types import StoreStatus

__all__ = ["Durability", "Handle", "Shell", "fsync_of", "options_of", "path_of"]

Durability: TypeAlias = Literal["power-loss", "process-crash"]
"""What an acknowledged write survives; the first includes the second."""

_log = logging.getLogger("kvstore")


class Shell(Protocol):
    """What a handle asks of the store beneath it."""

    @property
    def revision(self) -> int: ...
    @property
    def compact_revision(self) -> int: ...
    def status(self) -> StoreStatus: ...


S = TypeVar("S", bound=Shell)


class Handle(Generic[S]):
    """An open store as its user holds it: a shell, the path it was opened at, the process."""

    __slots__ = ("__weakref__", "_closed", "_pid", "_shell", "path")

    def __init__(self, shell: S, path: str) -> None:
        self._shell, self.path = shell, path
        self._closed = False
        self._pid = os.getpid()

    @property
    def revision(self) -> int:
        """The newest revision; 1 in a new store. Every write that changes something adds one."""
        return self._live().revision

    @property
    def compact_revision(self) -> int:
        """History below this revision is forgotten; 0 or less when nothing was compacted."""
        return self._live().compact_revision

    @property
    def closed(self) -> bool:
        return self._closed

    def stats(self) -> StoreStatus:
        """Revisions, sizes in bytes, and how many keys, leases and watchers there are."""
        return self._live().status()

    def __repr__(self) -> str:
        if self._closed or self._is_foreign:
            state = "closed" if self._closed else "opened in another process"
        else:
            state = f"revision {self._shell.revision}"
        return f"<{type(self).__name__} {self.path!r}, {state}>"

    @property
    def _is_foreign(self) -> bool:
        return self._pid != os.getpid()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and not self._is_foreign:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self)

    def _live(self) -> S:
        """The shell.

        Raises:
            StoreClosed: the store was closed, or opened in another process.
        """
        if self._pid != os.getpid():
            raise StoreClosed(
                f"the store at {self.path!r} was opened in process {self._pid} and cannot be used "
                f"in process {os.getpid()}: open stores after the fork"
            )
        if self._closed:
            raise StoreClosed(f"the store at {self.path!r} is closed")
        return self._shell


def path_of(path: str | bytes | os.PathLike[str]) -> str:
    """The path as text.

    Raises:
        InvalidRequest: it is empty, which would be the working directory.
        TypeError: it is none.
    """
    text = os.fsdecode(path)
    if not text:
        raise InvalidRequest("the path of a store is empty")
    return text


def options_of(options: StoreOptions | None) -> StoreOptions:
    """Raises TypeError for anything but StoreOptions and None, which gives the defaults."""
    if options is None:
        return StoreOptions()
    if not isinstance(options, StoreOptions):
        raise TypeError(f"options are kvstore.StoreOptions, not {options!r}")
    return options


def fsync_of(path: str, durability: Durability) -> bool:
    """Whether commits wait for the disk; logs one warning when acknowledged writes can be lost.

    Raises:
        InvalidRequest: an unknown durability.
    """
    if durability not in ("power-loss", "process-crash"):
        raise InvalidRequest(f'durability is "power-loss" or "process-crash", not {durability!r}')
    if path == MEMORY:
        _log.warning("the store is in memory only: everything in it is lost when it is closed")
    elif durability == "process-crash":
        _log.warning(
            "the store at %r survives a crash of the process, NOT a power loss or a crash of the "
            "machine: the last acknowledged writes can be lost then",
            path,
        )
    return durability == "power-loss"
