"""Value types of the field: what goes into a store and what comes out of it.

The words and the fields are etcd's (facts: etcd api/mvccpb/kv.proto and etcdserverpb/rpc.proto).
Hot types are NamedTuples; none of them is changed after it was made. Their annotations are real
types, here and wherever a store loads a NamedTuple: one that is text is compiled, and the first to
be compiled in a process costs as much as importing this module.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from kvstore.keys import KeyRange

__all__ = [
    "CompactResult",
    "Compare",
    "CompareResult",
    "CompareTarget",
    "DeleteRangeOp",
    "DeleteRangeResult",
    "Event",
    "EventType",
    "KeyValue",
    "Lease",
    "LeaseStatus",
    "Op",
    "OpResult",
    "PutOp",
    "PutResult",
    "RangeOp",
    "RangeResult",
    "SortOrder",
    "SortTarget",
    "StoreStatus",
    "Txn",
    "TxnResult",
    "WatchCreate",
    "WatchFilter",
    "WatchMessage",
]


class KeyValue(NamedTuple):
    """One version of one key. The `kv` of a DELETE event has only `key` and `mod_revision`."""

    key: bytes
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0


class EventType(IntEnum):
    PUT = 0
    DELETE = 1


class Event(NamedTuple):
    """A change of one key; `prev_kv` only where asked for, existing and not compacted."""

    type: EventType
    kv: KeyValue
    prev_kv: KeyValue | None = None

    @property
    def is_create(self) -> bool:
        return self.type == EventType.PUT and self.kv.create_revision == self.kv.mod_revision


class SortOrder(IntEnum):
    NONE = 0
    ASCEND = 1
    DESCEND = 2


class SortTarget(IntEnum):
    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class CompareResult(IntEnum):
    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class CompareTarget(IntEnum):
    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class RangeOp(NamedTuple):
    """Read the live keys of an interval.

    `revision` 0 or less reads the newest state (inside a txn a negative one is taken literally).
    `limit` 0 or less is no limit. The min/max bounds are inclusive, 0 is off. `sort_order` and
    `sort_target` are plain ints so that an unknown number can be refused with etcd's text.
    """

    range: KeyRange
    limit: int = 0
    revision: int = 0
    sort_order: int = SortOrder.NONE
    sort_target: int = SortTarget.KEY
    serializable: bool = False
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


class PutOp(NamedTuple):
    key: bytes
    value: bytes = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


class DeleteRangeOp(NamedTuple):
    range: KeyRange
    prev_kv: bool = False


class Compare(NamedTuple):
    """`stored <result> operand` for every key of the interval.

    `target` and `result` are plain ints (an unknown one behaves as etcd's does). `operand` is bytes
    for VALUE and an int for every other target; None when the request named none or another.
    """

    range: KeyRange
    target: int
    result: int
    operand: int | bytes | None


class Txn(NamedTuple):
    """If all compares hold run `success`, else `failure`; all writes share one revision.

    An op of None is a request op with nothing set: it is refused.
    """

    compares: Sequence[Compare] = ()
    success: Sequence["Op | None"] = ()
    failure: Sequence["Op | None"] = ()


Op: TypeAlias = RangeOp | PutOp | DeleteRangeOp | Txn


class RangeResult(NamedTuple):
    """`kvs` in the order asked for; `count` counts the whole interval, before limit and filters.

    `revision` is the header revision: the store's revision at the time of the read.
    """

    revision: int
    kvs: Sequence[KeyValue]
    more: bool
    count: int  # type: ignore[assignment]  # etcd's name hides tuple.count, which nobody needs here


class PutResult(NamedTuple):
    revision: int
    prev_kv: KeyValue | None = None


class DeleteRangeResult(NamedTuple):
    revision: int
    deleted: int
    prev_kvs: Sequence[KeyValue] = ()


class TxnResult(NamedTuple):
    """`revision` is 0 for a nested result, as its header is empty on the wire."""

    revision: int
    succeeded: bool
    responses: Sequence["OpResult"]


OpResult: TypeAlias = RangeResult | PutResult | DeleteRangeResult | TxnResult


class CompactResult(NamedTuple):
    revision: int


class Lease(NamedTuple):
    """A granted lease; `ttl_s` is the real TTL in whole seconds. `revision` is the header's."""

    id: int
    ttl_s: int
    revision: int = 0


class LeaseStatus(NamedTuple):
    """`ttl_s` -1 when the lease is unknown. `keys` only when asked for, sorted."""

    id: int
    ttl_s: int
    granted_ttl_s: int
    keys: Sequence[bytes] = ()
    revision: int = 0


class WatchFilter(IntEnum):
    NOPUT = 0
    NODELETE = 1


class WatchCreate(NamedTuple):
    """Watch an interval. `start_revision` 0: from now on; else every event from it on.

    `watch_id` 0: the stream picks one. An empty key means the key of one zero byte.
    """

    range: KeyRange
    start_revision: int = 0
    watch_id: int = 0
    prev_kv: bool = False
    filters: Sequence[int] = ()
    progress_notify: bool = False
    fragment: bool = False


class WatchMessage(NamedTuple):
    """One message of a watch stream, a watch response before fragmenting.

    created: `created`; refused: `created` and `canceled`, `watch_id` -1 and `cancel_reason`;
    canceled: `canceled` (with `compact_revision` when compaction ended it); progress: no events;
    else `events`, whole revisions only. `revision` is the header's.
    """

    watch_id: int
    revision: int
    events: Sequence[Event] = ()
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    fragment: bool = False
    """In a message handed out by a store: the watcher asked for fragmenting."""


class StoreStatus(NamedTuple):
    """What a store says of itself. `write_index` grows with every write request."""

    revision: int
    compact_revision: int
    db_size_bytes: int
    db_size_in_use_bytes: int
    write_index: int
    keys: int
    leases: int
    watchers: int
