"""When the next commit begins: at once, or when those who had the last one are back.

Clients in closed loops send their next write when they have read the answer to the last. Whoever
begins a commit with the first of them to come back pays for many small commits: with 64 clients 6
decisions each, and the hand-offs between loop and committer cost as much as the decisions. So a
commit waits for about as many decisions as the last one had, while each turn of the loop brings
more of them. A single client's write, or one after a pause, waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from kvstore.limits import GATHER_DECISIONS, GATHER_S

__all__ = ["Gathering"]


class Gathering:
    __slots__ = ("_clock", "_had", "_since", "_wanted")

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` in seconds, monotonic."""
        self._clock = clock
        self._wanted = self._had = 0
        self._since = 0.0

    def __repr__(self) -> str:
        return f"Gathering({self._had} of {self._wanted})"

    def goes_on(self, waiting: int) -> bool:
        """Asked once a turn: are the decisions that wait to be joined by those of the next turn?"""
        if not self._had < waiting < self._wanted:
            return False
        if not self._had:
            self._since = self._clock()
        elif self._clock() - self._since >= GATHER_S:
            return False
        self._had = waiting
        return True

    def end(self, decisions: int) -> None:
        """A commit of so many begins."""
        self._wanted = min(decisions, GATHER_DECISIONS)
        self._had = 0
