"""What an engine did since it was made: plain integers, added to where it decides and shows.

They only grow. A decision that a failed commit took back was made all the same and stays counted.
What counts as one is etcd's (server/storage/mvcc/metrics_txn.go): a transaction's operations count
each for itself, and the transaction when there is more than one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["LEASE_TTL_BOUNDS_S", "Totals"]

LEASE_TTL_BOUNDS_S = tuple(2**power for power in range(24))
"""Upper bounds of the classes that granted TTLs are counted by; one more class is above them."""


@dataclass(slots=True)
class Totals:
    ranges: int = 0
    puts: int = 0
    deletes: int = 0
    """Delete operations, however many keys each removed; and each key that a lease took along."""
    txns: int = 0
    """Transactions of more than one operation."""
    events: int = 0
    """Handed to the consumers of watch streams."""
    leases_granted: int = 0
    leases_revoked: int = 0
    """The expired ones among them."""
    leases_renewed: int = 0
    leases_expired: int = 0
    lease_ttls: list[int] = field(default_factory=lambda: [0] * (len(LEASE_TTL_BOUNDS_S) + 1))
    """Leases granted, by the class of their TTL."""
    lease_ttl_sum_s: int = 0
    compacted_records: int = 0
    """Records that compactions removed."""
    decided_bytes: int = 0
    """Of the decisions that went into commits, a commit that was repeated counted once."""

    def grant(self, ttl_s: int) -> None:
        """A lease was granted for `ttl_s`, at least 1."""
        self.leases_granted += 1
        self.lease_ttls[min((ttl_s - 1).bit_length(), len(LEASE_TTL_BOUNDS_S))] += 1
        self.lease_ttl_sum_s += ttl_s
