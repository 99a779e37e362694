"""A mapping that stays quick while it grows: many small dicts.

A dict copies all that it has when it grows, which is a pause of 3 ms at 87,382 entries and twice
as long each time. Here one shard of 256 does, and not all of them at once: neighbouring numbers
share one, and the hashes of keys are in no order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

__all__ = ["Shards"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_NEIGHBOURS_BITS: Final = 9
"""So many bits of a number do not tell its shard."""
_MASK: Final = 0xFF


class Shards(Generic[K, V]):
    __slots__ = ("_shards",)

    def __init__(self) -> None:
        self._shards: defaultdict[int, dict[K, V]] = defaultdict(dict)
        """Few of them are empty: those of which somebody took the last."""

    def __len__(self) -> int:
        return sum(map(len, self._shards.values()))

    def __bool__(self) -> bool:
        return bool(self._shards) and any(self._shards.values())

    def __contains__(self, key: K) -> bool:
        shard = self._shards.get(hash(key) >> _NEIGHBOURS_BITS & _MASK)
        return shard is not None and key in shard

    def get(self, key: K) -> V | None:
        shard = self._shards.get(hash(key) >> _NEIGHBOURS_BITS & _MASK)
        return None if shard is None else shard.get(key)

    def shard_of(self, key: K) -> dict[K, V]:
        """The dict that `key` is in, or is to be put into."""
        return self._shards[hash(key) >> _NEIGHBOURS_BITS & _MASK]

    def pop(self, key: K) -> V | None:
        """None when it is not there."""
        at = hash(key) >> _NEIGHBOURS_BITS & _MASK
        shard = self._shards.get(at)
        if shard is None:
            return None
        value = shard.pop(key, None)
        if not shard:
            del self._shards[at]
        return value

    @property
    def last(self) -> dict[K, V] | None:
        """A shard to take entries from; None when there are none."""
        shards = self._shards
        while shards:
            shard = next(reversed(shards.values()))
            if shard:
                return shard
            shards.popitem()
        return None

    def items(self) -> Iterator[tuple[K, V]]:
        for shard in self._shards.values():
            yield from shard.items()

    def values(self) -> Iterator[V]:
        for shard in self._shards.values():
            yield from shard.values()
