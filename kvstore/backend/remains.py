"""What can still be read of a damaged directory: rows of its trees, commits of its journal.

Nothing is mapped, written or believed: pages are read by kvstore.backend.pages, entries have a
checksum. What it returns was written by a store once; whether it is the newest of its kind is for
the reader to find out, from where the damage is (`Damage`, in the order of keys).
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kvstore.backend.directory import LOCK_FILE
from kvstore.backend.interface import Row, Table, WriteBatch
from kvstore.backend.journal.entry import ALIGNMENT, Entry, decode
from kvstore.backend.journal.legacy import FORMAT_2, OLD_MARK_KEY, unpack_old_mark
from kvstore.backend.journal.mark import MARK_KEY, Mark, unpack_mark
from kvstore.backend.journal.segment import CURRENT, FIRST_ENTRY, spare_number
from kvstore.backend.lmdb import DATA_FILE
from kvstore.backend.pages import (
    BIG,
    HEAD_BYTES,
    LEAF,
    NODE_BYTES,
    OVERFLOW,
    Meta,
    PageDamage,
    PageFile,
    Tree,
    node,
    offsets,
    page_head,
)
from kvstore.backend.survey import Damage, Walk, free_pages, most_pages, subtrees
from kvstore.errors import CorruptStore, DirectoryLocked

__all__ = ["Remains", "read_remains"]

_SALT_BYTES = 8
_PAGE_SIZES = (4096, 16384, 65536)
"""Of the systems there are, for a file that does not say it."""
_FIELDS_BYTES = {b"kvjourn1": 40, b"kvjourn3": 72}
"""By the magic of a segment: how much of its head the checksum behind that is of."""
_NOWHERE = Tree(0, 0, 0, 0, 0, 0, (1 << 64) - 1)


@dataclass(slots=True)
class TableRemains:
    rows: dict[bytes, bytes] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    expected: int | None = None
    """How many rows the table had; None: that is lost, too."""


@dataclass(slots=True)
class Remains:
    tables: dict[Table, TableRemains]
    """As of the newest commit of the data file that can be read."""
    others: list[Row]
    """Rows of any table that pages hold besides: older ones, and what lost its way to the root."""
    mark: Mark | None
    commits: dict[int, WriteBatch]
    """By their sequence, of all segments, also those that the data file has taken over."""
    newest: int
    """The sequence of a commit that was acknowledged; there may be later ones."""
    notes: list[str]
    doubt: str = ""
    """Why commits behind the last one of the journal may be lost; empty when nothing says so."""


def read_remains(directory: Path) -> Remains:
    """Everything in memory. Raises OSError, DirectoryLocked."""
    lock = _share(directory)
    try:
        tables = {table: TableRemains() for table in Table}
        found = Remains(tables, [], None, {}, 0, [])
        _read_data(directory / DATA_FILE, found)
        meta = tables[Table.META].rows
        try:
            found.mark = unpack_mark(meta.get(MARK_KEY)) or unpack_old_mark(meta.get(OLD_MARK_KEY))
        except CorruptStore as error:
            tables[Table.META].damage.append(Damage(str(error), MARK_KEY, None))
        found.newest = found.mark.sequence if found.mark is not None else 0
        _read_journal(directory, found)
        return found
    finally:
        if lock is not None:
            os.close(lock)


def _share(directory: Path) -> int | None:
    """See that no process has the store open, and keep it so, without writing."""
    try:
        file = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise DirectoryLocked(f"{directory} is in use: close the store first") from None
    return file


# -- the data file ---------------------------------------------------------------------------------


def _read_data(path: Path, found: Remains) -> None:
    try:
        with PageFile(path) as file:
            try:
                _read_trees(file, found)
                return
            except PageDamage as error:
                what = f"{path.name}: {error}"
            sizes = [meta.page_bytes for meta in file.metas if meta is not None]
            for size in sizes[:1] or _PAGE_SIZES:
                found.others += _strays(file, size, bytearray(), set())
    except PageDamage as error:
        what = f"{path.name}: {error}"
    except FileNotFoundError:
        what = f"{path.name} is missing"
    for table in found.tables.values():
        table.damage.append(Damage(what, b"", None))


def _read_trees(file: PageFile, found: Remains) -> None:
    metas = sorted(filter(None, file.metas), key=lambda meta: -meta.transaction)
    if not metas:
        raise PageDamage("neither of its meta pages can be read")
    base, used, trees = _choose(file, metas)
    if len(metas) < 2 or base is not metas[0]:
        found.notes.append("the newest meta page of data.lmdb cannot be read or leads nowhere")
    for walk in trees:
        table = found.tables[Table(walk.name.encode())]
        table.rows.update(walk.rows())
        table.damage += walk.damage
        table.expected = None if walk.tree is _NOWHERE else walk.tree.rows
    free_walk = Walk(file, base, "free pages", base.free, used)
    free = free_pages(free_walk)
    found.notes += [damage.what for damage in free_walk.damage]
    if len(metas) < 2 or base is not metas[0]:
        log = found.tables[Table.LOG]
        last = max(log.rows, default=b"")
        log.damage.append(Damage("a newer commit of data.lmdb may be lost", last + b"\0", None))
        free = set()
    for meta in metas:
        if meta is not base:
            found.others += _rows_of_log(file, meta)
    if found.tables[Table.LOG].damage:
        found.others += _strays(file, base.page_bytes, used, free)


def _choose(file: PageFile, metas: list[Meta]) -> tuple[Meta, bytearray, list[Walk]]:
    """The newest meta page with a main table: its walks over the tables."""
    error = PageDamage("no table can be found in it")
    for meta in metas:
        try:
            used = bytearray(most_pages(file, meta))
        except PageDamage as found:
            error = found
            continue
        main = Walk(file, meta, "main table", meta.main, used)
        rows = list(main.rows())
        trees = subtrees(rows)
        if main.damage and not trees:
            error = PageDamage(main.damage[0].what)
            continue
        walks = [
            Walk(file, meta, table.value.decode(), trees.get(table.value, _NOWHERE), used)
            for table in (Table.LOG, Table.LEASE)
        ]
        for walk in walks:
            if walk.tree is _NOWHERE:
                walk.damage.append(Damage(f"{walk.name}: the table is not found", b"", None))
        return meta, used, [_Given(Table.META.value.decode(), rows, main), *walks]
    raise error


class _Given(Walk):
    """A walk that was made: the main table, without the heads of the others."""

    def __init__(self, name: str, rows: list[Row], walk: Walk) -> None:
        self.name, self.tree, self.damage = name, walk.tree, walk.damage
        self._given = [row for row in rows if row[0] not in subtrees(rows)]

    def rows(self) -> Iterator[Row]:
        return iter(self._given)


def _rows_of_log(file: PageFile, meta: Meta) -> list[Row]:
    try:
        used = bytearray(most_pages(file, meta))
        main = Walk(file, meta, "main table", meta.main, used)
        tree = subtrees(list(main.rows())).get(Table.LOG.value, _NOWHERE)
        return list(Walk(file, meta, "log", tree, used).rows())
    except PageDamage:
        return []


def _strays(file: PageFile, size: int, used: bytearray, free: set[int]) -> Iterator[Row]:
    """Rows of leaves that no tree leads to; each node by itself."""
    for number in range(2, file.size_bytes // size):
        if number in free or (number < len(used) and used[number]):
            continue
        page = file.read(number * size, size)
        try:
            places = offsets(page, number, LEAF)
        except PageDamage:
            continue
        for at in places:
            value_bytes, flags, key_bytes = node(page, at)
            begin = at + NODE_BYTES + key_bytes
            key = page[at + NODE_BYTES : begin]
            if flags == 0 and begin + value_bytes <= size:
                yield key, page[begin : begin + value_bytes]
            elif flags == BIG:
                value = _stray_value(file, size, page[begin : begin + 8], value_bytes)
                if value is not None:
                    yield key, value


def _stray_value(file: PageFile, size: int, place: bytes, value_bytes: int) -> bytes | None:
    at = int.from_bytes(place, "little") * size
    if at + HEAD_BYTES + value_bytes > file.size_bytes:
        return None
    number, _, flags, _, _ = page_head(file.read(at, HEAD_BYTES))
    if number * size != at or flags != OVERFLOW:
        return None
    return file.read(at + HEAD_BYTES, value_bytes)


# -- the journal -----------------------------------------------------------------------------------


def _read_journal(directory: Path, found: Remains) -> None:
    names, live = os.listdir(directory), _Live(found.mark)
    for layout in (CURRENT, FORMAT_2):
        for number in layout.live_numbers(names):
            live.add(number, *_read_segment(directory, layout.live_name(number), found))
    found.doubt = live.doubt()
    for name in sorted(name for name in names if spare_number(name) is not None):
        _read_segment(directory, name, found)


def _read_segment(directory: Path, name: str, found: Remains) -> tuple[str, int]:
    """(what is wrong with the file or "", the sequence of its last commit or 0)."""
    try:
        head, raw, size = _read(directory / name)
    except (OSError, MemoryError) as error:
        reason = error.strerror if isinstance(error, OSError) else "there is not enough memory"
        found.notes.append(f"{name} cannot be read: {reason}")
        return f"{name} cannot be read", 0
    wrong, last = "", 0
    if head is None:
        wrong = f"the head of {name} is damaged"
        head = _Head(None, raw[FIRST_ENTRY : FIRST_ENTRY + _SALT_BYTES], size, 0)
    elif found.mark is not None and head.journal_id != found.mark.journal_id:
        found.notes.append(f"{name} belongs to another store and was left out")
        return f"{name} belongs to another store", 0
    elif head.size_bytes != size:
        wrong = f"{name} has {size} bytes, not {head.size_bytes}"
    found.newest = max(found.newest, head.after)
    if head.salt.strip(b"\0"):
        for entry in _entries(raw, head.salt):
            found.commits.setdefault(entry.sequence, entry.batch)
            last = max(last, entry.sequence)
    return wrong, last


class _Live:
    """The segments that an open mark needs: may there have been commits behind the last one?"""

    def __init__(self, mark: Mark | None) -> None:
        self._mark = mark
        self._wrong: dict[int, str] = {}
        self._last = (0, 0 if mark is None else mark.number)

    def add(self, number: int, wrong: str, sequence: int) -> None:
        self._wrong[number] = wrong
        if sequence:
            self._last = max(self._last, (sequence, number))

    def doubt(self) -> str:
        mark = self._mark
        if mark is not None and not mark.is_open and self._last[0] <= mark.sequence:
            return ""
        first = self._last[1] if mark is None else max(self._last[1], mark.number)
        for number in range(first, max([first, *self._wrong]) + 1):
            wrong = self._wrong.get(number, f"segment {number} is missing")
            if wrong and (mark is not None or number in self._wrong):
                return wrong
        return ""


class _Head(NamedTuple):
    journal_id: bytes | None
    salt: bytes
    size_bytes: int
    """Of the file."""
    after: int
    """The sequence of a commit that was durable when the head was written."""


def _head_of(raw: bytes, size_bytes: int) -> _Head | None:
    """From the beginning of a segment of any format; None when it is damaged."""
    fields = _FIELDS_BYTES.get(raw[:8], len(raw))
    if len(raw) < fields + 4 or zlib.crc32(raw[:fields]) != int.from_bytes(
        raw[fields : fields + 4], "little"
    ):
        return None
    if fields <= 40:  # format 2 says neither
        return _Head(raw[8:24], raw[32:40], size_bytes, 0)
    size, after = (int.from_bytes(raw[at : at + 8], "little") for at in (40, 48))
    return _Head(raw[8:24], raw[32:40], size, after)


def _read(path: Path) -> tuple[_Head | None, bytes, int]:
    """The head of a segment, the file as far as that says, and its size.

    Raises OSError; MemoryError when it has no head that says how long it was.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(file, "rb") as opened:
        size = os.fstat(file).st_size
        start = opened.read(FIRST_ENTRY)
        head = _head_of(start, size)
        most = size if head is None else min(head.size_bytes, size)
        return head, start + opened.read(max(most - len(start), 0)), size


def _entries(raw: bytes, salt: bytes) -> Iterator[Entry]:
    """All that are whole, also behind one that is not."""
    data, at = memoryview(raw), FIRST_ENTRY
    while at >= 0:
        try:
            entry = decode(data, at, salt) if at % ALIGNMENT == 0 else None
        except CorruptStore:
            entry = None
        if entry is not None:
            yield entry
            if raw.startswith(salt, entry.end):
                at = entry.end
                continue
        at = raw.find(salt, entry.end if entry is not None else at + 1)
