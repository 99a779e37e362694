"""What a shell may be told: bounds, and where time and ids come from."""

import os
import time
from collections.abc import Callable, Container
from typing import NamedTuple

from kvstore import limits

__all__ = ["StoreOptions", "random_lease_id"]


def random_lease_id() -> int:
    """A positive int64, not 0."""
    return int.from_bytes(os.urandom(8)) >> 1 or 1


class StoreOptions(NamedTuple):
    """`clock` gives monotonic seconds; `next_id` proposes lease ids."""

    max_txn_ops: int = limits.MAX_TXN_OPS
    max_request_bytes: int = limits.MAX_REQUEST_BYTES
    min_lease_ttl_s: int = limits.MIN_LEASE_TTL_S
    progress_notify_interval_s: float = limits.PROGRESS_NOTIFY_INTERVAL_S
    compaction_batch_limit: int = limits.COMPACTION_BATCH_KEYS
    compaction_sleep_s: float = limits.COMPACTION_SLEEP_S
    clock: Callable[[], float] = time.monotonic
    next_id: Callable[[], int] = random_lease_id

    def free_lease_id(self, taken: Container[int]) -> int:
        """An id from `next_id` that no lease has."""
        while True:
            lease_id = self.next_id()
            if lease_id and lease_id not in taken:
                return lease_id
