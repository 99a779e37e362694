"""kvstore: a versioned, watchable key-value store with etcd's semantics.

    with kvstore.open("data") as db:                 async with kvstore.aopen("data") as db:
        db.put("k", "v")                                 await db.put("k", "v")

Importing this loads nothing else of the package, and using it neither gRPC nor protobuf: each name
is fetched from its module when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvstore import errors, types
    from kvstore.embedded import ops
    from kvstore.embedded.aio import AsyncStore, AsyncView, aopen
    from kvstore.embedded.conditions import absent, create, lease, mod, present, value, version
    from kvstore.embedded.leases import AsyncHeldLease, HeldLease
    from kvstore.embedded.plans import Swap, TxnBuilder
    from kvstore.embedded.ranges import AsyncRange, Range
    from kvstore.embedded.sync import Store, View, open
    from kvstore.embedded.watch import AsyncWatch, Batch, Watch
    from kvstore.errors import (
        Compacted,
        Conflict,
        CorruptStore,
        DirectoryLocked,
        DuplicateKey,
        FutureRevision,
        InvalidRequest,
        InvalidSortOption,
        KeyNotFound,
        KeyNotProvided,
        LeaseExists,
        LeaseNotFound,
        LeaseProvided,
        LeaseTtlTooLarge,
        NestedCall,
        NoSpace,
        OpenError,
        RequestTooLarge,
        StateError,
        StoreClosed,
        StoreError,
        StoreFailed,
        TooManyOperations,
        TooManyRequests,
        ValueProvided,
        WatchCanceled,
        WriteRefused,
    )
    from kvstore.store.options import StoreOptions
    from kvstore.types import (
        CompactResult,
        Compare,
        DeleteRangeResult,
        Event,
        EventType,
        KeyValue,
        Lease,
        LeaseStatus,
        PutResult,
        StoreStatus,
        Txn,
        TxnResult,
    )

__version__ = "0.1.0"
"""The only place of the version; the name of a distribution and its tag are made from it."""

__all__ = [
    "AsyncHeldLease",
    "AsyncRange",
    "AsyncStore",
    "AsyncView",
    "AsyncWatch",
    "Batch",
    "CompactResult",
    "Compacted",
    "Compare",
    "Conflict",
    "CorruptStore",
    "DeleteRangeResult",
    "DirectoryLocked",
    "DuplicateKey",
    "Event",
    "EventType",
    "FutureRevision",
    "HeldLease",
    "InvalidRequest",
    "InvalidSortOption",
    "KeyNotFound",
    "KeyNotProvided",
    "KeyValue",
    "Lease",
    "LeaseExists",
    "LeaseNotFound",
    "LeaseProvided",
    "LeaseStatus",
    "LeaseTtlTooLarge",
    "NestedCall",
    "NoSpace",
    "OpenError",
    "PutResult",
    "Range",
    "RequestTooLarge",
    "StateError",
    "Store",
    "StoreClosed",
    "StoreError",
    "StoreFailed",
    "StoreOptions",
    "StoreStatus",
    "Swap",
    "TooManyOperations",
    "TooManyRequests",
    "Txn",
    "TxnBuilder",
    "TxnResult",
    "ValueProvided",
    "View",
    "Watch",
    "WatchCanceled",
    "WriteRefused",
    "absent",
    "aopen",
    "create",
    "errors",
    "lease",
    "mod",
    "open",
    "ops",
    "present",
    "types",
    "value",
    "version",
]

_MODULES = {
    "errors": "kvstore.errors",
    "ops": "kvstore.embedded.ops",
    "types": "kvstore.types",
}
_HOMES = {
    "kvstore.embedded.aio": "AsyncStore AsyncView aopen",
    "kvstore.embedded.conditions": "absent create lease mod present value version",
    "kvstore.embedded.leases": "AsyncHeldLease HeldLease",
    "kvstore.embedded.plans": "Swap TxnBuilder",
    "kvstore.embedded.ranges": "AsyncRange Range",
    "kvstore.embedded.sync": "Store View open",
    "kvstore.embedded.watch": "AsyncWatch Batch Watch",
    "kvstore.errors": "Compacted Conflict CorruptStore DirectoryLocked DuplicateKey FutureRevision "
    "InvalidRequest InvalidSortOption KeyNotFound KeyNotProvided LeaseExists LeaseNotFound "
    "LeaseProvided LeaseTtlTooLarge NestedCall NoSpace OpenError RequestTooLarge StateError "
    "StoreClosed StoreError StoreFailed TooManyOperations TooManyRequests ValueProvided "
    "WatchCanceled WriteRefused",
    "kvstore.store.options": "StoreOptions",
    "kvstore.types": "CompactResult Compare DeleteRangeResult Event EventType KeyValue Lease "
    "LeaseStatus PutResult StoreStatus Txn TxnResult",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    home = _MODULES.get(name) or _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kvstore.loading import loading

    with loading():
        module: object = import_module(home)
    globals()[name] = found = module if name in _MODULES else getattr(module, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
