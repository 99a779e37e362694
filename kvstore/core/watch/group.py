"""The synced watchers of one interval, in the order in which they joined: a linked list.

So a watcher joins and leaves in O(1), and an offer that is made in pieces goes on where it stopped,
whoever came and went in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from kvstore.keys import KeyRange

if TYPE_CHECKING:
    from kvstore.core.watch.delivery import Offer
    from kvstore.core.watch.watcher import Watcher

__all__ = ["Group"]

LEAVE_COST: Final = 4
"""What it costs to let a watcher go, in offers: its interval may leave the tree with it."""


class Group:
    __slots__ = ("first", "last", "next", "prev_kvs", "range", "size")

    def __init__(self, key_range: KeyRange) -> None:
        self.range = key_range
        self.first: Watcher | None = None
        self.last: Watcher | None = None
        self.next: Watcher | None = None
        """Who is offered what next, while an offer is made; None when all were."""
        self.size = self.prev_kvs = 0
        """Watchers, and those of them that want `prev_kv`."""

    def __repr__(self) -> str:
        return f"Group({self.range}, {self.size} watchers)"

    def __iter__(self) -> Iterator[Watcher]:
        watcher = self.first
        while watcher is not None:
            yield watcher
            watcher = watcher.following

    def add(self, watcher: Watcher) -> None:
        last = self.last
        if last is None:
            self.first = watcher
        else:
            last.following = watcher
        watcher.group, watcher.previous, self.last = self, last, watcher
        self.size += 1
        self.prev_kvs += watcher.prev_kv

    def remove(self, watcher: Watcher) -> None:
        previous, following = watcher.previous, watcher.following
        if self.next is watcher:
            self.next = following
        if previous is None:
            self.first = following
        else:
            previous.following = following
        if following is None:
            self.last = previous
        else:
            following.previous = previous
        watcher.group = watcher.previous = watcher.following = None
        self.size -= 1
        self.prev_kvs -= watcher.prev_kv

    def offer(self, offer: Offer) -> None:
        """To all of them."""
        watcher = self.first
        while watcher is not None:
            following = watcher.following  # it may leave at that
            watcher.stream.offer(watcher, offer)
            watcher = following

    def offer_some(self, offer: Offer, most: int) -> int:
        """To `next` and those behind, until it is `most`; returns what that cost.

        That is one for each, and `LEAVE_COST` for who falls behind instead.
        """
        cost, watcher = 0, self.next
        while watcher is not None and cost < most:
            self.next = watcher.following
            watcher.stream.offer(watcher, offer)
            cost += 1 if watcher.group is self else LEAVE_COST
            watcher = self.next
        return cost
