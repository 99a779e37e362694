"""A backend snapshot seen as the core's RecordReader."""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.backend.interface import Backend, Snapshot, Table
from kvstore.core.mvcc.revision import REVISION_BYTES
from kvstore.store.rows import lease_key, lease_row
from kvstore.verify import invariant

__all__ = ["SnapshotReader"]


class SnapshotReader:
    """Keeps one snapshot open; `refresh` before the engine publishes, `pause` around `grow`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._snapshot: Snapshot = backend.snapshot()
        self._get = self._snapshot.get

    def get(self, packed: int) -> bytes:
        found = self._get(Table.LOG, packed.to_bytes(REVISION_BYTES, "big"))
        if found is None:
            invariant(False, "the log misses a revision of the index", packed=hex(packed))
        assert found is not None
        return found

    def get_many(self, packed: Sequence[int]) -> list[bytes]:
        if len(packed) == 1:
            return [self.get(packed[0])]
        if not packed:
            return []
        keys = [one.to_bytes(REVISION_BYTES, "big") for one in packed]
        return self._snapshot.get_many(Table.LOG, keys)

    def scan(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        rows = self._snapshot.scan(Table.LOG, first.to_bytes(REVISION_BYTES, "big"), limit)
        return [(int.from_bytes(key, "big"), record) for key, record in rows]

    def lease_ttl_s(self, lease_id: int) -> int | None:
        key = lease_key(lease_id)
        row = self._snapshot.get(Table.LEASE, key)
        return None if row is None else lease_row(key, row)[1]

    def refresh(self) -> None:
        self._snapshot.refresh()

    def pause(self) -> None:
        self._snapshot.close()

    def resume(self) -> None:
        self._snapshot = self._backend.snapshot()
        self._get = self._snapshot.get

    def close(self) -> None:
        self._snapshot.close()
