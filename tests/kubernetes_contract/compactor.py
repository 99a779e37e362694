"""The compactor of one kube-apiserver, cycle by cycle instead of each five minutes."""

from __future__ import annotations

from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.storage import Storage

__all__ = ["Compactor"]


class Compactor:
    """`version` and `revision` are what the last cycle learned; `compacted` what this one did."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.version = self.revision = 0
        self.compacted: list[int] = []

    def cycle(self) -> bool:
        """Compact at the revision of the cycle before, unless another compactor was first.

        Returns whether it won. Whoever loses learns the version to compete with next time.
        """
        response = self._storage.txn(shapes.compactor_txn(self.version, self.revision))
        before, self.revision = self.revision, response.header.revision
        if not response.succeeded:
            self.version = response.responses[0].response_range.kvs[0].version
            return False
        self.version += 1
        if before:
            self._storage.compact(shapes.compact(before))
            self.compacted.append(before)
        return True
