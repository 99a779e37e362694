"""What ends a benchmark before its time.

BenchError
  UsageError      what was asked for makes no sense
  EndpointError   the endpoint cannot be reached, or refuses what the benchmark needs
  WorkerFailed    a process of the load generator ended by itself
  Interrupted     the user ended it before anything was measured
"""

from __future__ import annotations

__all__ = ["BenchError", "EndpointError", "Interrupted", "UsageError", "WorkerFailed"]


class BenchError(Exception):
    """The text is one line for the user."""


class UsageError(BenchError):
    """What was asked for makes no sense."""


class EndpointError(BenchError):
    """The endpoint cannot be reached, or refuses what the benchmark needs."""


class WorkerFailed(BenchError):
    """A process of the load generator ended by itself."""


class Interrupted(BenchError):
    """The user ended it before anything was measured."""
