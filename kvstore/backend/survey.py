"""Is an LMDB file whole? Its trees followed page by page, each breach of their order a sentence.

`survey` looks at every row: O(rows), about half a microsecond each. `glance` is what an opening can
afford (a few per cent of it): the free pages, the branches, the head and the offsets of each leaf,
but not the rows in it. So it sees pages that are missing, zero, in the wrong place or not of this
file, and not a length in a row that was changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kvstore.backend.directory import StrPath
from kvstore.backend.interface import Row
from kvstore.backend.pages import (
    BIG,
    BRANCH,
    EMPTY,
    HEAD_BYTES,
    LEAF,
    NODE_BYTES,
    OVERFLOW,
    SUBTREE,
    Meta,
    PageDamage,
    PageFile,
    Tree,
    branch_nodes,
    node,
    offsets,
    page_head,
    tree_at,
)

__all__ = ["Damage", "Walk", "free_pages", "glance", "most_pages", "subtrees", "survey"]

_META_PAGES: Final = 2
_READ_BYTES: Final = 1 << 18
_UNWRITTEN_PAGES: Final = 1 << 24
_MOST_LEVELS: Final = 32
_MOST_TOLD: Final = 100
_SUBTREE_BYTES: Final = 48


class Damage:
    """Rows from key `low` on and below `high` (None: to the end) cannot be read."""

    __slots__ = ("high", "low", "what")

    def __init__(self, what: str, low: bytes, high: bytes | None) -> None:
        self.what, self.low, self.high = what, low, high


class _Place:
    """A page in a tree: how many levels from it to the leaves, and the keys that it may have."""

    __slots__ = ("high", "levels", "low", "number")

    def __init__(self, number: int, levels: int, low: bytes, high: bytes | None) -> None:
        self.number, self.levels, self.low, self.high = number, levels, low, high


class Walk:
    """One tree of a file, from its root; what is damaged is noted and passed over."""

    def __init__(self, file: PageFile, meta: Meta, name: str, tree: Tree, used: bytearray) -> None:
        """`used` has a byte for each page up to the last, set when a walk came to it."""
        self._file, self._meta, self.name, self.tree, self._used = file, meta, name, tree, used
        self._is_free = name == "free pages"
        self.damage: list[Damage] = []
        self._counts = {BRANCH: 0, LEAF: 0, OVERFLOW: 0}
        self._rows = 0

    def rows(self) -> Iterator[Row]:
        """Of all leaves that are whole, in the order of keys."""
        for place in self.leaves():
            try:
                found = self._leaf(place)
            except PageDamage as error:
                self._used[place.number] = 0
                self._note(error, place)
                continue
            self._rows += len(found)
            for key, flags, value, size in found:
                if not flags & BIG:
                    yield key, value
                    continue
                try:
                    yield key, self._big(value, size)
                except PageDamage as error:
                    self._note(error, _Place(0, 0, key, key + b"\0"))
        self._check_counts()

    def leaves(self) -> Iterator[_Place]:
        """All leaves in the order of keys; they were not looked at."""
        tree = self.tree
        if tree.root == EMPTY:
            return
        stack = [_Place(tree.root, tree.depth, b"", None)]
        while stack:
            place = stack.pop()
            try:
                self._use(place.number, 1)
                if not 1 <= place.levels <= _MOST_LEVELS:
                    raise PageDamage(f"a tree cannot have {place.levels} levels")
                if place.levels == 1:
                    self._counts[LEAF] += 1
                    yield place
                else:
                    stack += reversed(self._places(place, *self._children(place)))
            except PageDamage as error:
                self._note(error, place)

    def leaf_numbers(self) -> list[int]:
        """As `leaves`, their pages alone and in a fraction of the time. Raises PageDamage."""
        tree = self.tree
        numbers = [tree.root] if tree.depth == 1 else []
        places = [_Place(tree.root, tree.depth, b"", None)] if tree.depth > 1 else []
        while places:
            place = places.pop()
            self._use(place.number, 1)
            nodes, lows = self._children(place)
            if place.levels > 2:
                places += self._places(place, nodes, lows)
            else:
                numbers += [child for child, _ in nodes]
        if numbers:
            self._check_exists(min(numbers), 1)
            self._check_exists(max(numbers), 1)
        return numbers

    def _children(self, place: _Place) -> tuple[list[tuple[int, bytes]], list[bytes]]:
        """(nodes, the first keys of their pages) of a branch."""
        number = place.number
        nodes = branch_nodes(self._page(number), number)
        lows = [place.low, *[key for _, key in nodes[1:]]]
        self._check_order(number, lows, place.high)
        if len(nodes) < 2 and not self._is_free:
            raise PageDamage(f"page {number} has only one child")
        self._counts[BRANCH] += 1
        return nodes, lows

    @staticmethod
    def _places(place: _Place, nodes: list[tuple[int, bytes]], lows: list[bytes]) -> list[_Place]:
        return [
            _Place(child, place.levels - 1, low, high)
            for (child, _), low, high in zip(nodes, lows, [*lows[1:], place.high], strict=True)
        ]

    def _leaf(self, place: _Place) -> list[tuple[bytes, int, bytes, int]]:
        """(key, flags, value or place of it, size of the value) of each row."""
        number, page = place.number, self._page(place.number)
        found = []
        for at in offsets(page, number, LEAF):
            size, flags, key_bytes = node(page, at)
            begin = at + NODE_BYTES
            middle = begin + key_bytes
            end = middle + (8 if flags & BIG else size)
            if end > len(page) or flags & ~(BIG | SUBTREE):
                raise PageDamage(f"page {number} has a row that does not end in it")
            found.append((page[begin:middle], flags, page[middle:end], size))
        keys = [row[0] for row in found]
        if keys and keys[0] < place.low and not self._is_free:
            raise PageDamage(f"page {number} is not where its rows belong")
        self._check_order(number, keys, place.high)
        return found

    def _big(self, value: bytes, size: int) -> bytes:
        """A value that has pages of its own."""
        number, page_bytes = int.from_bytes(value, "little"), self._meta.page_bytes
        count = (HEAD_BYTES + size - 1) // page_bytes + 1
        self._use(number, count)
        at = number * page_bytes
        found, _, flags, low, high = page_head(self._file.read(at, HEAD_BYTES))
        if found != number or flags != OVERFLOW or low | high << 16 != count:
            self._used[number : number + count] = bytes(count)
            raise PageDamage(f"page {number} is not the beginning of a value of {size} bytes")
        self._counts[OVERFLOW] += count
        return self._file.read(at + HEAD_BYTES, size)

    def _page(self, number: int) -> bytes:
        size = self._meta.page_bytes
        return self._file.read(number * size, size)

    def _use(self, number: int, count: int) -> None:
        self._check_exists(number, count)
        if any(self._used[number : number + count]):
            raise PageDamage(f"page {number} is in use twice")
        self._used[number : number + count] = b"\1" * count

    def _check_exists(self, number: int, count: int) -> None:
        end = number + count
        if not _META_PAGES <= number < end <= self._meta.last_page + 1:
            raise PageDamage(f"page {number} does not exist")
        if end * self._meta.page_bytes > self._file.size_bytes:
            raise PageDamage(
                f"page {end - 1} is in use and the file ends before it, "
                f"after {self._file.size_bytes} bytes"
            )

    def _check_order(self, number: int, keys: list[bytes], high: bytes | None) -> None:
        if self._is_free:
            ranks = [int.from_bytes(key, "little") for key in keys]
            is_ordered = ranks == sorted(set(ranks))
        else:
            is_ordered = keys == sorted(set(keys)) and not (keys and high and keys[-1] >= high)
        if not is_ordered:
            raise PageDamage(f"the keys of page {number} are not in order")

    def _note(self, error: PageDamage, place: _Place) -> None:
        self.damage.append(Damage(f"{self.name}: {error}", place.low, place.high))

    def _check_counts(self) -> None:
        tree = self.tree
        found = (self._rows, *self._counts.values())
        said = (tree.rows, tree.branch_pages, tree.leaf_pages, tree.overflow_pages)
        if not self.damage and found != said:
            self.damage.append(
                Damage(
                    f"{self.name}: there are {found[0]} rows in {sum(found[1:])} pages, "
                    f"not {said[0]} in {sum(said[1:])}",
                    b"",
                    None,
                )
            )


def subtrees(rows: list[Row]) -> dict[bytes, Tree]:
    """The named trees: rows of the main tree that are heads of trees."""
    return {key: tree_at(value, 0) for key, value in rows if len(value) == _SUBTREE_BYTES}


def survey(path: StrPath) -> list[str]:
    """What is wrong in a file; [] when all of its pages are sound. Raises OSError."""
    try:
        with PageFile(path) as file:
            meta = file.newest()
            used = bytearray(most_pages(file, meta))
            main = Walk(file, meta, "main table", meta.main, used)
            trees = subtrees(list(main.rows()))
            walks = [main, Walk(file, meta, "free pages", meta.free, used)]
            walks += [Walk(file, meta, name.decode(), tree, used) for name, tree in trees.items()]
            free = free_pages(walks[1])
            for walk in walks[2:]:
                for _ in walk.rows():
                    pass
            wrong = [each.what for walk in walks for each in walk.damage]
            wrong += _free_and_used(free, used, meta)
            return wrong[:_MOST_TOLD]
    except PageDamage as error:
        return [str(error)]


def glance(path: StrPath) -> None:
    """Raises PageDamage for what an opening can see, and OSError."""
    with PageFile(path) as file:
        meta = file.newest()
        used = bytearray(most_pages(file, meta))
        main = Walk(file, meta, "main table", meta.main, used)
        trees = subtrees(list(main.rows()))
        walk = Walk(file, meta, "free pages", meta.free, used)
        free = free_pages(walk)
        _raise_first([main, walk], [])
        walks = [Walk(file, meta, name.decode(), tree, used) for name, tree in trees.items()]
        leaves = [number for each in walks for number in each.leaf_numbers()]
        _raise_first(walks, _free_and_used(free, used, meta))
        for number in free.intersection(leaves):
            raise PageDamage(f"page {number} is in use and counted as free")
        if len(set(leaves)) != len(leaves):
            raise PageDamage("a page is in use twice")
        _check_end(file, meta, free)
        _check_heads(file, meta, sorted(leaves))


def _raise_first(walks: list[Walk], others: list[str]) -> None:
    for what in [each.what for walk in walks for each in walk.damage] + others:
        raise PageDamage(what)


def most_pages(file: PageFile, meta: Meta) -> int:
    """How many pages there may be; a last page far behind the end of the file is not believed.

    Pages that were used and freed in one transaction are never written, so it may be behind it.
    """
    most = meta.last_page + 1
    if most > _UNWRITTEN_PAGES + 16 * (file.size_bytes // meta.page_bytes):
        raise PageDamage(
            f"the file is cut short: it has {file.size_bytes} bytes for {most} pages "
            f"of {meta.page_bytes}"
        )
    return most


def free_pages(walk: Walk) -> set[int]:
    free: set[int] = set()
    for _, value in walk.rows():
        numbers = memoryview(value).cast("Q") if len(value) % 8 == 0 else memoryview(b"")
        if not numbers or numbers[0] != len(numbers) - 1:
            walk.damage.append(Damage("free pages: a row of them cannot be read", b"", None))
            continue
        free.update(numbers[1:])
    return free


def _free_and_used(free: set[int], used: bytearray, meta: Meta) -> list[str]:
    last = meta.last_page
    wrong = [number for number in free if not _META_PAGES <= number <= last or used[number]]
    return [f"page {number} is in use and counted as free" for number in sorted(wrong)[:10]]


def _check_end(file: PageFile, meta: Meta, free: set[int]) -> None:
    """The last page that is not free must be there; what is behind it was never written."""
    last = meta.last_page
    while last in free:
        last -= 1
    if (last + 1) * meta.page_bytes > file.size_bytes:
        raise PageDamage(
            f"the file is cut short: it has {file.size_bytes} bytes, and its page {last} "
            f"ends at {(last + 1) * meta.page_bytes}"
        )


def _check_heads(file: PageFile, meta: Meta, leaves: list[int]) -> None:
    """Of all leaves, read in long runs."""
    size, begin, end = meta.page_bytes, 0, 0
    run = bytearray(_READ_BYTES)
    for number in leaves:
        if not begin <= number * size < end:
            begin = number * size
            end = begin + file.read_into(run, begin) // size * size
        at = number * size - begin
        found, _, flags, lower, upper = page_head(run, at)
        if found != number or flags != LEAF or not HEAD_BYTES <= lower <= upper <= size:
            offsets(bytes(run[at : at + size]), number, LEAF)
