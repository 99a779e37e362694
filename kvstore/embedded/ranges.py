"""Ranges: lazy, re-iterable sequences of keys at one revision, read a page at a time.

    op ──first page──> kvs, more ──next_page──> op of the rest ──> … until more is false

No snapshot is held between two pages; the pinned revision keeps them one state. A compaction
above that revision ends the iteration with Compacted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

from kvstore.keys import KeyRange
from kvstore.types import KeyValue, RangeOp, RangeResult, SortOrder

__all__ = ["PAGE_KEYS", "AsyncRange", "Range", "first_page", "next_page"]

PAGE_KEYS: Final = 1000
"""Keys read at once."""


def first_page(op: RangeOp) -> RangeOp:
    """The read that begins `op`."""
    return op._replace(limit=min(op.limit or PAGE_KEYS, PAGE_KEYS))


def next_page(op: RangeOp, page: RangeResult) -> RangeOp | None:
    """What is left of `op` after `page`, the answer to `first_page(op)`; None when nothing is."""
    left = op.limit - len(page.kvs) if op.limit else 0
    if not page.more or (op.limit and left <= 0):
        return None
    return op._replace(range=_beyond(op, page.kvs[-1].key), limit=left)


def _beyond(op: RangeOp, last: bytes) -> KeyRange:
    if op.sort_order == SortOrder.DESCEND:
        return KeyRange(op.range.key, last)
    return KeyRange(last + b"\x00", op.range.range_end)


class _RangeBase:
    __slots__ = ("_op",)

    def __init__(self, op: RangeOp) -> None:
        self._op = op

    @property
    def revision(self) -> int:
        """The revision every iteration reads at."""
        return self._op.revision

    @property
    def _count_op(self) -> RangeOp:
        return self._op._replace(count_only=True, limit=0)

    def _bounded(self, count: int) -> int:
        return min(count, self._op.limit) if self._op.limit else count

    def __repr__(self) -> str:
        op = self._op
        return f"{type(self).__name__}({op.range!r}, revision={op.revision}, limit={op.limit})"


class Range(_RangeBase):
    """The keys of an interval at one revision; each `iter()` reads them again.

    Iterating raises Compacted when the revision is compacted meanwhile, StoreClosed after close.
    """

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[RangeOp], RangeResult], op: RangeOp) -> None:
        super().__init__(op)
        self._read = read

    def __iter__(self) -> Iterator[KeyValue]:
        op: RangeOp | None = self._op
        while op is not None:
            page = self._read(first_page(op))
            yield from page.kvs
            op = next_page(op, page)

    def first(self) -> KeyValue | None:
        """The first key an iteration would give; None when there is none."""
        page = self._read(self._op._replace(limit=1))
        return page.kvs[0] if page.kvs else None

    def count(self) -> int:
        """How many keys an iteration would give, without reading them."""
        return self._bounded(self._read(self._count_op).count)


class AsyncRange(_RangeBase):
    """As Range, for `async for`; `first` and `count` are awaited."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[RangeOp], Awaitable[RangeResult]], op: RangeOp) -> None:
        super().__init__(op)
        self._read = read

    async def __aiter__(self) -> AsyncIterator[KeyValue]:
        op: RangeOp | None = self._op
        while op is not None:
            page = await self._read(first_page(op))
            for kv in page.kvs:
                yield kv
            op = next_page(op, page)

    async def first(self) -> KeyValue | None:
        """As Range.first."""
        page = await self._read(self._op._replace(limit=1))
        return page.kvs[0] if page.kvs else None

    async def count(self) -> int:
        """As Range.count."""
        return self._bounded((await self._read(self._count_op)).count)
