"""Every error a store can raise, without any transport's codes.

    StoreError
    ├── InvalidRequest            the request is wrong whatever the store holds
    │   ├── KeyNotProvided            EmptyKey of a range, put, delete, compare
    │   ├── KeyNotFound               ignore_value / ignore_lease on a missing key; an empty txn op
    │   ├── ValueProvided             ignore_value together with a value
    │   ├── LeaseProvided             ignore_lease together with a lease
    │   ├── TooManyOperations         a txn over its budget of operations
    │   ├── DuplicateKey              a txn branch writes one key twice
    │   ├── InvalidSortOption         an unknown sort order or target
    │   └── RequestTooLarge           a write over max_request_bytes
    ├── StateError                the request is right, the state of the store forbids it
    │   ├── Compacted                 the revision was compacted (`compact_revision`)
    │   ├── FutureRevision            the revision does not exist yet
    │   ├── LeaseNotFound             a put or revoke names an unknown lease
    │   ├── LeaseExists               a grant names a lease that exists
    │   ├── LeaseTtlTooLarge          a grant over 9,000,000,000 seconds
    │   ├── NoSpace                   the quota or the disk is full; nothing was written
    │   ├── WriteRefused              the system lacks what a commit needs; nothing was written
    │   └── TooManyRequests           more undecided bytes wait for the disk than limits allow
    ├── Conflict                  a guarded embedded write found another revision (`actual`)
    ├── WatchCanceled             a watch ended (`compact_revision`, `reason`)
    ├── StoreFailed               a commit's outcome is unknown: no more writes until reopened
    ├── StoreClosed               the store was closed
    ├── NestedCall                a signal handler, or a finalizer, called into a call of its thread
    └── OpenError                 a data directory cannot be opened
        ├── DirectoryLocked           it is open already, in this process or another
        └── CorruptStore              what is on disk breaks an invariant

The messages of InvalidRequest and StateError are etcd's own, letter for letter, because its clients
match on them (etcd api/v3rpc/rpctypes/error.go).
"""

from __future__ import annotations

__all__ = [
    "Compacted",
    "Conflict",
    "CorruptStore",
    "DirectoryLocked",
    "DuplicateKey",
    "FutureRevision",
    "InvalidRequest",
    "InvalidSortOption",
    "KeyNotFound",
    "KeyNotProvided",
    "LeaseExists",
    "LeaseNotFound",
    "LeaseProvided",
    "LeaseTtlTooLarge",
    "NestedCall",
    "NoSpace",
    "OpenError",
    "RequestTooLarge",
    "StateError",
    "StoreClosed",
    "StoreError",
    "StoreFailed",
    "TooManyOperations",
    "TooManyRequests",
    "ValueProvided",
    "WatchCanceled",
    "WriteRefused",
]


class StoreError(Exception):
    """Base of every error of this package; `message` is what str() shows.

    `args` are what the class was called with, so that each can be copied and pickled.
    """

    message = "store error"

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else self.message


class InvalidRequest(StoreError):
    message = "invalid request"


class KeyNotProvided(InvalidRequest):
    message = "etcdserver: key is not provided"


class KeyNotFound(InvalidRequest):
    message = "etcdserver: key not found"


class ValueProvided(InvalidRequest):
    message = "etcdserver: value is provided"


class LeaseProvided(InvalidRequest):
    message = "etcdserver: lease is provided"


class TooManyOperations(InvalidRequest):
    message = "etcdserver: too many operations in txn request"


class DuplicateKey(InvalidRequest):
    message = "etcdserver: duplicate key given in txn request"


class InvalidSortOption(InvalidRequest):
    message = "etcdserver: invalid sort option"


class RequestTooLarge(InvalidRequest):
    message = "etcdserver: request is too large"


class StateError(StoreError):
    message = "the state of the store forbids the request"


class Compacted(StateError):
    message = "etcdserver: mvcc: required revision has been compacted"

    def __init__(self, compact_revision: int = 0) -> None:
        super().__init__(compact_revision)
        self.compact_revision = compact_revision

    def __str__(self) -> str:
        return self.message


class FutureRevision(StateError):
    message = "etcdserver: mvcc: required revision is a future revision"


class LeaseNotFound(StateError):
    message = "etcdserver: requested lease not found"


class LeaseExists(StateError):
    message = "etcdserver: lease already exists"


class LeaseTtlTooLarge(StateError):
    message = "etcdserver: too large lease TTL"


class NoSpace(StateError):
    message = "etcdserver: mvcc: database space exceeded"


class WriteRefused(StateError):
    """Of descriptors, memory or alike: the next write may go through."""

    message = "kvstore: the write was refused and nothing of it was written, try again"


class TooManyRequests(StateError):
    message = "etcdserver: too many requests"


class Conflict(StoreError):
    """A guarded write of the embedded API found the key at another revision.

    `key` is the key, `expected` and `actual` are mod revisions, 0 for "does not exist".
    """

    def __init__(self, key: bytes, expected: int, actual: int) -> None:
        super().__init__(key, expected, actual)
        self.key, self.expected, self.actual = key, expected, actual

    def __str__(self) -> str:
        return f"key {self.key!r} is at revision {self.actual}, not {self.expected}"


class WatchCanceled(StoreError):
    """A watch ended; `compact_revision` is not 0 when the history it needed was compacted."""

    def __init__(self, reason: str, compact_revision: int = 0) -> None:
        super().__init__(reason, compact_revision)
        self.reason, self.compact_revision = reason, compact_revision

    def __str__(self) -> str:
        return self.reason or Compacted.message


class StoreFailed(StoreError):
    message = "the store has failed: the outcome of a commit is unknown, reopen it to go on"


class StoreClosed(StoreError):
    message = "etcdserver: server stopped"


class NestedCall(StoreError):
    message = (
        "a signal handler or a finalizer called the store in the middle of a call of its own "
        "thread, where it would wait for itself"
    )


class OpenError(StoreError):
    message = "the store cannot be opened"


class DirectoryLocked(OpenError):
    message = "the data directory is in use by another process"


class CorruptStore(OpenError):
    message = "the data on disk breaks an invariant"
