"""`kvstore salvage`: what is provably whole of a damaged directory, as a new and sound store.

A record is proven by its checksum, its revision by being where the log has it. The log only grows:
a record is a fact wherever it is found, in the tree, in the journal, in an older copy of a page.
So what a *hole* (a span of revisions that cannot be read) took away is looked for in all of them.
What is left of the holes after that is lost, and decides what the new store may say:

    revisions ........ hole ....... G | ............... head
                                      | history is kept from here on: nothing is missing in it
    below and at G: of each key its newest record, as after a compaction at G

A key whose newest known record is below the end of the last hole may have been written or deleted
in a hole: it is kept as it was last known and named as uncertain.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import msgpack

from kvstore.backend.damage import UNREADABLE
from kvstore.backend.interface import Table
from kvstore.backend.remains import Remains, read_remains
from kvstore.checksum import row_body, sealed_row
from kvstore.core.mvcc import record as records
from kvstore.core.mvcc.revision import REVISION_BYTES, TOMBSTONE, bound, main_of, unpack
from kvstore.errors import CorruptStore
from kvstore.limits import MAX_LEASE_TTL_S
from kvstore.store.recovery import FIRST_REVISION
from kvstore.store.rows import FORMAT, FORMAT_KEY, META_KEYS, UPGRADE_KEY, lease_key

__all__ = ["Salvaged", "Uncertain", "salvage"]

_COMPACT_KEY = b"meta:compact"
_END = bound((1 << 63) - 1)


class Uncertain(NamedTuple):
    key: bytes
    revision: int
    """Of its newest record that is known."""
    is_deleted: bool


class _Hole(NamedTuple):
    """Revisions from `low` on and below `high`, both packed, that may be lost."""

    what: str
    low: int
    high: int


@dataclass(slots=True)
class Salvaged:
    """What the new store is made of, and what is missing in it."""

    records: dict[int, bytes]
    """By packed revision, ascending."""
    leases: dict[bytes, bytes]
    meta: dict[bytes, bytes]
    keys: int = 0
    head: int = FIRST_REVISION
    compact: int = -1
    missing: list[str] = field(default_factory=list)
    """A sentence for each loss; empty when everything is there."""
    uncertain: list[Uncertain] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was damaged; whatever it cost is in `missing`."""


def salvage(directory: Path) -> Salvaged:
    """Read a directory, which stays as it is. Everything in memory.

    Raises DirectoryLocked, OSError; CorruptStore when nothing can be told, as of a newer format.
    """
    remains = read_remains(directory)
    found = _Finder(remains)
    found.read_log()
    found.read_commits()
    return _Maker(found).make()


class _Finder:
    """Puts the newest state together from the data file and the journal."""

    def __init__(self, remains: Remains) -> None:
        self.remains = remains
        tables = remains.tables
        self._log = tables[Table.LOG]
        self.meta = dict(tables[Table.META].rows)
        self.leases = dict(tables[Table.LEASE].rows)
        self.records: dict[int, bytes] = {}
        self.holes: list[_Hole] = []
        self.missing: list[str] = []
        self.notes = list(remains.notes)
        self.is_sealed = self._is_sealed()

    def _is_sealed(self) -> bool:
        """Has every row a checksum? Raises CorruptStore for a newer format."""
        row = self.meta.get(FORMAT_KEY)
        try:
            number = None if row is None else int(msgpack.unpackb(row))
        except UNREADABLE:
            number = None
        if number is not None and number > FORMAT:
            raise CorruptStore(
                f"the store has format {number}, this version reads formats 1 to {FORMAT}"
            )
        return number == FORMAT and UPGRADE_KEY not in self.meta

    def read_log(self) -> None:
        for damage in self._log.damage:
            high = _END if damage.high is None else _packed_from(damage.high)
            self.holes.append(_Hole(damage.what, _packed_from(damage.low), high))
        previous, damaged = -1, 0
        for key, raw in self._log.rows.items():
            record = self._whole(key, raw)
            if record is None:
                damaged += 1
                continue
            packed = int.from_bytes(key, "big")
            if damaged:
                self._note_damaged(damaged, previous + 1, packed)
            self.records[packed] = record
            previous, damaged = packed, 0
        if damaged:
            self._note_damaged(damaged, previous + 1, _END)
        if self.holes:
            self._fill()

    def _note_damaged(self, count: int, low: int, high: int) -> None:
        """Rows that are in order: theirs were between the revisions around them."""
        what = "a record is damaged" if count == 1 else f"{count} records are damaged"
        self.holes.append(_Hole(what, low, high))

    def _fill(self) -> None:
        """Look for what the holes took away. If the count is right then, nothing is lost."""
        others = self.remains.others
        mark = self.remains.mark
        for sequence, batch in self.remains.commits.items():
            if mark is not None and sequence <= mark.sequence:
                others += batch.appends
        spans = _spans(self.holes)
        begins = [low for low, _ in spans]
        candidates: dict[int, bytes | None] = {}
        for key, raw in others:
            packed = int.from_bytes(key, "big")
            at = bisect_right(begins, packed) - 1
            if packed in self.records or at < 0 or packed >= spans[at][1]:
                continue
            record = self._whole(key, raw)
            if record is not None:
                is_other = candidates.get(packed, record) != record
                candidates[packed] = None if is_other else record
        self.records.update(
            (packed, record) for packed, record in candidates.items() if record is not None
        )
        if len(self.records) == self._log.expected:
            self.notes += [hole.what for hole in self.holes]
            self.holes.clear()

    def _whole(self, key: bytes, raw: bytes) -> bytes | None:
        """The record in this version's format; None unless it is what a store writes there."""
        packed = int.from_bytes(key, "big")
        candidates = (raw,) if self.is_sealed else (raw, records.sealed(raw))
        for record in candidates:
            try:
                if records.is_whole(record) and _encoded_again(record, packed) == record:
                    return record if len(key) == REVISION_BYTES else None
            except UNREADABLE:
                continue
        return None

    def read_commits(self) -> None:
        """The commits that the data file lacks, in their order."""
        remains = self.remains
        last = remains.mark.sequence if remains.mark is not None else 0
        newest = max(self.records, default=0)
        first_new, is_bounded = True, False
        lost: list[tuple[str, int]] = []
        for sequence in sorted(each for each in remains.commits if each > last):
            if sequence != last + 1 and (remains.mark is not None or not first_new):
                lost.append((_commits(last + 1, sequence - 1), newest + 1))
            batch, last = remains.commits[sequence], sequence
            first_new = False
            if batch.appends:
                low = int.from_bytes(batch.appends[0][0], "big")
                if not is_bounded:
                    self.holes = [hole._replace(high=min(hole.high, low)) for hole in self.holes]
                    is_bounded = True
                self.holes += [_Hole(what, begin, low) for what, begin in lost]
                lost.clear()
            newest = self._apply(batch.appends, batch.puts, batch.deletes, newest)
        if last < remains.newest:
            lost.append((_commits(last + 1, remains.newest), newest + 1))
        if remains.doubt:
            lost.append((f"{remains.doubt}: commits behind {last} may be lost", newest + 1))
        self.holes += [_Hole(what, begin, _END) for what, begin in lost]

    def _apply(
        self,
        appends: Iterable[tuple[bytes, bytes]],
        puts: Iterable[tuple[Table, bytes, bytes]],
        deletes: Iterable[tuple[Table, bytes]],
        newest: int,
    ) -> int:
        others = {Table.LEASE: self.leases, Table.META: self.meta}
        for table, key in deletes:
            if table is Table.LOG:
                self.records.pop(int.from_bytes(key, "big"), None)
            else:
                others[table].pop(key, None)
        for key, raw in appends:
            record, newest = self._whole(key, raw), int.from_bytes(key, "big")
            if record is not None:
                self.records[newest] = record
        for table, key, value in puts:
            others[table][key] = value
        return newest


class _Maker:
    """Decides from what was found what the new store may say."""

    def __init__(self, found: _Finder) -> None:
        self._found = found
        self._records = dict(sorted(found.records.items()))
        self._holes = sorted(found.holes, key=attrgetter("low"))
        self._made = Salvaged({}, {}, {}, notes=found.notes)
        self._small: dict[bytes, list[bytes]] = defaultdict(list)
        for key, value in found.remains.others:
            if len(key) != REVISION_BYTES:
                self._small[key].append(value)

    def make(self) -> Salvaged:
        made = self._made
        self._read_meta()
        self._find_gaps()
        made.head = max(FIRST_REVISION, main_of(next(reversed(self._records), 0)), made.compact)
        if self._holes:
            self._compact()
        else:
            made.records = self._records
        alive = _newest(made.records)
        made.keys = len(alive)
        self._read_leases(alive.values())
        return made

    def _read_meta(self) -> None:
        made, found = self._made, self._found
        for damage in found.remains.tables[Table.META].damage:
            made.missing.append(f"rows about the store itself: {damage.what}")
        for key in META_KEYS - {FORMAT_KEY, UPGRADE_KEY}:
            value = found.meta.get(key)
            body = None if value is None else row_body(key, value)
            if body is None and value is not None and not found.is_sealed:
                body = value
            if body is None:
                body = self._older(key)
            if body is not None:
                made.meta[key] = sealed_row(key, body)
            elif value is not None:
                made.missing.append(f"the row {key.decode()} is damaged")
        made.meta[FORMAT_KEY] = msgpack.packb(FORMAT)
        if (row := made.meta.get(_COMPACT_KEY)) is not None:
            made.compact = msgpack.unpackb(row[:-4])[0]

    def _older(self, key: bytes) -> bytes | None:
        """The body of a small row that no table has: the largest of those that pages hold."""
        bodies = [body for value in self._small[key] if (body := row_body(key, value)) is not None]
        return max(bodies, key=msgpack.unpackb, default=None)

    def _find_gaps(self) -> None:
        """Above the compact revision nothing may be missing between two records."""
        compact = self._made.compact
        main, sub = max(compact, FIRST_REVISION), 1 << 31
        previous = bound(main) - 1
        for packed in self._records:
            found_main, found_sub, _ = unpack(packed)
            if found_main <= compact:
                continue
            is_next = found_main == main + 1 and found_sub == 0
            is_more = found_main == main and found_sub == sub + 1
            if not is_next and not is_more:
                what = f"between revision {_text(previous)} and {_text(packed)}"
                self._holes.append(_Hole(what, previous + 1, packed))
            main, sub, previous = found_main, found_sub, packed

    def _compact(self) -> None:
        """Keep the history from where on it is whole, and of what is below the newest records."""
        made, head = self._made, self._made.head
        made.missing += [_lost(hole) for hole in self._holes]
        whole_from = max(_last_of(hole, head) for hole in self._holes)
        last = main_of(next(reversed(self._records), 0))
        compact = self._with_known_past(min(max(made.compact, whole_from), max(last, 1)))
        newest: dict[bytes, int] = {}
        for packed, record in self._records.items():
            if main_of(packed) <= compact:
                newest[records.key_of(record)] = packed
        kept = {packed for packed in newest.values() if not packed & TOMBSTONE}
        made.records = {
            packed: record
            for packed, record in self._records.items()
            if main_of(packed) > compact
            or packed in kept
            or (packed & TOMBSTONE and main_of(packed) == compact)
        }
        made.compact = compact if compact > FIRST_REVISION else -1
        made.meta.pop(_COMPACT_KEY, None)
        if made.compact > 0:
            made.meta[_COMPACT_KEY] = sealed_row(_COMPACT_KEY, msgpack.packb([compact, True]))
        horizon = max(hole.high for hole in self._holes)
        made.uncertain = [
            Uncertain(key, main_of(packed), bool(packed & TOMBSTONE))
            for key, packed in sorted(_newest(self._records, deleted=True).items())
            if packed < horizon
        ]

    def _with_known_past(self, compact: int) -> int:
        """No record above it may follow one of its key that is lost."""
        states: dict[bytes, tuple[int, int]] = {}
        for packed, record in self._records.items():
            key = records.key_of(record)
            create, mod, version, _ = records.numbers_of(record)
            before = states.get(key, (0, 0))
            if packed & TOMBSTONE:
                is_known = before[1] > 0
            elif version == 1:
                is_known = before[1] == 0
            else:
                is_known = before == (create, version - 1)
            if mod > compact and not is_known:
                compact = mod
            states[key] = (create, version)
        return compact

    def _read_leases(self, alive: Iterable[int]) -> None:
        made, found = self._made, self._found
        table = found.remains.tables[Table.LEASE]
        for key, value in found.leases.items():
            body = row_body(key, value)
            if body is None and not found.is_sealed:
                body = value
            if body is not None and _is_lease(body):
                made.leases[key] = sealed_row(key, body)
            else:
                made.missing.append(f"lease {int.from_bytes(key, 'big'):x}: its TTL is damaged")
        for damage in table.damage:
            made.missing.append(f"leases: {damage.what}")
        used = {records.lease_of(made.records[packed]) for packed in alive}
        for lease_id in sorted(used - {0}):
            key = lease_key(lease_id)
            if key not in made.leases and (body := self._older(key)) is not None:
                made.leases[key] = sealed_row(key, body)
            if key not in made.leases:
                made.leases[key] = sealed_row(key, msgpack.packb([MAX_LEASE_TTL_S]))
                made.missing.append(
                    f"lease {lease_id & (1 << 64) - 1:x}: it has keys and its TTL is lost; "
                    f"it was granted again for {MAX_LEASE_TTL_S} s"
                )


def _encoded_again(record: bytes, packed: int) -> bytes:
    kv = records.decode(record)
    main = main_of(packed)
    if packed & TOMBSTONE:
        return records.encode_tombstone(kv.key, main)
    return records.encode(kv.key, kv.value, kv.create_revision, main, kv.version, kv.lease)


def _packed_from(key: bytes) -> int:
    """The first packed revision that is not below a key of the log, of whatever length."""
    packed = int.from_bytes(key[:REVISION_BYTES].ljust(REVISION_BYTES, b"\0"), "big")
    return min(packed + (len(key) > REVISION_BYTES), _END)


def _spans(holes: list[_Hole]) -> list[tuple[int, int]]:
    """(low, high) of the holes, ascending, those that overlap as one."""
    spans: list[tuple[int, int]] = []
    for _, low, high in sorted(holes, key=attrgetter("low")):
        if spans and low <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], high)
        else:
            spans.append((low, high))
    return spans


def _last_of(hole: _Hole, head: int) -> int:
    """The last main revision that a hole may have taken something of."""
    if hole.high >= _END:
        return head
    main, sub, _ = unpack(hole.high)
    return main if sub else main - 1


def _newest(found: dict[int, bytes], *, deleted: bool = False) -> dict[bytes, int]:
    """The newest revision of each key, packed; of deleted ones only when they are asked for."""
    newest = {records.key_of(record): packed for packed, record in found.items()}
    return {key: packed for key, packed in newest.items() if deleted or not packed & TOMBSTONE}


def _is_lease(body: bytes) -> bool:
    try:
        (ttl_s,) = msgpack.unpackb(body)
    except UNREADABLE:
        return False
    return isinstance(ttl_s, int) and ttl_s > 0


def _commits(first: int, last: int) -> str:
    return f"commit {first} of the journal" if first == last else f"commits {first} to {last}"


def _text(packed: int) -> str:
    main, sub, _ = unpack(packed)
    return f"{main}.{sub}" if sub < 1 << 30 else str(main)


def _lost(hole: _Hole) -> str:
    if hole.high >= _END:
        where = f"from revision {_text(hole.low)} on"
    else:
        where = f"from revision {_text(hole.low)} to before {_text(hole.high)}"
    return f"{hole.what} ({where})"
