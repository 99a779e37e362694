"""Shards beside a dict, and how much is copied while they grow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.core.watch.shards import Shards

MANY = 100_000
TURN = 256
"""Entries that one turn of a loop may add."""


@given(st.lists(st.tuples(st.sampled_from(("set", "pop", "last")), st.integers(-9, 9))))
def test_it_is_a_mapping(steps: list[tuple[str, int]]) -> None:
    shards: Shards[int, str] = Shards()
    plain: dict[int, str] = {}
    for at, (step, number) in enumerate(steps):
        key = number * 200  # some share a shard
        if step == "set":
            shards.shard_of(key)[key] = plain[key] = str(at)
        elif step == "pop":
            assert shards.pop(key) == plain.pop(key, None)
        else:
            last = shards.last
            assert (last is None) is (not plain)
            if last is not None:
                del plain[last.popitem()[0]]
        assert dict(shards.items()) == plain
        assert sorted(shards.values()) == sorted(plain.values())
        assert (len(shards), bool(shards)) == (len(plain), bool(plain))
        assert (key in shards) is (key in plain)
        assert shards.get(key) == plain.get(key)


@pytest.mark.parametrize(
    "key_of",
    [lambda at: at, lambda at: b"key-%06d" % at, lambda at: Random(at).getrandbits(62)],
    ids=["neighbouring-numbers", "keys", "scattered-numbers"],
)
def test_little_is_copied_in_a_turn(key_of: Callable[[int], Any]) -> None:
    shards: Shards[Any, int] = Shards()
    most = copied = 0
    for at in range(MANY):
        key = key_of(at)
        shard = shards.shard_of(key)
        size, before = sys.getsizeof(shard), len(shard)
        shard[key] = at
        if sys.getsizeof(shard) != size:
            copied += before
        if at % TURN == TURN - 1:
            most, copied = max(most, copied), 0
    assert most < MANY // 10
