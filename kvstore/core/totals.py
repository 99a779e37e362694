"""What an engine did since it was made: plain integers, added to where it decides and shows.

They only grow. A decision that a failed commit took back was made all the same and stays counted.
What counts as one is etcd's (server/storage/mvcc/metrics_txn.go): a transaction's operations count
each for itself, and the transaction when there is more than one of them.
"""

from __future__ import annotations

__all__ = ["LEASE_TTL_BOUNDS_S", "Totals"]

LEASE_TTL_BOUNDS_S = tuple(2**power for power in range(24))
"""Upper bounds of the classes that granted TTLs are counted by; one more class is above them."""


class Totals:
    __slots__ = (
        "compacted_records",
        "decided_bytes",
        "deletes",
        "events",
        "lease_ttl_sum_s",
        "lease_ttls",
        "leases_expired",
        "leases_granted",
        "leases_renewed",
        "leases_revoked",
        "puts",
        "ranges",
        "txns",
    )

    def __init__(self) -> None:
        self.ranges = self.puts = self.deletes = 0
        """Operations. A delete counts once, however many keys it removed; of what a lease took
        along, each key counts as one."""
        self.txns = 0
        """Transactions of more than one operation."""
        self.events = 0
        """Handed to the consumers of watch streams."""
        self.leases_granted = self.leases_renewed = self.leases_expired = 0
        self.leases_revoked = 0
        """The expired ones among them."""
        self.lease_ttls = [0] * (len(LEASE_TTL_BOUNDS_S) + 1)
        """Leases granted, by the class of their TTL."""
        self.lease_ttl_sum_s = 0
        self.compacted_records = 0
        """Records that compactions removed."""
        self.decided_bytes = 0
        """Of the decisions that went into commits, a commit that was repeated counted once."""

    def grant(self, ttl_s: int) -> None:
        """A lease was granted for `ttl_s`, at least 1."""
        self.leases_granted += 1
        self.lease_ttls[min((ttl_s - 1).bit_length(), len(LEASE_TTL_BOUNDS_S))] += 1
        self.lease_ttl_sum_s += ttl_s
