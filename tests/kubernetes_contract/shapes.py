"""Every request that a kube-apiserver sends, built once, by the names of its client.

The names `get`, `list_page`, `count`, `optimistic_put` and `optimistic_delete` are those of the
client that it uses (etcd client/v3/kubernetes); the others say what the request is for. All reads
are linearizable, nothing is sorted or filtered, a transaction has one compare and at most one
operation in each branch.
"""

from __future__ import annotations

from collections.abc import Callable

from kvstore.keys import prefix_end
from kvstore.proto import rpc_pb2

__all__ = [
    "COMPACT_REV_KEY",
    "HEALTH_KEY",
    "PAGE_LIMIT",
    "CurrentRevision",
    "compact",
    "compactor_read",
    "compactor_txn",
    "compactor_watch",
    "continue_key",
    "count",
    "current_revision",
    "current_revision_by_list",
    "get",
    "health_probe",
    "keys",
    "lease_grant",
    "list_page",
    "optimistic_delete",
    "optimistic_put",
    "range_stream",
    "status",
    "watch",
    "watch_cancel",
    "watch_progress",
]

COMPACT_REV_KEY = b"compact_rev_key"
HEALTH_KEY = b"/registry/health"
PAGE_LIMIT = 10_000
"""How many objects a page has at most; also the limit of the first read of a watch cache."""


CurrentRevision = Callable[[bytes], rpc_pb2.RangeRequest]
"""What both shapes of that read are: from the prefix of the resource type to the request."""


def get(key: bytes, revision: int = 0) -> rpc_pb2.RangeRequest:
    return rpc_pb2.RangeRequest(key=key, limit=1, revision=revision)


def current_revision(prefix: bytes) -> rpc_pb2.RangeRequest:
    """Since 1.37: a read of the prefix without its slash, a key that never exists."""
    return get(prefix.rstrip(b"/"))


def current_revision_by_list(prefix: bytes) -> rpc_pb2.RangeRequest:
    """Up to 1.36: a list of one object."""
    return list_page(prefix, limit=1)


def list_page(
    prefix: bytes, *, limit: int = 0, revision: int = 0, continue_at: bytes = b""
) -> rpc_pb2.RangeRequest:
    """A page from `continue_at` (the start when empty) to the end of the prefix; limit 0: all."""
    return rpc_pb2.RangeRequest(
        key=continue_at or prefix, range_end=prefix_end(prefix), limit=limit, revision=revision
    )


def continue_key(last_key: bytes) -> bytes:
    """Where the page after the one that ended with `last_key` begins."""
    return last_key + b"\x00"


def count(prefix: bytes) -> rpc_pb2.RangeRequest:
    return rpc_pb2.RangeRequest(key=prefix, range_end=prefix_end(prefix), count_only=True)


def keys(prefix: bytes) -> rpc_pb2.RangeRequest:
    """What the estimate of an object's size asks for."""
    return rpc_pb2.RangeRequest(key=prefix, range_end=prefix_end(prefix), keys_only=True)


def health_probe() -> rpc_pb2.RangeRequest:
    return rpc_pb2.RangeRequest(key=HEALTH_KEY)


def range_stream(prefix: bytes, *, limit: int = 0, revision: int = 0) -> rpc_pb2.RangeRequest:
    """Since 1.37: an unlimited list, answered in chunks."""
    return list_page(prefix, limit=limit, revision=revision)


def optimistic_put(
    key: bytes, value: bytes, expected_revision: int, *, lease: int = 0
) -> rpc_pb2.TxnRequest:
    """A create when 0 is expected, which wants nothing back on failure; else an update."""
    put = rpc_pb2.PutRequest(key=key, value=value, lease=lease)
    return rpc_pb2.TxnRequest(
        compare=[_modified_at(key, expected_revision)],
        success=[rpc_pb2.RequestOp(request_put=put)],
        failure=[_read(key)] if expected_revision else [],
    )


def optimistic_delete(key: bytes, expected_revision: int) -> rpc_pb2.TxnRequest:
    delete = rpc_pb2.DeleteRangeRequest(key=key)
    return rpc_pb2.TxnRequest(
        compare=[_modified_at(key, expected_revision)],
        success=[rpc_pb2.RequestOp(request_delete_range=delete)],
        failure=[_read(key)],
    )


def compactor_txn(version: int, revision: int) -> rpc_pb2.TxnRequest:
    """One of many compactors wins this: the one that knew the version of the key."""
    put = rpc_pb2.PutRequest(key=COMPACT_REV_KEY, value=b"%d" % revision)
    return rpc_pb2.TxnRequest(
        compare=[
            rpc_pb2.Compare(
                key=COMPACT_REV_KEY,
                target=rpc_pb2.Compare.VERSION,
                result=rpc_pb2.Compare.EQUAL,
                version=version,
            )
        ],
        success=[rpc_pb2.RequestOp(request_put=put)],
        failure=[_read(COMPACT_REV_KEY)],
    )


def compact(revision: int) -> rpc_pb2.CompactionRequest:
    return rpc_pb2.CompactionRequest(revision=revision)


def compactor_read() -> rpc_pb2.RangeRequest:
    return rpc_pb2.RangeRequest(key=COMPACT_REV_KEY)


def compactor_watch(revision: int) -> rpc_pb2.WatchRequest:
    """From the revision of `compactor_read` itself: without prev_kv, without progress."""
    create = rpc_pb2.WatchCreateRequest(key=COMPACT_REV_KEY, start_revision=revision)
    return rpc_pb2.WatchRequest(create_request=create)


def watch(
    prefix: bytes, seen_revision: int, *, progress_notify: bool = True
) -> rpc_pb2.WatchRequest:
    """Everything after `seen_revision`; only the watch cache asks for progress."""
    create = rpc_pb2.WatchCreateRequest(
        key=prefix,
        range_end=prefix_end(prefix),
        start_revision=seen_revision + 1,
        prev_kv=True,
        progress_notify=progress_notify,
    )
    return rpc_pb2.WatchRequest(create_request=create)


def watch_progress() -> rpc_pb2.WatchRequest:
    return rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest())


def watch_cancel(watch_id: int) -> rpc_pb2.WatchRequest:
    return rpc_pb2.WatchRequest(cancel_request=rpc_pb2.WatchCancelRequest(watch_id=watch_id))


def lease_grant(ttl_s: int) -> rpc_pb2.LeaseGrantRequest:
    """The server picks the id."""
    return rpc_pb2.LeaseGrantRequest(TTL=ttl_s)


def status() -> rpc_pb2.StatusRequest:
    return rpc_pb2.StatusRequest()


def _modified_at(key: bytes, revision: int) -> rpc_pb2.Compare:
    return rpc_pb2.Compare(
        key=key,
        target=rpc_pb2.Compare.MOD,
        result=rpc_pb2.Compare.EQUAL,
        mod_revision=revision,
    )


def _read(key: bytes) -> rpc_pb2.RequestOp:
    return rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key))
