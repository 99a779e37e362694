"""What both shells do alike: start an engine, tell its state, check that it is sound."""

from __future__ import annotations

from kvstore.backend.damage import UNREADABLE, damaged
from kvstore.backend.interface import Backend
from kvstore.core.engine import Engine
from kvstore.store.options import StoreOptions
from kvstore.store.reader import SnapshotReader
from kvstore.store.recovery import recover
from kvstore.types import StoreStatus
from kvstore.verify import VERIFY, invariant

__all__ = ["start_engine", "status_of", "verify"]


def start_engine(backend: Backend, options: StoreOptions) -> tuple[Engine, SnapshotReader]:
    """Read the backend. O(records). Raises CorruptStore."""
    try:
        recovered = recover(backend)
    except UNREADABLE as error:
        raise damaged(f"the data cannot be read: {error!r}") from error
    reader = SnapshotReader(backend)
    engine = Engine(
        reader,
        recovered,
        now=options.clock(),
        max_txn_ops=options.max_txn_ops,
        min_lease_ttl_s=options.min_lease_ttl_s,
        max_request_bytes=options.max_request_bytes,
    )
    verify(engine)
    return engine, reader


def verify(engine: Engine) -> None:
    """With KVSTORE_VERIFY=1: raise InvariantBroken unless the engine is sound. O(keys)."""
    if VERIFY:
        wrong = engine.check()
        invariant(not wrong, "the engine is not sound", wrong=wrong[:5])


def status_of(engine: Engine, backend: Backend) -> StoreStatus:
    allocated, in_use = backend.size_bytes()
    return StoreStatus(
        engine.durable,
        engine.compacted,
        allocated,
        in_use,
        engine.write_index,
        len(engine.index),
        len(engine.lessor),
        engine.hub.watchers,
    )
