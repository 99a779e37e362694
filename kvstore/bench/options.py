"""What a run is asked to do, in the words of etcd's benchmark."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from kvstore.bench.endpoint import Endpoint, Tls, parse_endpoint
from kvstore.bench.errors import UsageError

__all__ = ["Options", "Value", "default_processes"]

Value = bool | int | float | str
"""Of a parameter of a workload."""


def default_processes(connections: int) -> int:
    """One process for each core but one, which the server may have; two at the most."""
    return max(1, min(2, (os.cpu_count() or 1) - 1, connections))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to load an endpoint, for every workload.

    `total` counts requests (0: the workload's own total, unless there is a duration); a run ends
    with `total` or after `duration_s`, whichever comes first. `rate` is in requests per second, 0
    for as fast as the answers come. `parameters` holds those of the workload, by etcd's names
    (`{"key-size": 8}`). `processes` 0 is a sensible number.
    """

    clients: int = 1
    conns: int = 1
    processes: int = 0
    total: int = 0
    duration_s: float = 0.0
    rate: float = 0.0
    user: str = ""
    tls: Tls = field(default_factory=Tls)
    dial_timeout_s: float = 5.0
    timeout_s: float = 30.0
    parameters: Mapping[str, Value] = field(default_factory=dict)

    def checked(self) -> Options:
        """With `processes` filled in. Raises UsageError."""
        for name in ("clients", "conns"):
            if getattr(self, name) < 1:
                raise UsageError(f"expected positive --{name}, got ({getattr(self, name)})")
        for name in ("processes", "total", "duration_s", "rate"):
            if getattr(self, name) < 0:
                flag = name.removesuffix("_s")
                raise UsageError(f"--{flag} cannot be negative, got ({getattr(self, name)})")
        for name in ("dial_timeout_s", "timeout_s"):
            if getattr(self, name) <= 0:
                flag = name.removesuffix("_s").replace("_", "-")
                raise UsageError(f"expected positive --{flag}, got ({getattr(self, name)})")
        conns = min(self.conns, self.clients)
        processes = min(self.processes or default_processes(conns), conns)
        return replace(self, conns=conns, processes=processes)

    def endpoints(self, text: str) -> list[Endpoint]:
        """Parse `text`, endpoints with commas between. Raises UsageError, OSError."""
        found = [parse_endpoint(each, self.tls) for each in text.split(",") if each.strip()]
        if not found:
            raise UsageError("no endpoint given")
        return found

    def to_json(self) -> dict[str, object]:
        plain = asdict(self)
        plain["parameters"] = dict(self.parameters)
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, object]) -> Options:
        tls = plain["tls"]
        assert isinstance(tls, dict)
        return cls(**{**plain, "tls": Tls(**tls)})  # type: ignore[arg-type]
