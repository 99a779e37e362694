"""A range over the index: limit, filters, order, count (etcd server/etcdserver/txn/range.go)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final

from kvstore.core.mvcc.record import KeyRecords, Records, decode, numbers_of
from kvstore.core.mvcc.tree_index import TreeIndex
from kvstore.types import KeyValue, RangeOp, RangeResult, SortOrder, SortTarget

__all__ = ["as_values", "read_range"]

_SORT_KEYS: dict[int, Callable[[KeyValue], int | bytes]] = {
    SortTarget.KEY: lambda kv: kv.key,
    SortTarget.VERSION: lambda kv: kv.version,
    SortTarget.CREATE: lambda kv: kv.create_revision,
    SortTarget.MOD: lambda kv: kv.mod_revision,
    SortTarget.VALUE: lambda kv: kv.value,
}

_MOST_KEYS: Final = sys.maxsize - 1
"""A limit above this is none: one more than the limit is looked for, which has to be countable."""


def read_range(
    index: TreeIndex,
    op: RangeOp,
    main: int,
    *,
    published: int,
    fetch: Callable[[Sequence[int]], list[bytes]],
    header: int,
) -> RangeResult:
    """Answer `op` from the state at revision `main`.

    `published` is the durable revision, `fetch` gives the records of packed revisions and `header`
    is the revision to answer with. A sort or a filter looks at the whole interval before the limit
    cuts; only the sort by another target in no stated order does not: there etcd sorts just the
    first limit+1 keys.
    """
    if op.count_only:
        return RangeResult(header, (), False, index.count(op.range, main, published=published))
    limit = min(max(op.limit, 0), _MOST_KEYS)
    is_filtered = (
        op.min_mod_revision
        or op.max_mod_revision
        or op.min_create_revision
        or op.max_create_revision
    )
    by_key = op.sort_target == SortTarget.KEY
    descending = op.sort_order == SortOrder.DESCEND
    sorts_all = op.sort_order != SortOrder.NONE and not by_key
    fetch_limit = limit + 1 if limit and not is_filtered and not sorts_all else 0
    revisions = index.revisions(
        op.range,
        main,
        live=main == published,
        limit=fetch_limit,
        reverse=descending and by_key,
    )
    if fetch_limit and len(revisions) >= fetch_limit:
        count = index.count(op.range, main, published=published)
    else:
        count = len(revisions)
    if fetch_limit and by_key and len(revisions) > limit:
        del revisions[limit:]
        return RangeResult(header, as_values(op, fetch(revisions)), True, count)
    records = fetch(revisions)
    if is_filtered:
        records = _filter(op, records)
    if not by_key:
        records.sort(key=lambda r: _SORT_KEYS[op.sort_target](decode(r)), reverse=descending)
    more = bool(limit) and len(records) > limit
    if more:
        del records[limit:]
    return RangeResult(header, as_values(op, records), more, count)


def as_values(op: RangeOp, records: list[bytes]) -> Sequence[KeyValue]:
    """Records as what `op` asked for: whole, or keys only."""
    if not op.keys_only:
        return Records(records)
    if op.sort_target == SortTarget.VALUE:
        return [decode(record)._replace(value=b"") for record in records]
    return KeyRecords(records)


def _filter(op: RangeOp, records: list[bytes]) -> list[bytes]:
    kept = []
    for record in records:
        create, mod, _, _ = numbers_of(record)
        if (
            (not op.min_mod_revision or mod >= op.min_mod_revision)
            and (not op.max_mod_revision or mod <= op.max_mod_revision)
            and (not op.min_create_revision or create >= op.min_create_revision)
            and (not op.max_create_revision or create <= op.max_create_revision)
        ):
            kept.append(record)
    return kept
