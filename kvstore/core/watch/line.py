"""Watchers one behind the other: a linked list, each in one at most.

So a watcher joins and leaves in O(1) whoever else does, and however many there are: a dict that
grows with 100,000 is a pause of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvstore.core.watch.watcher import Watcher

__all__ = ["Line"]


class Line:
    __slots__ = ("first", "last", "size")

    def __init__(self) -> None:
        self.first: Watcher | None = None
        self.last: Watcher | None = None
        self.size = 0

    def __iter__(self) -> Iterator[Watcher]:
        watcher = self.first
        while watcher is not None:
            yield watcher
            watcher = watcher.following

    def add(self, watcher: Watcher) -> None:
        """As the last; it must be in none."""
        last = self.last
        if last is None:
            self.first = watcher
        else:
            last.following = watcher
        watcher.line, watcher.previous, self.last = self, last, watcher
        self.size += 1

    def remove(self, watcher: Watcher) -> None:
        """It must be in this one."""
        previous, following = watcher.previous, watcher.following
        if previous is None:
            self.first = following
        else:
            previous.following = following
        if following is None:
            self.last = previous
        else:
            following.previous = previous
        watcher.line = watcher.previous = watcher.following = None
        self.size -= 1
