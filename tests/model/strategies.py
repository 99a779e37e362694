"""Random requests over a universe so small that everything meets everything.

Revisions are drawn relative to the newest one; `anchored` puts the real numbers in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvstore.keys import ALL_KEYS, FROM_KEY, KeyRange
from kvstore.types import (
    Compare,
    CompareTarget,
    DeleteRangeOp,
    Op,
    PutOp,
    RangeOp,
    SortOrder,
    SortTarget,
    Txn,
    WatchCreate,
    WatchFilter,
)

__all__ = [
    "KEYS",
    "LEASES",
    "anchored",
    "backs",
    "key_ranges",
    "range_ops",
    "revision_of",
    "txns",
    "watches",
]

T = TypeVar("T")
KEYS = (b"a", b"a/b", b"b", b"c")
LEASES = (1, 2, -3)

keys = st.sampled_from(KEYS)
values = st.sampled_from((b"", b"x", b"y", b"zz"))
lease_ids = st.sampled_from((0, 0, 0, *LEASES))
backs = st.sampled_from((0, 0, 0, 0, 1, 1, 2, 3, 5, 8, -1))
"""How far before the newest revision; 0 asks for the newest, -1 for one that does not exist yet."""


@st.composite
def _drawn(draw: st.DrawFn, kind: Callable[..., T], fields: dict[str, SearchStrategy[Any]]) -> T:
    return kind(**{name: draw(field) for name, field in fields.items()})


def _built(kind: Callable[..., T], **fields: SearchStrategy[Any]) -> SearchStrategy[T]:
    """Only these fields are drawn; `st.builds` would fill a NamedTuple's defaulted ones too."""
    return _drawn(kind, fields)


def key_ranges() -> SearchStrategy[KeyRange]:
    """One key, a half-open interval (also an inverted one), from a key on, a prefix, all."""
    return st.one_of(
        keys.map(KeyRange),
        _built(KeyRange, key=keys, range_end=keys),
        keys.map(lambda key: KeyRange(key, FROM_KEY)),
        keys.map(KeyRange.prefix),
        st.just(ALL_KEYS),
    )


def range_ops() -> SearchStrategy[RangeOp]:
    bound = st.sampled_from((0, 0, 0, 0, 2, 3, 5))
    plain = _built(
        RangeOp, range=key_ranges(), limit=st.sampled_from((0, 0, 1, 2, 3, -1)), revision=backs
    )
    fancy = _built(
        RangeOp,
        range=key_ranges(),
        limit=st.integers(0, 3),
        revision=backs,
        sort_order=st.sampled_from(SortOrder),
        sort_target=st.sampled_from(SortTarget),
        keys_only=st.booleans(),
        count_only=st.booleans(),
        min_mod_revision=bound,
        max_mod_revision=bound,
        min_create_revision=bound,
        max_create_revision=bound,
    )
    return st.one_of(plain, fancy)


def compares() -> SearchStrategy[Compare]:
    ranges, results = key_ranges(), st.integers(0, 4)
    of_any = st.one_of(
        st.tuples(ranges, st.integers(0, 5), results, st.integers(0, 4)),
        st.tuples(ranges, st.just(CompareTarget.VALUE), results, values),
        st.tuples(ranges, st.integers(0, 4), results, st.none()),
    )
    return of_any.map(lambda fields: Compare(*fields))


def _puts() -> SearchStrategy[PutOp]:
    plain = _built(PutOp, key=keys, value=values, lease=lease_ids, prev_kv=st.booleans())
    keeping = _built(
        PutOp,
        key=keys,
        value=st.sampled_from((b"", b"", b"", b"x")),
        lease=st.sampled_from((0, 0, 0, 1)),
        prev_kv=st.booleans(),
        ignore_value=st.booleans(),
        ignore_lease=st.booleans(),
    )
    return st.one_of(plain, plain, plain, keeping)


def _ops() -> SearchStrategy[Op]:
    deletes = _built(DeleteRangeOp, range=key_ranges(), prev_kv=st.booleans())
    return st.one_of(_puts(), deletes, range_ops())


def _txns_of(ops: SearchStrategy[Op]) -> SearchStrategy[Txn]:
    branch = st.lists(ops, max_size=3).map(tuple)
    return _built(
        Txn, compares=st.lists(compares(), max_size=2).map(tuple), success=branch, failure=branch
    )


def _all_txns() -> SearchStrategy[Txn]:
    deletes = _built(DeleteRangeOp, range=key_ranges(), prev_kv=st.booleans())
    single = st.one_of(_puts(), _puts(), deletes).map(lambda op: Txn(success=(op,)))
    flat = _txns_of(_ops())
    nested = _txns_of(st.one_of(_ops(), flat, _txns_of(st.one_of(_ops(), flat))))
    return st.one_of(single, single, flat, nested)


_TXNS = _all_txns()


@st.composite
def txns(draw: st.DrawFn) -> Txn:
    """Single puts and deletes mostly, then flat transactions, then nested ones."""
    return draw(_TXNS)


def watches() -> SearchStrategy[WatchCreate]:
    return _built(
        WatchCreate,
        range=key_ranges(),
        start_revision=backs,
        watch_id=st.sampled_from((0, 0, 0, 7)),
        prev_kv=st.booleans(),
        progress_notify=st.booleans(),
        filters=st.sampled_from(((), (), (), (WatchFilter.NOPUT,), (WatchFilter.NODELETE,))),
    )


def revision_of(back: int, head: int) -> int:
    """1 is the newest revision, 2 the one before it; 0 stays 0."""
    return back if back == 0 else max(head - back + 1, -1) if back > 0 else head + 1


def anchored(op: Op, head: int) -> Op:
    """The same request with revisions counted back from `head` turned into revisions."""
    match op:
        case RangeOp():
            return op._replace(revision=revision_of(op.revision, head))
        case Txn():
            return Txn(
                tuple(_anchored_compare(compare, head) for compare in op.compares),
                tuple(anchored(inner, head) for inner in op.success if inner is not None),
                tuple(anchored(inner, head) for inner in op.failure if inner is not None),
            )
    return op


def _anchored_compare(compare: Compare, head: int) -> Compare:
    if compare.target in (CompareTarget.CREATE, CompareTarget.MOD) and compare.operand:
        assert isinstance(compare.operand, int)
        return compare._replace(operand=head - compare.operand + 1)
    return compare
