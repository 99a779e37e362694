"""The synced watchers of one interval, in the order in which they joined.

An offer that is made in pieces goes on where it stopped, whoever came and went in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvstore.core.watch.line import Line
from kvstore.keys import KeyRange

if TYPE_CHECKING:
    from kvstore.core.watch.delivery import Offer
    from kvstore.core.watch.watcher import Watcher

__all__ = ["Group"]

LEAVE_COST: Final = 4
"""What it costs to let a watcher go, in offers: its interval may leave the tree with it."""


class Group(Line):
    __slots__ = ("next", "prev_kvs", "range")

    def __init__(self, key_range: KeyRange) -> None:
        Line.__init__(self)  # in half the time of super(), for each watch of another key
        self.range = key_range
        self.next: Watcher | None = None
        """Who is offered what next, while an offer is made; None when all were."""
        self.prev_kvs = 0
        """How many of them want `prev_kv`; the hub's to count."""

    def __repr__(self) -> str:
        return f"Group({self.range}, {self.size} watchers)"

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
            cost += 1 if watcher.line is self else LEAVE_COST
            watcher = self.next
        return cost
