"""Every call that a kube-apiserver makes of its store, in the shapes of `--debug-record-calls`.

Where they come from: k8s.io/apiserver 0.36.3 and 0.37.2, `pkg/storage/etcd3` (store.go, watcher.go,
compact.go, lease_manager.go) and `pkg/storage/storagebackend/factory/etcd3.go`, through the
`kubernetes` package of etcd's client. The versions differ in lists: since 1.37 they go through
RangeStream, but for pages with a selector.

What one API server is not sure to send comes of chance or of a second one.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.kubernetes.build import VERSIONS

__all__ = ["CALLS", "Expected"]


class Expected(NamedTuple):
    """A shape, who sends it in `versions`, and whether one API server is sure to send it."""

    shape: str
    sender: str
    versions: tuple[str, ...] = VERSIONS
    is_sure: bool = True


def _txn(
    compared: str, op: str, sender: str, *, reads: bool = True, **succeeded: bool
) -> list[Expected]:
    """One compare and one operation; `succeeded` says which outcomes are sure: `true`, `false`."""
    failure = " failure[request_range(key)]" if reads else ""
    shape = f"KV/Txn compare[{compared}] success[request_{op}]{failure} -> OK succeeded="
    return [Expected(shape + how, sender, is_sure=sure) for how, sure in succeeded.items()]


def _lists(version: str, method: str) -> list[Expected]:
    """What a list is since `version` or in it, without a selector or in pages with one."""
    whole, page = f"KV/{method} key range_end", f"KV/{method} key range_end limit"
    rows = [
        (f"{whole} -> OK", "store.GetList of everything"),
        (f"{whole} revision -> OK", "store.GetList at an exact revision"),
        (f"{whole} revision -> OUT_OF_RANGE", "the same, of a revision that is yet to come"),
        (f"{page} -> OK", "store.GetList, the first page"),
        (f"{page} revision -> OK", "store.GetList, a page after the first"),
        (f"{page} revision -> OUT_OF_RANGE", "the same, of a revision that was compacted"),
    ]
    return [Expected(shape, sender, (version,)) for shape, sender in rows]


_NEW, _CHANGED = "target=MOD key mod_revision=0", "target=MOD key mod_revision"
_PUT, _LEASED, _DELETE = "put(key value)", "put(key value lease)", "delete_range(key)"
_WATCH = "Watch/Watch create_request"

CALLS: tuple[Expected, ...] = (
    # -- reads of one key
    Expected("KV/Range key limit -> OK", "store.Get; store.GetCurrentResourceVersion"),
    Expected("KV/Range key limit revision -> OK", "store.GetList of one name at a revision"),
    Expected(
        "KV/Range key -> OK", "the probe of health; the compactor; the sync of a watch of one name"
    ),
    # -- lists; the first page is also the sync of a watch up to 1.36, the whole is it since 1.37
    *_lists("1.36", "Range"),
    *_lists("1.37", "RangeStream"),
    Expected("KV/Range key range_end limit -> OK", "a page with a selector", ("1.37",)),
    Expected("KV/Range key range_end limit revision -> OK", "a page after it", ("1.37",)),
    Expected("KV/Range key range_end count_only -> OK", "store.Stats of types without a cache"),
    # -- writes: one compare, one operation, and a read when the compare fails
    *_txn(_NEW, _PUT, "store.Create", reads=False, true=True, false=True),
    *_txn(_NEW, _LEASED, "store.Create of an event", reads=False, true=True, false=True),
    *_txn(_NEW, _PUT, "store.GuaranteedUpdate of what may be missing", true=True, false=False),
    *_txn(_NEW, _LEASED, "the same of the master's own lease", true=True, false=False),
    *_txn(_CHANGED, _PUT, "store.GuaranteedUpdate", true=True, false=True),
    *_txn(_CHANGED, _LEASED, "store.GuaranteedUpdate of an event", true=True, false=True),
    *_txn(_CHANGED, _DELETE, "store.Delete", true=True, false=True),
    # -- the compactor; it loses against others, or against its own from before a restart
    *_txn("key version=0", _PUT, "the compactor, first", true=True, false=True),
    *_txn("key version", _PUT, "the compactor", true=True, false=False),
    Expected("KV/Compact revision -> OK", "the compactor that won"),
    # -- watches
    Expected(f"{_WATCH}(key range_end start_revision progress_notify prev_kv)", "a watch cache"),
    Expected(f"{_WATCH}(key range_end start_revision prev_kv)", "a watch without a cache"),
    Expected(f"{_WATCH}(key start_revision prev_kv)", "the same of one name"),
    Expected(f"{_WATCH}(key start_revision)", "the compactor's watch of its key"),
    Expected("Watch/Watch progress_request()", "a watch cache that a consistent read waits for"),
    Expected("Watch/Watch cancel_request(watch_id)", "the end of one of several watches"),
    Expected("Watch/Watch cancel_request()", "the same of the first, whose id is 0", is_sure=False),
    Expected("Watch/Watch -> CANCELED", "the end of the last watch of a client"),
    # -- the rest
    Expected("Lease/LeaseGrant TTL -> OK", "the lease manager: events, the master's own lease"),
    Expected("Maintenance/Status -> OK", "the check of features; the size of the store"),
)
