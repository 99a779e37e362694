"""/debug/vars: what Go's expvar says of a member of etcd, as far as there is the same here."""

from __future__ import annotations

import gc
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from kvstore.server.header import Headers
from kvstore.server.http.pages import Page, Reply, get_only
from kvstore.server.transports.web.messages import Request
from kvstore.types import StoreStatus

__all__ = ["debug_vars_page"]

_STATM: Final = Path("/proc/self/statm")


def debug_vars_page(headers: Headers, status: Callable[[], StoreStatus]) -> Page:
    def page(request: Request) -> Reply:
        variables = {
            "cmdline": sys.argv,
            "file_descriptor_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "memstats": _memory(),
            "raft.status": _raft_status(headers, status().write_index),
        }
        lines = ",\n".join(
            f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}"
            for name, value in variables.items()
        )
        content_type = ("Content-Type", "application/json; charset=utf-8")
        return Reply(200, [content_type], f"{{\n{lines}\n}}\n".encode())

    return get_only(page)


def _memory() -> dict[str, int]:
    """Under the names of Go's memory statistics: bytes in RAM, bytes of address space."""
    collected = sum(generation["collections"] for generation in gc.get_stats())
    try:
        pages = [int(number) for number in _STATM.read_text().split()[:2]]
    except OSError:
        return {"Alloc": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "NumGC": collected}
    size, resident = (number * resource.getpagesize() for number in pages)
    return {"Alloc": resident, "Sys": size, "NumGC": collected}


def _raft_status(headers: Headers, index: int) -> dict[str, Any]:
    """That of the only member, which has nobody to wait for."""
    member = f"{headers.member_id:x}"
    return {
        "id": member,
        "term": headers.raft_term,
        "vote": member,
        "commit": index,
        "lead": member,
        "raftState": "StateLeader",
        "applied": index,
        "progress": {member: {"match": index, "next": index + 1, "state": "StateReplicate"}},
        "leadtransferee": "0",
    }
