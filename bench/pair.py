"""Our server and a real etcd beside it, measured by turns, and how much of each measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean

from bench.report import Result

__all__ = ["Load", "Pair", "compared", "counted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Seconds for each measurement of one server, how often by turns, and the sizes."""

    seconds: float = 1.5
    rounds: int = 2
    clients: tuple[int, ...] = (1, 16, 64)
    shapes: tuple[tuple[int, int], ...] = ((1, 1), (16, 1), (64, 1), (16, 16))
    """(connections, streams on each) of h2load."""
    watch_s: float = 3.0
    writes_per_s: int = 200
    watchers: int = 10
    listed: int = 20_000
    page_keys: int = 500

    @property
    def writes(self) -> int:
        """How many a watch measurement makes."""
        return int(self.writes_per_s * self.watch_s)

    @classmethod
    def quick(cls) -> Load:
        return cls(seconds=0.4, rounds=1, watch_s=1.0, listed=5_000)


@dataclass(frozen=True, slots=True)
class Pair:
    """The ports of the two servers, and their processes."""

    kvstore: int
    etcd: int
    kvstore_pid: int = 0
    etcd_pid: int = 0

    def by_turns(
        self, rounds: int, measure: Callable[[int], Sequence[float]]
    ) -> list[tuple[float, float]]:
        """Measure both ports again and again, the other one first in every second round.

        Returns: for each number that `measure` gives, the means (ours, etcd's).
        """
        ours: list[Sequence[float]] = []
        theirs: list[Sequence[float]] = []
        for turn in range(rounds):
            order = [(ours, self.kvstore), (theirs, self.etcd)]
            for kept, port in order if turn % 2 == 0 else reversed(order):
                kept.append(measure(port))
        columns = zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True)
        return [(mean(one), mean(other)) for one, other in columns]


def compared(workload: str, what: str, values: tuple[float, float], unit: str) -> Result:
    return Result(workload=workload, what=what, value=values[0], peer=values[1], unit=unit)


def counted(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"
