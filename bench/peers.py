"""Our server and real etcds beside it, measured by turns, and how much of each measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from bench.report import Result
from bench.servers import Running, etcd, etcd_version, kvstore_server

__all__ = ["Kind", "Load", "Peers", "Workload", "compared", "counted", "ours_and_etcd", "started"]


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
    many_watchers: int = 1_000
    watched_puts: int = 1_000
    idle_connections: int = 100
    idle_watches: int = 100
    """On each of these."""
    crowd: int = 100_000
    """Watches of one connection."""
    listed: int = 100_000
    page_keys: int = 500
    kept: int = 100_000
    """Keys in a store that is started again."""
    check_perf: tuple[str, ...] = ("s", "m", "l")
    """The loads of `etcdctl check perf`, a minute each."""

    @property
    def writes(self) -> int:
        """How many a watch measurement makes."""
        return int(self.writes_per_s * self.watch_s)

    @classmethod
    def quick(cls) -> Load:
        return cls(
            seconds=0.4,
            rounds=1,
            watch_s=1.0,
            watched_puts=100,
            idle_watches=10,
            crowd=5_000,
            listed=5_000,
            kept=5_000,
            check_perf=(),
        )


class Kind(NamedTuple):
    """A server: its name in the tables, and how it is started on the data below a directory."""

    name: str
    start: Callable[[Path], AbstractContextManager[Running]]

    def place(self, directory: Path) -> Path:
        """A new directory of its own below this one."""
        place = directory / self.name.replace(" ", "-")
        place.mkdir(parents=True)
        return place


def ours_and_etcd() -> list[Kind]:
    """Ours, and the etcd on PATH, which has to be there."""
    return [Kind("kvstore", kvstore_server), Kind(f"etcd {etcd_version()}", etcd)]


@dataclass(frozen=True, slots=True)
class Peers:
    """The servers by their names; ours is the first."""

    running: dict[str, Running]
    kinds: Sequence[Kind]

    def by_turns(
        self,
        rounds: int,
        measure: Callable[[Running], Sequence[float]],
        names: Sequence[str] | None = None,
    ) -> list[dict[str, float]]:
        """Measure the servers (all, or those named) again and again, every second round backwards.

        Returns: for each number that `measure` gives, its mean by the name of the server.
        """
        chosen = list(names or self.running)
        kept: dict[str, list[Sequence[float]]] = {name: [] for name in chosen}
        for turn in range(rounds):
            for name in chosen if turn % 2 == 0 else reversed(chosen):
                kept[name].append(measure(self.running[name]))
        columns = {name: list(zip(*rows, strict=True)) for name, rows in kept.items()}
        width = len(next(iter(columns.values())))
        return [{name: mean(columns[name][at]) for name in chosen} for at in range(width)]


Workload = Callable[[Peers, Path, Load], Iterator[Result]]


@contextmanager
def started(kinds: Sequence[Kind], directory: Path) -> Iterator[Peers]:
    """Each kind in a directory of its own below this one."""
    with ExitStack() as stack:
        running = {
            kind.name: stack.enter_context(kind.start(kind.place(directory))) for kind in kinds
        }
        yield Peers(running, kinds)


def compared(
    workload: str,
    what: str,
    values: Mapping[str, float],
    unit: str,
    target_ratio: float | None = None,
    note: str = "",
    *,
    target: float | None = None,
) -> Result:
    """`values` by the names of the servers, ours first."""
    (_, ours), *others = values.items()
    return Result(
        workload=workload,
        what=what,
        value=ours,
        unit=unit,
        target=target,
        target_ratio=target_ratio,
        peers=dict(others),
        note=note,
    )


def counted(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"
