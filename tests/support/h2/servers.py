"""The servers that the tests of the wire run against: ours, and etcd 3.7.1 to check the tests.

A test that takes `target` runs against both; where grpc-go leaves the RFC it takes `ours` and says
so in its docstring.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from tests.support.etcd import EtcdServer, EtcdVersion
from tests.support.kvserver import KvServer

__all__ = ["Kind", "WireServer", "memory_bytes", "start_server"]

WireServer = KvServer | EtcdServer


class Kind(Enum):
    OURS = "ours"
    ETCD_37 = "etcd37"


def start_server(
    kind: Kind, data_dir: Path, flags: Sequence[str] = (), *, verify: bool = True
) -> WireServer:
    """A server of this kind; `verify` off leaves our costly invariants out, for large amounts."""
    if kind is Kind.ETCD_37:
        return EtcdServer(EtcdVersion.ETCD_37, data_dir, flags)
    return KvServer(data_dir, flags, verify=verify)


def memory_bytes(pid: int) -> int:
    """What the process holds of its own: pages of the mapped database are the kernel's to drop."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has ended")
