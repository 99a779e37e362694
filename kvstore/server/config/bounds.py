"""Numbers with a default behind 0, a lowest value, or a size that deserves a warning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kvstore import limits
from kvstore.server.config.values import ConfigError, format_duration

__all__ = [
    "at_least_one",
    "min_lease_ttl_s",
    "not_negative_s",
    "quota_bytes",
    "read_max_request_bytes",
    "read_progress_interval_s",
]

_DEFAULT_QUOTA_BYTES: Final = 2 * 1024**3
_REQUEST_WARNING_BYTES: Final = 10 * 1024**2


def at_least_one(values: Mapping[str, Any], flag: str, default: int) -> int:
    """The number of `flag`, `default` for 0; raises ConfigError below."""
    number: int = values[flag]
    if number < 0:
        raise ConfigError(f"--{flag} must be >=0 (set to {number})")
    return number or default


def not_negative_s(values: Mapping[str, Any], flag: str) -> float:
    """The seconds of `flag`; raises ConfigError when there is less than nothing."""
    seconds: float = values[flag]
    if seconds < 0:
        raise ConfigError(f"--{flag} must be >=0 (set to {format_duration(seconds)})")
    return seconds


def min_lease_ttl_s(values: Mapping[str, Any]) -> int:
    """The shortest lease: one and a half election timeouts in ticks, as seconds rounded up."""
    heartbeat_ms: int = values["heartbeat-interval"]
    ticks: int = values["election-timeout"] // heartbeat_ms
    return -(-(3 * ticks // 2 * heartbeat_ms) // 1000)


def quota_bytes(values: Mapping[str, Any]) -> int:
    """The size that is shown as the quota; -1 for none."""
    return max(values["quota-backend-bytes"], -1) or _DEFAULT_QUOTA_BYTES


def read_max_request_bytes(values: Mapping[str, Any], warnings: list[str]) -> int:
    """The size of the largest request."""
    request_bytes: int = values["max-request-bytes"]
    if request_bytes > _REQUEST_WARNING_BYTES:
        warnings.append(
            f"--max-request-bytes {request_bytes} is over {_REQUEST_WARNING_BYTES}, "
            "the most that etcd recommends"
        )
    return request_bytes


def read_progress_interval_s(values: Mapping[str, Any], warnings: list[str]) -> float:
    """How often idle watchers hear their progress, within its lower bound."""
    interval_s: float = values["watch-progress-notify-interval"]
    if interval_s <= 0:
        return limits.PROGRESS_NOTIFY_INTERVAL_S
    if interval_s < limits.MIN_PROGRESS_NOTIFY_INTERVAL_S:
        lowest = format_duration(limits.MIN_PROGRESS_NOTIFY_INTERVAL_S)
        warnings.append(
            f"--watch-progress-notify-interval {format_duration(interval_s)} is raised to {lowest}"
        )
        return limits.MIN_PROGRESS_NOTIFY_INTERVAL_S
    return interval_s
