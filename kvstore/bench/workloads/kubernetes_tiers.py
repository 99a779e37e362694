"""The sizes of a cluster: its objects, and how often its API server makes each kind of call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["TIERS", "Tier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A size of cluster: its objects, and calls per second under load."""

    nodes: int
    pods: int
    lease_updates: float
    status_updates: float
    pod_writes: float
    events: float
    gets: float
    current_revisions: float
    progress: float


TIERS: Final[dict[int, Tier]] = {
    100: Tier(
        nodes=100,
        pods=3_000,
        lease_updates=10,
        status_updates=0.33,
        pod_writes=80,
        events=50,
        gets=20,
        current_revisions=10,
        progress=10,
    ),
    1000: Tier(
        nodes=1000,
        pods=30_000,
        lease_updates=100,
        status_updates=3.3,
        pod_writes=100,
        events=60,
        gets=100,
        current_revisions=25,
        progress=25,
    ),
    5000: Tier(
        nodes=5000,
        pods=150_000,
        lease_updates=500,
        status_updates=17,
        pod_writes=1000,
        events=550,
        gets=500,
        current_revisions=100,
        progress=100,
    ),
}
"""By nodes. The rates are those of a cluster in its load phase, one API server."""
