"""Leases, the keys attached to them and when they end (etcd server/lease/lessor.go).

Times are seconds on a clock that the caller reads and passes in. One heap entry a lease: a renewal
only moves `expires_at`, and an entry that comes up too early is pushed again with the real time.

An exception may come at any point, from the outside, too (Ctrl-C): `changed` has the leases of the
decision that is being made as they were before, for `take_back`; what is attached to them follows
from the keys' records.
"""

from __future__ import annotations

import heapq

__all__ = ["LeaseState", "Lessor"]


class LeaseState:
    __slots__ = ("expires_at", "granted_at", "id", "keys", "ttl_s")

    def __init__(self, lease_id: int, ttl_s: int, expires_at: float) -> None:
        self.id, self.ttl_s, self.expires_at = lease_id, ttl_s, expires_at
        self.granted_at = 0
        """The sequence of the grant; 0 when it was read from disk."""
        self.keys: set[bytes] = set()


class Lessor:
    def __init__(self) -> None:
        self._leases: dict[int, LeaseState] = {}
        self._of_key: dict[bytes, int] = {}
        self._heap: list[tuple[float, int]] = []
        self.changed: dict[int, LeaseState | None] = {}
        """By id, None: there was none; whoever decides puts an empty dict here."""

    def __repr__(self) -> str:
        return f"Lessor({len(self._leases)} leases, {len(self._of_key)} keys)"

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, lease_id: object) -> bool:
        return lease_id in self._leases

    def get(self, lease_id: int) -> LeaseState | None:
        return self._leases.get(lease_id)

    def grant(self, lease_id: int, ttl_s: int, now: float) -> LeaseState:
        """The caller has checked that the id is free."""
        lease = LeaseState(lease_id, ttl_s, now + ttl_s)
        self.changed.setdefault(lease_id, self._leases.get(lease_id))
        self._leases[lease_id] = lease
        heapq.heappush(self._heap, (lease.expires_at, lease_id))
        return lease

    def remove(self, lease_id: int) -> None:
        """Forget a lease; its keys are attached to nothing any more."""
        lease = self._leases.get(lease_id)
        self.changed.setdefault(lease_id, lease)
        for key in lease.keys if lease else ():
            self._of_key.pop(key, None)
        self._leases.pop(lease_id, None)
        if len(self._heap) > 2 * len(self._leases) + 64:  # mostly entries of leases long gone
            self._push_all()

    def take_back(self) -> None:
        """The leases of an unfinished decision are as before; attach its keys again after it."""
        for lease_id, lease in self.changed.items():
            if lease is None:
                self._leases.pop(lease_id, None)
            else:
                self._leases[lease_id] = lease
                self._of_key.update(dict.fromkeys(lease.keys, lease_id))
        if self.changed:
            self._push_all()

    def _push_all(self) -> None:
        heap = [(lease.expires_at, lease.id) for lease in self._leases.values()]
        heapq.heapify(heap)
        self._heap = heap

    def attach(self, key: bytes, lease_id: int) -> None:
        """Move a key to a lease; 0, or an unknown one, only detaches it."""
        if self._of_key.get(key, 0) != lease_id:
            self.reattach(key, lease_id)

    def reattach(self, key: bytes, lease_id: int) -> None:
        """As `attach`, in any state that an exception leaves."""
        old = self._leases.get(self._of_key.get(key, 0))
        if old is not None:
            old.keys.discard(key)
        lease = self._leases.get(lease_id)
        if lease is None:
            self._of_key.pop(key, None)
        else:
            self._of_key[key] = lease_id  # first: it names the one lease that may have the key
            lease.keys.add(key)

    def lease_of(self, key: bytes) -> int:
        return self._of_key.get(key, 0)

    def renew(self, lease_id: int, now: float) -> int:
        """Start the TTL again; returns it, 0 when the lease is unknown or its time is up."""
        lease = self._leases.get(lease_id)
        if lease is None or lease.expires_at <= now:
            return 0
        lease.expires_at = now + lease.ttl_s
        return lease.ttl_s

    def remaining_s(self, lease: LeaseState, now: float) -> int:
        """Whole seconds left, cut off towards zero; below it once long expired and not revoked."""
        return int(lease.expires_at - now)

    def by_remaining(self) -> list[int]:
        """Ids, the soonest to expire first."""
        return sorted(self._leases, key=lambda i: (self._leases[i].expires_at, i))

    def due(self, now: float, limit: int) -> list[int]:
        """Up to `limit` leases whose time is up, soonest first; again each time until removed."""
        try:
            return self._take_due(now, limit)
        except BaseException:
            self._push_all()
            raise

    def _take_due(self, now: float, limit: int) -> list[int]:
        due: list[int] = []
        again: dict[int, float] = {}
        heap = self._heap
        while heap and heap[0][0] <= now and len(due) < limit:
            _, lease_id = heapq.heappop(heap)
            lease = self._leases.get(lease_id)
            if lease is None or lease_id in again:
                continue  # an entry of a lease that is gone, or was granted anew
            again[lease_id] = lease.expires_at
            if lease.expires_at <= now:
                due.append(lease_id)
        for lease_id, expires_at in again.items():
            heapq.heappush(heap, (expires_at, lease_id))
        due.sort(key=lambda lease_id: again[lease_id])
        return due

    def next_expiry(self) -> float | None:
        """When to look again: never too late, perhaps too early. None without leases."""
        while self._heap and self._heap[0][1] not in self._leases:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def check(self) -> list[str]:
        wrong = [
            f"lease {lease.id:x} does not know its key {key!r}"
            for key, lease_id in self._of_key.items()
            if (lease := self._leases.get(lease_id)) is not None and key not in lease.keys
        ]
        wrong += [
            f"key {key!r} of lease {lease.id:x} is attached to {self._of_key.get(key, 0):x}"
            for lease in self._leases.values()
            for key in lease.keys
            if self._of_key.get(key) != lease.id
        ]
        wrong += [
            f"key {key!r} is attached to the unknown lease {lease_id:x}"
            for key, lease_id in self._of_key.items()
            if lease_id not in self._leases
        ]
        return wrong
