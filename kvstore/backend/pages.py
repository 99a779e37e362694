"""The pages of an LMDB file, read without LMDB: it maps the file, trusts every byte of it and ends
the process with a signal when one of them is wrong.

    page 0, 1   meta pages, written by turns; the one with the larger transaction counts

    offset  bytes   meta page, behind the head of a page
    16      4       magic 0xBEEFC0DE
    20      4       version, 1
    24      16      address and size of the map
    40      48      the tree of free pages; its first four bytes are the size of a page
    88      48      the main tree, in whose rows the heads of the named trees are
    136     8       the last page that was ever used
    144     8       transaction

    offset  bytes   head of a page               offset  bytes   head of a tree
    0       8       number of the page           0       4       padding
    8       2       padding                      4       2       flags
    10      2       flags                        6       2       depth
    12      2       end of the offsets of nodes  8       8 x 3   branch, leaf and overflow pages
    14      2       begin of the nodes           32      8       rows
    16              offsets, 2 bytes each        40      8       root page, all ones when empty

    offset  bytes   node in a leaf               offset  bytes   node in a branch
    0       4       bytes of the value           0       6       page number, three 16-bit parts
    4       2       flags                                        (low, middle, high)
    6       2       bytes of the key             6       2       bytes of the key
    8               key, value                   8               key

A value that does not fit has its page number in the node, and pages of its own: a head with their
count at 12, then the bytes. Everything is little-endian. Source: LMDB 0.9, mdb.c.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from types import TracebackType

from kvstore.backend.directory import StrPath

__all__ = [
    "BIG",
    "BRANCH",
    "EMPTY",
    "HEAD_BYTES",
    "LEAF",
    "NODE_BYTES",
    "OVERFLOW",
    "SUBTREE",
    "Meta",
    "PageDamage",
    "PageFile",
    "Tree",
    "branch_nodes",
    "node",
    "offsets",
    "page_head",
    "tree_at",
]

BRANCH, LEAF, OVERFLOW, META = 1, 2, 4, 8
BIG, SUBTREE = 1, 2
EMPTY = (1 << 64) - 1
HEAD_BYTES, NODE_BYTES = 16, 8
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_PAGE_SIZES = frozenset(1 << bits for bits in range(9, 17))
page_head = Struct("<QHHHH").unpack_from
node = Struct("<IHH").unpack_from
_branch_node = Struct("<HHHH").unpack_from
_meta_head = Struct("<II").unpack_from
_tree = Struct("<4xHHQQQQQ")
_page_bytes = Struct("<I").unpack_from
_meta_tail = Struct("<QQ").unpack_from
TREE_BYTES = _tree.size
_TABLED_ROWS = 2048


class PageDamage(Exception):
    """A page is not what it should be; the text says which and why."""


class Tree:
    __slots__ = ("branch_pages", "depth", "flags", "leaf_pages", "overflow_pages", "root", "rows")

    def __init__(
        self,
        flags: int,
        depth: int,
        branch_pages: int,
        leaf_pages: int,
        overflow_pages: int,
        rows: int,
        root: int,
    ) -> None:
        self.flags, self.depth, self.rows, self.root = flags, depth, rows, root
        self.branch_pages, self.leaf_pages = branch_pages, leaf_pages
        self.overflow_pages = overflow_pages


class Meta:
    __slots__ = ("free", "last_page", "main", "page_bytes", "transaction")

    def __init__(
        self, page_bytes: int, free: Tree, main: Tree, last_page: int, transaction: int
    ) -> None:
        self.page_bytes, self.free, self.main = page_bytes, free, main
        self.last_page, self.transaction = last_page, transaction


class PageFile:
    """Reads only; nothing is mapped. Everything raises OSError and PageDamage."""

    def __init__(self, path: StrPath) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(self._file)
            if not stat.S_ISREG(found.st_mode):
                raise PageDamage("it is not a regular file")
            self.size_bytes = found.st_size
            self.metas = self._read_metas()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> PageFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def read(self, at: int, size_bytes: int) -> bytes:
        """Exactly so many bytes."""
        parts = []
        while size_bytes:
            part = os.pread(self._file, size_bytes, at)
            if not part:
                raise PageDamage(f"the file ends at {self.size_bytes}, before offset {at}")
            parts.append(part)
            at, size_bytes = at + len(part), size_bytes - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_into(self, buffer: bytearray, at: int) -> int:
        """As many bytes as there are room and file; returns how many."""
        found = os.preadv(self._file, [buffer], at)
        if found < min(len(buffer), self.size_bytes - at):
            found = len(part := self.read(at, min(len(buffer), self.size_bytes - at)))
            buffer[:found] = part
        return found

    def is_blank(self) -> bool:
        """Has it not one byte that is not zero?"""
        for at in range(0, self.size_bytes, 1 << 20):
            if self.read(at, min(1 << 20, self.size_bytes - at)).strip(b"\0"):
                return False
        return True

    def newest(self) -> Meta:
        """The meta page that LMDB takes; it wants both to be readable."""
        first, second = self.metas
        for number, meta in enumerate(self.metas):
            if meta is None:
                raise PageDamage(f"meta page {number} cannot be read")
        assert first is not None
        assert second is not None
        return second if second.transaction > first.transaction else first

    def _read_metas(self) -> tuple[Meta | None, Meta | None]:
        first = self._read_meta(0)
        sizes = [first.page_bytes] if first is not None else sorted(_PAGE_SIZES)
        for size in sizes:
            second = self._read_meta(size)
            if second is not None and second.page_bytes == size:
                return first, second
        return first, None

    def _read_meta(self, at: int) -> Meta | None:
        """None when there is no meta page at that offset."""
        if self.size_bytes < at + _PAGE_LEAST:
            return None
        page = self.read(at, _PAGE_LEAST)
        flags = page_head(page)[2]
        (size,) = _page_bytes(page, 40)
        if (
            not flags & META
            or _meta_head(page, HEAD_BYTES) != (_MAGIC, _VERSION)
            or size not in _PAGE_SIZES
        ):
            return None
        return Meta(size, tree_at(page, 40), tree_at(page, 88), *_meta_tail(page, 136))


_PAGE_LEAST = min(_PAGE_SIZES)


def tree_at(data: bytes, at: int) -> Tree:
    return Tree(*_tree.unpack_from(data, at))


@lru_cache(_TABLED_ROWS)
def _offsets_of(count: int) -> Callable[[bytes, int], tuple[int, ...]]:
    return Struct(f"<{count}H").unpack_from


def offsets(page: bytes, number: int, kind: int) -> tuple[int, ...]:
    """Where the nodes of a leaf or branch page are, in the order of their keys.

    Each lies with its head in the page. Raises PageDamage.
    """
    found, _, flags, lower, upper = page_head(page)
    if found != number or flags != kind or not HEAD_BYTES <= lower <= upper <= len(page):
        raise PageDamage(f"page {number} {_describe(page, number, kind)}")
    count = (lower - HEAD_BYTES) >> 1
    if count < _TABLED_ROWS:
        places = _offsets_of(count)(page, HEAD_BYTES)
    else:
        places = _many(page, count)
    if places and (min(places) < upper or max(places) > len(page) - NODE_BYTES):
        raise PageDamage(f"page {number} has rows outside of itself")
    return places


def branch_nodes(page: bytes, number: int) -> list[tuple[int, bytes]]:
    """(child page, its first key) of each; the first key is not said and b"". Raises PageDamage."""
    children: list[tuple[int, bytes]] = []
    for at in offsets(page, number, BRANCH):
        low, middle, high, size = _branch_node(page, at)
        begin = at + NODE_BYTES
        if begin + size > len(page):
            raise PageDamage(f"page {number} has a key outside of itself")
        children.append((low | middle << 16 | high << 32, page[begin : begin + size]))
    if not children:
        raise PageDamage(f"page {number} has no rows")
    children[0] = children[0][0], b""
    return children


def _many(page: bytes, count: int) -> tuple[int, ...]:
    found: tuple[int, ...] = Struct(f"<{count}H").unpack_from(page, HEAD_BYTES)
    return found


def _describe(page: bytes, number: int, kind: int) -> str:
    if not page.strip(b"\0"):
        return "holds nothing but zeros"
    found, _, flags, _, _ = page_head(page)
    if found != number:
        return f"says that it is page {found}"
    if flags != kind:
        return f"is of kind {flags}, not {kind}"
    return "has a damaged head"
