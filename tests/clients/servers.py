"""The two servers that every client test talks to: a real etcd, and ours beside it.

Set `KVSTORE_CLIENTS_UNDER_TEST=etcd` to put a second real etcd in the place of ours: every
comparison must then hold, which shows that the normalising hides what differs between any two
servers and that the scripts themselves are deterministic.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.etcd import EtcdServer, EtcdVersion, unavailable
from tests.support.kvserver import KvServer

__all__ = ["NOT_SERVED", "Pair", "Server", "require", "running_pair"]

Server = EtcdServer | KvServer

_TWO_ETCDS = os.environ.get("KVSTORE_CLIENTS_UNDER_TEST") == "etcd"

NOT_SERVED = pytest.mark.xfail(
    not _TWO_ETCDS, strict=True, reason="our server does not answer this method yet"
)
"""Marks a test of a method that is missing; strict, so that the mark goes when it is there."""

# The shared helper shortens the election timeout, which also lowers the minimum TTL of a lease;
# the last flag wins, and these are the values etcd has by itself.
_USUAL_TIMES = ("--heartbeat-interval", "100", "--election-timeout", "1000")


class Pair(NamedTuple):
    """A real etcd, which says what is right, and the server under test."""

    etcd: Server
    ours: Server


@contextmanager
def running_pair(directory: Path, version: EtcdVersion = EtcdVersion.ETCD_34) -> Iterator[Pair]:
    """Start both servers below `directory`, and stop them in the end."""
    etcd = EtcdServer(version, directory / "etcd", _USUAL_TIMES)
    try:
        ours: Server
        if _TWO_ETCDS:
            ours = EtcdServer(version, directory / "kvstore", _USUAL_TIMES)
        else:
            ours = KvServer(directory / "kvstore")
        try:
            yield Pair(etcd, ours)
        finally:
            ours.stop()
    finally:
        etcd.stop()


def require(program: str) -> str:
    """Return the path of a program; where it is missing skip the test, or fail it in CI."""
    path = shutil.which(program)
    if path is None:
        unavailable(f"no {program} on this machine")
    assert path is not None
    return path
