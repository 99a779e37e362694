"""The interval tree beside a plain list, and the nodes it touches, counted."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from types import CodeType
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.core.watch import interval
from kvstore.core.watch.interval import IntervalTree
from kvstore.keys import FROM_KEY, KeyRange

KEYS = st.binary(max_size=2).map(lambda key: bytes(byte & 3 for byte in key)).filter(bool)
RANGES = st.tuples(KEYS, KEYS | st.just(FROM_KEY)).map(lambda ends: KeyRange(*ends))


def is_range(key_range: KeyRange) -> bool:
    return key_range.upper is None or key_range.upper > key_range.key


def order(key_range: KeyRange) -> tuple[bytes, bool, bytes]:
    return key_range.key, key_range.upper is None, key_range.upper or b""


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[bool, KeyRange]]:
    """Adds and removes, each of them possible when it is made."""
    there: list[KeyRange] = []
    made: list[tuple[bool, KeyRange]] = []
    for key_range in draw(st.lists(RANGES.filter(is_range), max_size=40)):
        if key_range in there:
            there.remove(key_range)
            made.append((False, key_range))
        else:
            there.append(key_range)
            made.append((True, key_range))
    return made


def tree_of(made: list[tuple[bool, KeyRange]]) -> tuple[IntervalTree[KeyRange], list[KeyRange]]:
    tree: IntervalTree[KeyRange] = IntervalTree()
    there: list[KeyRange] = []
    for is_add, key_range in made:
        if is_add:
            assert tree.get_or_add(key_range, lambda made: made) is key_range
            there.append(key_range)
        else:
            tree.remove(key_range)
            there.remove(key_range)
        assert tree.check() == []
    return tree, sorted(there, key=order)


class TestBesideAList:
    @given(made=changes(), key=KEYS)
    def test_a_stab_finds_the_ranges_that_hold_the_key(
        self, made: list[tuple[bool, KeyRange]], key: bytes
    ) -> None:
        tree, there = tree_of(made)
        found = tree.stab(key, most=1000)
        assert sorted(found, key=order) == [each for each in there if key in each]
        assert len(tree) == len(there)

    @given(made=changes())
    def test_one_that_is_there_is_not_added_again(self, made: list[tuple[bool, KeyRange]]) -> None:
        tree, there = tree_of(made)
        for each in there:
            assert tree.get_or_add(KeyRange(*each), lambda _: KeyRange(b"new")) is each
        assert tree.items() == [(each, each) for each in there]

    @given(made=changes(), key=KEYS, most=st.integers(0, 3))
    def test_a_bounded_stab_ends_one_above_its_bound(
        self, made: list[tuple[bool, KeyRange]], key: bytes, most: int
    ) -> None:
        tree, there = tree_of(made)
        found = tree.stab(key, most)
        assert len(found) == min(most + 1, sum(key in each for each in there))
        assert all(key in each for each in found)

    @given(made=changes(), keys=st.sets(KEYS, max_size=6), most=st.integers(1, 4))
    def test_many_keys_are_stabbed_at_once_and_in_pieces(
        self, made: list[tuple[bool, KeyRange]], keys: set[bytes], most: int
    ) -> None:
        tree, there = tree_of(made)
        ascending = sorted(keys)
        expected = [
            (each, [key for key in ascending if key in each])
            for each in there
            if any(key in each for key in ascending)
        ]
        found = []
        after: KeyRange | None = None
        while piece := tree.stab_all(ascending, after, most):
            assert len(piece) <= most
            found += [(item, ascending[low:high]) for item, low, high in piece]
            after = piece[-1][0]
        assert found == expected

    @settings(max_examples=50)
    @given(made=changes(), other=changes(), key=KEYS)
    def test_pieces_go_on_while_the_tree_changes(
        self, made: list[tuple[bool, KeyRange]], other: list[tuple[bool, KeyRange]], key: bytes
    ) -> None:
        """What was there all the time is found once; what came or went meanwhile at most once."""
        tree, before = tree_of(made)
        now, rest = set(before), list(other)
        always = set(before)
        found: list[KeyRange] = []
        after: KeyRange | None = None
        while piece := tree.stab_all([key], after, 1):
            found.append(piece[0][0])
            after = piece[0][0]
            if rest:
                _, key_range = rest.pop()
                if key_range in now:
                    tree.remove(key_range)
                    now.discard(key_range)
                    always.discard(key_range)
                else:
                    tree.get_or_add(key_range, lambda made: made)
                    now.add(key_range)
        assert len(set(found)) == len(found)
        assert {each for each in always if key in each} <= set(found)


class Shape(NamedTuple):
    """Ranges that would be dear to something else: the one at a place of so many."""

    name: str
    make: Callable[[int, int], KeyRange]


def number(at: int) -> bytes:
    return b"%08d" % at


SHAPES = [
    Shape("all-open", lambda at, size: KeyRange(number(at), FROM_KEY)),
    Shape("one-begin", lambda at, size: KeyRange(number(0), number(at + 1))),
    Shape("one-end", lambda at, size: KeyRange(number(at), number(size))),
    Shape("nested", lambda at, size: KeyRange(number(at), number(2 * size - at))),
    Shape("staircase", lambda at, size: KeyRange(number(at), number(at + 100))),
    Shape("disjoint", lambda at, size: KeyRange(number(at), number(at + 1))),
    Shape(
        "one-wide", lambda at, size: KeyRange(number(at), FROM_KEY if not at else number(at + 1))
    ),
]


class Steps:
    """Lines that the tree's code runs: its work, whatever the machine does meanwhile."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, work: Callable[[], object]) -> int:
        self.count = 0
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            work()
        finally:
            sys.settrace(before)
        return self.count

    def _called(self, frame: object, event: str, arg: object) -> object:
        code: CodeType = frame.f_code  # type: ignore[attr-defined]  # typeshed's frame is private
        return self._line if code.co_filename == interval.__file__ else None

    def _line(self, frame: object, event: str, arg: object) -> object:
        self.count += event == "line"
        return self._line


def in_an_order(how: str, size: int) -> Iterator[int]:
    numbers = list(range(size))
    if how == "descending":
        numbers.reverse()
    elif how == "shuffled":
        Random(7).shuffle(numbers)
    yield from numbers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "size"), [("ascending", 100_000), ("descending", 5_000), ("shuffled", 5_000)]
)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_work_is_logarithmic_whatever_the_shape(shape: Shape, how: str, size: int) -> None:
    tree: IntervalTree[int] = IntervalTree()
    steps = Steps()
    levels = math.ceil(math.log2(size))
    bound = 120 * levels  # lines: some dozens for each level of the tree
    sample = set(Random(1).sample(range(size), 50))
    for at in in_an_order(how, size):
        add = partial(tree.get_or_add, shape.make(at, size), lambda _, at=at: at)
        if at in sample:
            assert steps.of(add) < bound
        else:
            add()
    assert tree.check() == []
    assert tree._root is not None
    assert tree._root.height <= 1.45 * math.log2(size + 2)

    key = number(size // 2)
    expected = sum(key in shape.make(at, size) for at in range(size))
    found: list[int] = []
    took = steps.of(lambda: found.extend(tree.stab(key, size)))
    assert len(found) == len(set(found)) == expected
    assert took < bound + 15 * expected * (1 + math.log2(size / expected))
    assert steps.of(lambda: tree.stab_all([key], None, 10)) < 10 * bound
    assert steps.of(lambda: tree.stab(b"", size)) < bound

    for at in in_an_order(how, size):
        remove = partial(tree.remove, shape.make(at, size))
        if at in sample:
            assert steps.of(remove) < bound
        else:
            remove()
    assert (len(tree), tree._root) == (0, None)
