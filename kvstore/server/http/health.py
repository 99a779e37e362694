"""/health, /livez and /readyz (etcd server/etcdserver/api/etcdhttp/health.go).

A single member is always its own leader and never a learner. A linearizable read fails when the
store takes no more writes: what is read then is durable, but nothing can be acknowledged.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from kvstore.errors import StoreError
from kvstore.keys import KeyRange
from kvstore.server.http.pages import TEXT, Page, Reply, error, get_only
from kvstore.server.metrics import HealthStats
from kvstore.server.transports.web.messages import Request
from kvstore.types import RangeOp, RangeResult

__all__ = ["CheckedStore", "health_pages"]

_log = logging.getLogger(__name__)

_PROBE: Final = RangeOp(KeyRange(b"\0"), limit=1)
_SHOWN: Final = 1000
"""Characters of what a client asks for, in the log."""
_KNOWN_ALARMS: Final = ("NOSPACE", "CORRUPT")

Check = Callable[[], str]
"""What is wrong; empty for nothing."""


class CheckedStore(Protocol):
    @property
    def write_error(self) -> StoreError | None:
        """Why writes are refused; None while they are taken."""
        ...

    def range_now(self, op: RangeOp) -> RangeResult: ...


def health_pages(
    store: CheckedStore, alarms: Callable[[], Iterable[str]], stats: HealthStats
) -> dict[str, Page]:
    """path -> page. `alarms` are the names of those that are raised."""

    def serializable_read() -> str:
        return _read_error(store, is_serializable=True)

    def linearizable_read() -> str:
        return _read_error(store, is_serializable=False)

    def data_corruption() -> str:
        return "alarm activated: CORRUPT" if "CORRUPT" in alarms() else ""

    def health(request: Request) -> Reply:
        reason = _reason(request, store, alarms())
        if reason:
            stats.answered(is_healthy=False)
            _log.warning("serving /health false: %s", reason)
            return error(503, _health_text("false", reason))
        stats.answered(is_healthy=True)
        return Reply(200, (), _health_text("true", "").encode())

    live = {"serializable_read": serializable_read}
    ready = {
        "data_corruption": data_corruption,
        "serializable_read": serializable_read,
        "linearizable_read": linearizable_read,
        "non_learner": lambda: "",
    }
    return {
        "/health": get_only(health),
        **_check_pages("livez", live, stats),
        **_check_pages("readyz", ready, stats),
    }


def _read_error(store: CheckedStore, *, is_serializable: bool) -> str:
    if not is_serializable and store.write_error is not None:
        return type(store.write_error).message
    try:
        store.range_now(_PROBE)
    except StoreError as error:
        return type(error).message
    return ""


def _reason(request: Request, store: CheckedStore, alarms: Iterable[str]) -> str:
    excluded = request.parameters("exclude")
    for alarm in alarms:
        if alarm not in excluded:
            return f"ALARM {alarm if alarm in _KNOWN_ALARMS else 'UNKNOWN'}"
    is_serializable = request.parameters("serializable")[:1] == ["true"]
    failure = _read_error(store, is_serializable=is_serializable)
    return f"RANGE ERROR:{failure}" if failure else ""


def _health_text(health: str, reason: str) -> str:
    return json.dumps({"health": health, "reason": reason}, separators=(",", ":"))


def _check_pages(kind: str, checks: Mapping[str, Check], stats: HealthStats) -> dict[str, Page]:
    """One page for all checks and one for each."""

    def run(request: Request, names: Iterable[str]) -> Reply:
        lines, is_ok = [], True
        for name in names:
            failure = checks[name]()
            stats.checked(kind, name, is_ok=not failure)
            is_ok = is_ok and not failure
            lines.append(f"[-]{name} failed: {failure}\n" if failure else f"[+]{name} ok\n")
        if not is_ok:
            _log.error("/%s failed: %s", kind, " ".join(line.strip() for line in lines))
            return error(503, "".join(lines))
        if not request.parameters("verbose"):
            lines.clear()
        return Reply(200, TEXT, ("".join(lines) + "ok\n").encode())

    def root(request: Request) -> Reply:
        excluded = {name for name in request.parameters("exclude") if name}
        if unknown := excluded - checks.keys():
            _log.warning("no such checks of /%s: %s", kind, ", ".join(sorted(unknown))[:_SHOWN])
        return run(request, [name for name in checks if name not in excluded])

    def single(name: str) -> Page:
        return lambda request: run(request, [name])

    pages = {f"/{kind}/{name}": get_only(single(name)) for name in checks}
    return {f"/{kind}": get_only(root), **pages}
