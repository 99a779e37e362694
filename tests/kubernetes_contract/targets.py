"""Which servers a test is for."""

from __future__ import annotations

import pytest

__all__ = ["TARGETS", "has_range_stream", "has_safe_progress"]

TARGETS = ("native", "grpcio", "etcd34", "etcd37")

_CURRENT = ("native", "grpcio", "etcd37")

has_safe_progress = pytest.mark.parametrize("server", _CURRENT, indirect=True)
"""Not 3.4.23, which answers a progress request when it should not. The API server knows by the
version in Status and never asks it."""

has_range_stream = pytest.mark.parametrize("server", _CURRENT, indirect=True)
"""Only 3.7 and ours; all others answer Unimplemented."""
