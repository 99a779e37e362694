"""The revisions of one key.

A key lives in generations, each ended by a tombstone:

    put  put  tombstone   put  tombstone   put            revs, ascending, packed
    2    5    7           9    12          15             main revisions
    \\_ generation 1 _/   \\_ gen. 2 _/     \\_ gen. 3: create 15, version 1

A compaction at 12 leaves 12 (a tombstone exactly at the compact revision stays, so that a watch
from there still sees the delete) and 15; at 13 it leaves 15; at 5 it leaves 5, 7, 9, 12, 15.

A key that was put once is by far the most frequent kind, so the tree keeps just its packed
revision, an int of 32 bytes, instead of a KeyIndex of 230; `Entry` is either.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TypeAlias

from kvstore.core.mvcc.revision import TOMBSTONE, bound, main_of

__all__ = ["Entry", "KeyIndex", "entry_at", "entry_create", "entry_last", "entry_version"]


class KeyIndex:
    """`create` and `version` are of the newest generation; version 0: it is ended."""

    __slots__ = ("create", "revs", "version")

    def __init__(self, create: int, version: int, revs: list[int]) -> None:
        self.create, self.version, self.revs = create, version, revs

    def __repr__(self) -> str:
        return f"KeyIndex(create={self.create}, version={self.version}, revs={self.revs})"

    def put(self, packed: int) -> None:
        if not self.version:
            self.create = main_of(packed)
        self.version += 1
        self.revs.append(packed)

    def tombstone(self, packed: int) -> None:
        self.version = self.create = 0
        self.revs.append(packed)

    def at(self, below: int) -> int:
        """The newest revision under the packed bound `below`; 0 for none, or a dead one."""
        last = self.revs[-1]
        if last >= below:
            position = bisect_left(self.revs, below)
            if not position:
                return 0
            last = self.revs[position - 1]
        return 0 if last & TOMBSTONE else last

    def since(self, first: int, below: int, limit: int) -> list[int]:
        """The first `limit` revisions in [first, below), packed bounds, tombstones too."""
        start = bisect_left(self.revs, first)
        return self.revs[start : min(bisect_left(self.revs, below), start + limit)]

    def compact(self, revision: int, dropped: list[int]) -> None:
        """Drop what a compaction at `revision` makes unreachable; add those to `dropped` first."""
        keep = bisect_left(self.revs, bound(revision)) - 1
        if keep < 0:
            return
        newest = self.revs[keep]
        if newest & TOMBSTONE and main_of(newest) < revision:
            keep += 1
        dropped += self.revs[:keep]
        del self.revs[:keep]


Entry: TypeAlias = int | KeyIndex
"""A KeyIndex, or the bare packed revision of a key that was put once and not since."""


def entry_at(entry: Entry, below: int) -> int:
    """As KeyIndex.at."""
    if type(entry) is int:
        return entry if entry < below else 0
    return entry.at(below)  # type: ignore[union-attr]  # type() is the fast test mypy cannot follow


def entry_last(entry: Entry) -> int:
    return entry if isinstance(entry, int) else entry.revs[-1]


def entry_create(entry: Entry) -> int:
    return entry >> 32 if isinstance(entry, int) else entry.create


def entry_version(entry: Entry) -> int:
    return 1 if isinstance(entry, int) else entry.version
