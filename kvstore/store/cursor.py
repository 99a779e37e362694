"""Reading a large range in pieces, all at one revision."""

from __future__ import annotations

from kvstore.core.engine import Engine
from kvstore.core.mvcc.ranges import as_values
from kvstore.core.mvcc.record import key_of
from kvstore.core.mvcc.validate import check_range
from kvstore.keys import KeyRange
from kvstore.limits import (
    RANGE_FIRST_SLICE_KEYS,
    RANGE_SLICE_BYTES,
    RANGE_SLICE_KEYS,
    STREAM_FIRST_CHUNK_KEYS,
)
from kvstore.types import RangeOp, RangeResult, SortOrder, SortTarget

__all__ = ["RangeChunks", "RangeCursor", "is_plain", "is_small"]


def is_plain(op: RangeOp) -> bool:
    """Does it read in key order without filters, so that it can be read piece by piece?"""
    return (
        op.sort_order in (SortOrder.NONE, SortOrder.ASCEND)
        and op.sort_target == SortTarget.KEY
        and not op.min_mod_revision
        and not op.max_mod_revision
        and not op.min_create_revision
        and not op.max_create_revision
    )


def is_small(engine: Engine, op: RangeOp) -> bool:
    """Is it soon answered in one go?"""
    if op.range.is_single or 0 < op.limit <= RANGE_SLICE_KEYS:
        return True
    if op.count_only:
        return op.revision <= 0 or op.revision == engine.durable
    return engine.index.count_known(op.range) <= RANGE_SLICE_KEYS


class RangeCursor:
    """A plain range at a pinned revision. The total and the header are of the beginning."""

    def __init__(self, engine: Engine, op: RangeOp) -> None:
        """Raises KeyNotProvided, InvalidSortOption, Compacted, FutureRevision."""
        check_range(op)
        self._engine, self._op = engine, op
        self._revision = engine.read_revision(op.revision)
        engine.totals.ranges += 1
        self.header = engine.durable
        self.count = engine.index.count(op.range, self._revision, published=engine.durable)
        self._wanted = self.count if op.limit <= 0 else min(op.limit, self.count)
        self._range = op.range
        self.records_read = 0
        self._slice_keys = RANGE_FIRST_SLICE_KEYS

    @property
    def is_done(self) -> bool:
        return self._op.count_only or self.records_read >= self._wanted

    def read(self, limit: int) -> list[bytes]:
        """The next records, at most `limit`. Raises Compacted."""
        limit = min(limit, self._wanted - self.records_read)
        records = self._engine.records_at(self._range, self._revision, limit)
        self.records_read += len(records)
        if records:
            self._range = KeyRange(key_of(records[-1]) + b"\x00", self._op.range.range_end)
        return records

    def read_slice(self) -> list[bytes]:
        """The next records, as many as should be read in one go. Raises Compacted."""
        records = self.read(self._slice_keys)
        size = sum(map(len, records))
        fitting = RANGE_SLICE_BYTES * len(records) // max(1, size)
        self._slice_keys = min(max(1, fitting), RANGE_SLICE_KEYS)
        return records

    def result(self, records: list[bytes]) -> RangeResult:
        """The answer as `range` gives it, from all records read."""
        more = not self._op.count_only and self._wanted < self.count
        return RangeResult(self.header, as_values(self._op, records), more, self.count)


class RangeChunks:
    """The chunks of a RangeStream: ten keys first, then doubling or halving by encoded size.

    Source: etcd server/etcdserver/v3_server.go rangeStream.
    """

    def __init__(self, engine: Engine, op: RangeOp, max_request_bytes: int) -> None:
        self._cursor, self._op = RangeCursor(engine, op), op
        self._max_bytes = max_request_bytes
        self._limit = STREAM_FIRST_CHUNK_KEYS if op.limit >= 0 else self._cursor.count
        self._ended = False

    def next(self) -> RangeResult | None:
        """The next chunk; None after the last, the one with revision, more and count."""
        if self._ended:
            return None
        cursor = self._cursor
        records = [] if cursor.is_done else cursor.read(self._limit)
        size = sum(map(len, records))
        if size < self._max_bytes / 2:
            self._limit *= 2
        elif size > 2 * self._max_bytes:
            self._limit = max(1, self._limit // 2)
        if cursor.is_done:
            self._ended = True
            return cursor.result(records)
        return RangeResult(0, as_values(self._op, records), False, 0)
