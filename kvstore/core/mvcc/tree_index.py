"""All keys in order, each with its revisions.

Two sorted lists: `_keys` has every key with any revision, `_live` those alive at the published
(durable) revision. A count at the newest published revision is the difference of two ranks in
`_live`: O(log n). Decided writes that are not published yet are in the entries (a revision above
the published one) but not in `_live`; `_unpublished` says by how much they would change it.

An exception may come at any point of a write, from the outside, too (Ctrl-C). `touched` names what
has been written since it was last emptied, before it is written, so that `forget` and `restore` can
take it back; while a sorted list is being changed the index `is_torn`, and `mend` sorts anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from sortedcontainers import SortedList

from kvstore.core.mvcc.key_index import (
    Entry,
    KeyIndex,
    entry_at,
    entry_version,
)
from kvstore.core.mvcc.revision import TOMBSTONE, bound, main_of, pack
from kvstore.keys import KeyRange
from kvstore.limits import RECENT_TURNS

__all__ = ["TreeIndex"]


class TreeIndex:
    """Ordered keys → revisions. Costs: single-key calls O(log n), ranges O(keys in it)."""

    def __init__(self, entries: dict[bytes, Entry] | None = None) -> None:
        """Take over `entries`, all of them published."""
        self._entries: dict[bytes, Entry] = {} if entries is None else entries
        self._keys = SortedList(self._entries)
        dead = {k for k, e in self._entries.items() if not entry_version(e)}
        self._live = (
            SortedList(k for k in self._keys if k not in dead) if dead else self._keys.copy()
        )
        self._unpublished: dict[bytes, int] = {}
        self._turns: deque[tuple[int, bytes, int]] = deque()  # (revision, key, +1 born or -1 died)
        self._turns_since = 1 << 63  # `_turns` has all above this revision
        self._head = 0  # the newest revision written, 0 before the first write
        self.superseded: set[bytes] = {k for k, e in self._entries.items() if _has_history(e)}
        """Keys that a compaction may find something to drop of."""
        self.touched: list[bytes] = []
        """Keys of the decision that is being made; whoever decides puts an empty list here."""
        self._is_torn = False

    def __len__(self) -> int:
        """Number of keys alive at the published revision."""
        return len(self._live)

    def get(self, key: bytes) -> Entry | None:
        return self._entries.get(key)

    # -- writes, at the head ---------------------------------------------------------------------

    def put(self, key: bytes, main: int, sub: int) -> tuple[int, int, int]:
        """Add a put; returns (packed revision, create_revision, version)."""
        self.touched.append(key)
        self._head = main
        packed = main << 32 | sub << 1
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = packed
            self._is_torn = True
            self._keys.add(key)
            self._is_torn = False
            self._unpublished[key] = self._unpublished.get(key, 0) + 1
            return packed, main, 1
        index = entry if type(entry) is KeyIndex else self._as_key_index(key, entry)
        if not index.version:
            self._shift(key, 1)
        index.put(packed)
        self.superseded.add(key)
        return packed, index.create, index.version

    def tombstone(self, key: bytes, main: int, sub: int) -> int:
        """Add a delete of a live key; returns the packed revision."""
        self.touched.append(key)
        self._head = main
        packed = pack(main, sub, tombstone=True)
        self._as_key_index(key, self._entries[key]).tombstone(packed)
        self.superseded.add(key)
        self._shift(key, -1)
        return packed

    def _as_key_index(self, key: bytes, entry: Entry) -> KeyIndex:
        if isinstance(entry, int):
            entry = self._entries[key] = KeyIndex(main_of(entry), 1, [entry])
        return entry

    def _shift(self, key: bytes, by: int) -> None:
        now = self._unpublished.get(key, 0) + by
        if now:
            self._unpublished[key] = now
        else:
            del self._unpublished[key]

    def publish(self, key: bytes, packed: int, version: int) -> None:
        """A write became durable; `version` is the one it gave the key (0 for a delete)."""
        if packed & TOMBSTONE:
            self._is_torn = True
            self._live.remove(key)
            self._is_torn = False
            self._shift(key, 1)
            self._turn(packed, key, -1)
        elif version == 1:
            self._is_torn = True
            self._live.add(key)
            self._is_torn = False
            self._shift(key, -1)
            self._turn(packed, key, 1)

    def begin_turns(self, published: int) -> None:
        """From `published` on births and deaths are remembered, for counts in the recent past."""
        self._turns.clear()
        self._turns_since = published

    def _turn(self, packed: int, key: bytes, by: int) -> None:
        if len(self._turns) == RECENT_TURNS:
            self._turns_since = self._turns.popleft()[0]
        self._turns.append((main_of(packed), key, by))

    def forget(self, key: bytes, below: int) -> int:
        """Take back the revisions of `key` at or above the packed bound; returns its last one or 0.

        The caller restores `create` and `version` with `restore` when a revision is left. Both may
        be called in any state that an exception leaves, but that of a torn index.
        """
        entry = self._entries.get(key, 0)
        revs = [entry] if isinstance(entry, int) else entry.revs
        kept = [packed for packed in revs if 0 < packed < below]
        if not kept:
            self._drop(key)
            self._unpublished.pop(key, None)
            return 0
        self._entries[key] = KeyIndex(0, 0, kept)
        return kept[-1]

    def restore(self, key: bytes, create: int, version: int) -> None:
        entry = self._entries[key]
        assert isinstance(entry, KeyIndex)
        entry.create, entry.version = create, version
        by = (version > 0) - (key in self._live)
        if by:
            self._unpublished[key] = by
        else:
            self._unpublished.pop(key, None)
        if _has_history(entry):
            self.superseded.add(key)
        self._simplify(key, entry)

    def mend(self, published: int) -> None:
        """Sort anew if an exception came while that was being done. O(n log n) then."""
        if not self._is_torn:
            return
        entries, below = self._entries, bound(published)
        self._keys = SortedList(entries)
        self._live = SortedList(key for key in self._keys if entry_at(entries[key], below))
        self._count_unpublished()
        self._is_torn = False

    def republish(self, published: int) -> None:
        """A publication up to here broke off: show what is published. O(n log n)."""
        self._is_torn = True
        self.mend(published)
        self.begin_turns(published)

    def _count_unpublished(self) -> None:
        live, self._unpublished = set(self._live), {}
        for key, entry in self._entries.items():
            by = (entry_version(entry) > 0) - (key in live)
            if by:
                self._unpublished[key] = by

    def _drop(self, key: bytes) -> None:
        """Of a key without revisions nothing is left."""
        self._is_torn = True
        self._entries.pop(key, None)
        self._keys.discard(key)
        self._is_torn = False
        self.superseded.discard(key)

    # -- reads -----------------------------------------------------------------------------------

    def keys_in(
        self, key_range: KeyRange, *, live: bool = False, reverse: bool = False
    ) -> Iterator[bytes]:
        """Keys of an interval (not a single key), ascending or descending."""
        keys = self._live if live else self._keys
        found: Iterator[bytes] = keys.irange(
            key_range.key, key_range.upper, inclusive=(True, False), reverse=reverse
        )
        return found

    def revisions(
        self, key_range: KeyRange, main: int, *, live: bool, limit: int = 0, reverse: bool = False
    ) -> list[int]:
        """Packed revisions of the keys alive at `main`, in key order, at most `limit` (0: all).

        `live` says that `main` is the published revision, which spares looking at dead keys.
        """
        below = bound(main)
        if key_range.is_single:
            entry = self._entries.get(key_range.key)
            packed = entry_at(entry, below) if entry is not None else 0
            return [packed] if packed else []
        if _is_inverted(key_range):
            return []
        entries = self._entries
        keys = self.keys_in(key_range, live=live, reverse=reverse)
        if live:
            known = map(entries.__getitem__, islice(keys, limit) if limit else keys)
            return [
                entry if type(entry) is int and entry < below else entry_at(entry, below)
                for entry in known
            ]
        found = (packed for key in keys if (packed := entry_at(entries[key], below)))
        return list(islice(found, limit) if limit else found)

    def count(self, key_range: KeyRange, main: int, *, published: int) -> int:
        """Keys alive at `main`. O(log n) at the published revision.

        At the head O(pending) more, in the recent past O(keys born or deleted since), else O(keys).
        """
        if key_range.is_single:
            entry = self._entries.get(key_range.key)
            return int(entry is not None and entry_at(entry, bound(main)) > 0)
        if _is_inverted(key_range):
            return 0
        if self._turns_since <= main < published:
            count = self._rank(self._live, key_range)
            for turned, key, by in reversed(self._turns):
                if turned <= main:
                    break
                if key in key_range:
                    count -= by
            return count
        if main < published or published < main < self._head:
            below, entries = bound(main), self._entries
            return sum(1 for key in self.keys_in(key_range) if entry_at(entries[key], below))
        count = self._rank(self._live, key_range)
        if main > published:
            count += sum(by for key, by in self._unpublished.items() if key in key_range)
        return count

    def count_known(self, key_range: KeyRange) -> int:
        """Keys with any revision, dead ones too. O(log n)."""
        if key_range.is_single:
            return int(key_range.key in self._entries)
        return 0 if _is_inverted(key_range) else self._rank(self._keys, key_range)

    @staticmethod
    def _rank(keys: SortedList, key_range: KeyRange) -> int:
        upper = key_range.upper
        high: int = len(keys) if upper is None else keys.bisect_left(upper)
        low: int = keys.bisect_left(key_range.key)
        return high - low

    def known(self, key_range: KeyRange) -> Iterable[bytes]:
        """Keys with any revision, ascending."""
        if key_range.is_single:
            return (key_range.key,) if key_range.key in self._entries else ()
        return () if _is_inverted(key_range) else self.keys_in(key_range)

    def since(self, key: bytes, first: int, below: int, limit: int) -> list[int]:
        """The key's first `limit` packed revisions in [first, below), tombstones too."""
        entry = self._entries[key]
        if isinstance(entry, int):
            return [entry] if first <= entry < below else []
        return entry.since(first, below, limit)

    # -- compaction ------------------------------------------------------------------------------

    def compact(self, key: bytes, revision: int, dropped: list[int]) -> None:
        """Drop what a compaction at `revision` leaves unreachable of one key; add it to `dropped`.

        May be called again after an exception.
        """
        entry = self._entries.get(key)
        if entry is None or isinstance(entry, int):
            self.superseded.discard(key)
            return
        entry.compact(revision, dropped)
        if not entry.revs:
            self._drop(key)
        else:
            self._simplify(key, entry)

    def _simplify(self, key: bytes, entry: KeyIndex) -> None:
        if len(entry.revs) == 1:
            if entry.version == 1:
                self._entries[key] = entry.revs[0]
            if entry.version:
                self.superseded.discard(key)

    # -- invariants ------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """Everything that is wrong, as sentences; [] when sound. O(n)."""
        wrong = []
        if list(self._keys) != sorted(self._entries):
            wrong.append("the ordered keys are not the keys of the index")
        live = set(self._live)
        if len(live) != len(self._live):
            wrong.append("a key is twice among the live keys")
        for key, entry in self._entries.items():
            if isinstance(entry, KeyIndex):
                if not entry.revs or entry.revs != sorted(set(entry.revs)):
                    wrong.append(f"the revisions of {key!r} do not ascend: {entry.revs}")
                if bool(entry.version) == bool(entry.revs[-1] & TOMBSTONE):
                    wrong.append(f"{key!r} has version {entry.version} after {entry.revs[-1]:#x}")
            alive = entry_version(entry) > 0
            if alive != (self._unpublished.get(key, 0) + (key in live) == 1):
                wrong.append(f"{key!r} is alive={alive} at the head, published {key in live}")
            if _has_history(entry) and key not in self.superseded:
                wrong.append(f"{key!r} has history that no compaction would visit")
        wrong += [f"{key!r} is live but not indexed" for key in live - self._entries.keys()]
        return wrong


def _is_inverted(key_range: KeyRange) -> bool:
    upper = key_range.upper
    return upper is not None and upper <= key_range.key


def _has_history(entry: Entry) -> bool:
    if isinstance(entry, int):
        return False
    return len(entry.revs) > 1 or not entry.version
