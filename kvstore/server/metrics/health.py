"""What health checks count: added to by whoever serves them, read by /metrics.

Facts: etcd server/etcdserver/api/etcdhttp/health.go (recordMetrics).
"""

from __future__ import annotations

from collections import Counter

__all__ = ["HealthStats"]


class HealthStats:
    def __init__(self) -> None:
        self.success = self.failures = 0
        """Of /health."""
        self.checks: dict[tuple[str, str], bool] = {}
        """The last outcome of each check that was ever made, by (type, name)."""
        self.counts: Counter[tuple[str, str, bool]] = Counter()
        """How often a check had an outcome, by (type, name, outcome)."""

    def answered(self, *, is_healthy: bool) -> None:
        """/health was asked for."""
        if is_healthy:
            self.success += 1
        else:
            self.failures += 1

    def checked(self, kind: str, name: str, *, is_ok: bool) -> None:
        """One check of /livez or /readyz; `kind` is `livez` or `readyz`."""
        self.checks[kind, name] = is_ok
        self.counts[kind, name, is_ok] += 1
