"""Which intervals hold a key: stab keys into a set of ranges.

An AVL tree (Adelson-Velsky and Landis) of ranges ordered by their first key, then by their end,
each node augmented with the greatest end below it, which is the interval tree of Cormen, Leiserson,
Rivest and Stein (Introduction to Algorithms, "Interval trees"):

                c─────f  max: open                 a subtree whose greatest end is not above
               /       \\                          a key holds nothing of it, and neither does
        a──b  max: e    d──open  max: open         what begins behind it
           \\
            b───e  max: e

Adding and removing cost O(log n) whatever the ranges are: equal ends, nested, all of them open. A
stab that finds k costs O(log n + k log(n / k)) at most, and O(n) for all. Exact keys are not ranges
here: a dict finds those.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Generic, TypeVar

from kvstore.keys import FROM_KEY, KeyRange

__all__ = ["IntervalTree"]

T = TypeVar("T")


class IntervalTree(Generic[T]):
    """Different ranges, each with one item: half-open or open-ended, not empty, not single keys."""

    __slots__ = ("_root", "_size")

    def __init__(self) -> None:
        self._root: _Node[T] | None = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def items(self) -> list[tuple[KeyRange, T]]:
        """In the order of the tree. O(n)."""
        order: list[_Node[T]] = []
        _walk(self._root, order, [])
        return [(node.range, node.item) for node in order]

    def get_or_add(self, key_range: KeyRange, make: Callable[[KeyRange], T]) -> T:
        """The item of `key_range`; when there is none yet, what `make` makes is."""
        path, node = self._find(key_range)
        if node is not None:
            return node.item
        new = _Node(key_range.key, key_range.upper, make(key_range))
        if not path:
            self._root = new
        elif path[-1].is_above(new.key, new.end):
            path[-1].left = new
        else:
            path[-1].right = new
        self._size += 1
        self._mend(path)
        return new.item

    def remove(self, key_range: KeyRange) -> None:
        """`key_range` must be there."""
        path, node = self._find(key_range)
        assert node is not None, f"{key_range} is not in the tree"
        changed = len(path)
        if node.left is not None and node.right is not None:  # the next one takes its place
            path.append(node)
            successor = node.right
            while successor.left is not None:
                path.append(successor)
                successor = successor.left
            node.key, node.end, node.item = successor.key, successor.end, successor.item
            node = successor
        self._replace(path, node, node.left if node.right is None else node.right)
        self._size -= 1
        self._mend(path, changed)

    def stab(self, key: bytes, most: int) -> list[T]:
        """The items of ranges that hold `key`, in any order: all, or `most` of them and one."""
        found: list[T] = []
        node = self._root
        if node is None or not (node.most is None or node.most > key):
            return found
        stack = [node]
        while stack:
            node = stack.pop()
            below = node.left
            if below is not None and (below.most is None or below.most > key):
                stack.append(below)
            if node.key <= key:
                if node.end is None or node.end > key:
                    found.append(node.item)
                    if len(found) > most:
                        break
                below = node.right
                if below is not None and (below.most is None or below.most > key):
                    stack.append(below)
        return found

    def stab_all(
        self, keys: Sequence[bytes], after: KeyRange | None, most: int
    ) -> list[tuple[T, int, int]]:
        """The ranges that hold any of the ascending `keys`, each once, in the order of the tree.

        (a range's item, low, high): it holds `keys[low:high]`, at least one.
        At most `most` of those behind `after`, so that a long answer can be had in pieces; the tree
        may change between them.
        """
        found: list[tuple[T, int, int]] = []
        stack: list[tuple[_Node[T], int, int]] = []
        node, low, high = self._root, 0, len(keys)
        begin = None if after is None else (after.key, after.upper)
        while True:
            while node is not None:
                if node.most is not None:
                    high = bisect_left(keys, node.most, low, high)
                if low >= high:
                    break
                if begin is not None and not node.is_above(*begin):
                    low = bisect_left(keys, node.key, low, high)
                    node = node.right
                else:
                    stack.append((node, low, high))
                    node = node.left
            if not stack:
                return found
            node, low, high = stack.pop()
            low = bisect_left(keys, node.key, low, high)
            above = high if node.end is None else bisect_left(keys, node.end, low, high)
            if low < above:
                found.append((node.item, low, above))
                if len(found) == most:
                    return found
            node = node.right

    def check(self) -> list[str]:
        """Everything that is wrong, as sentences; [] when sound. O(n)."""
        wrong: list[str] = []
        order: list[_Node[T]] = []
        _walk(self._root, order, wrong)
        if len(order) != self._size:
            wrong.append(f"the tree of intervals has {len(order)} nodes and counts {self._size}")
        for node, following in pairwise(order):
            if not following.is_above(node.key, node.end):
                wrong.append(f"{following} follows {node} in the tree of intervals")
        return wrong

    def _find(self, key_range: KeyRange) -> tuple[list[_Node[T]], _Node[T] | None]:
        """The node of a range, and those above it; or those above where it would be."""
        key, end = key_range.key, key_range.upper
        path: list[_Node[T]] = []
        node = self._root
        while node is not None:
            its_key = node.key
            if its_key == key:
                if node.end == end:
                    break
                is_above = node.is_above(key, end)
            else:
                is_above = its_key > key
            path.append(node)
            node = node.left if is_above else node.right
        return path, node

    def _replace(self, path: list[_Node[T]], node: _Node[T], by: _Node[T] | None) -> None:
        """Put `by` where `node` is, the child of the last of `path`."""
        if not path:
            self._root = by
        elif path[-1].left is node:
            path[-1].left = by
        else:
            path[-1].right = by

    def _mend(self, path: list[_Node[T]], changed: int | None = None) -> None:
        """Bring heights, greatest ends and the balance up to date from the last of `path` up.

        It ends where nothing is new, but not below the node at `changed` in `path`, whose own end
        is.
        """
        changed = len(path) if changed is None else changed
        while path:
            node = path.pop()
            height, most = node.height, node.most
            top = _balanced(node)
            if top is not node:
                self._replace(path, node, top)
            elif node.height == height and node.most == most and len(path) <= changed:
                return


class _Node(Generic[T]):
    """`end` and `most`, the greatest end of the subtree, are None when open."""

    __slots__ = ("end", "height", "item", "key", "left", "most", "right")

    def __init__(self, key: bytes, end: bytes | None, item: T) -> None:
        self.key, self.end, self.item = key, end, item
        self.left: _Node[T] | None = None
        self.right: _Node[T] | None = None
        self.height = 1
        self.most = end

    def __repr__(self) -> str:
        return f"[{self.key!r}, {self.end!r})"

    @property
    def range(self) -> KeyRange:
        return KeyRange(self.key, FROM_KEY if self.end is None else self.end)

    def is_above(self, key: bytes, end: bytes | None) -> bool:
        """Does it stand behind the range of `key` and `end`?"""
        if self.key != key:
            return self.key > key
        return end is not None and (self.end is None or self.end > end)

    def update(self) -> None:
        """From its children."""
        left, right, most = self.left, self.right, self.end
        height = 0
        if left is not None:
            height = left.height
            if most is not None and (left.most is None or left.most > most):
                most = left.most
        if right is not None:
            if right.height > height:
                height = right.height
            if most is not None and (right.most is None or right.most > most):
                most = right.most
        self.height, self.most = height + 1, most

    @property
    def lean(self) -> int:
        """By how much the left side is higher."""
        left, right = self.left, self.right
        return (0 if left is None else left.height) - (0 if right is None else right.height)


def _balanced(node: _Node[T]) -> _Node[T]:
    """The top of the subtree of `node` when its sides differ by one at most."""
    lean = node.lean
    if lean > 1:
        assert node.left is not None
        if node.left.lean < 0:
            node.left = _rotated_left(node.left)
        return _rotated_right(node)
    if lean < -1:
        assert node.right is not None
        if node.right.lean > 0:
            node.right = _rotated_right(node.right)
        return _rotated_left(node)
    node.update()
    return node


def _rotated_left(node: _Node[T]) -> _Node[T]:
    top = node.right
    assert top is not None
    node.right, top.left = top.left, node
    node.update()
    top.update()
    return top


def _rotated_right(node: _Node[T]) -> _Node[T]:
    top = node.left
    assert top is not None
    node.left, top.right = top.right, node
    node.update()
    top.update()
    return top


def _walk(node: _Node[T] | None, order: list[_Node[T]], wrong: list[str]) -> None:
    if node is None:
        return
    _walk(node.left, order, wrong)
    order.append(node)
    _walk(node.right, order, wrong)
    height, most, lean = node.height, node.most, node.lean
    node.update()
    if (node.height, node.most) != (height, most):
        wrong.append(f"{node} says height {height}, greatest end {most!r}: it is another")
    if abs(lean) > 1:
        wrong.append(f"{node} leans by {lean}")
