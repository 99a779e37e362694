"""Reading one state: which keys a range shows, and whether the compares of a txn hold."""

from __future__ import annotations

from kvstore.types import (
    Compare,
    CompareResult,
    CompareTarget,
    KeyValue,
    RangeOp,
    RangeResult,
    SortOrder,
    SortTarget,
    Txn,
)

__all__ = ["State", "select", "succeeds"]

State = dict[bytes, KeyValue]
SORT_FIELDS = {
    SortTarget.KEY: "key",
    SortTarget.VERSION: "version",
    SortTarget.CREATE: "create_revision",
    SortTarget.MOD: "mod_revision",
    SortTarget.VALUE: "value",
}
COMPARE_FIELDS = {
    CompareTarget.VERSION: "version",
    CompareTarget.CREATE: "create_revision",
    CompareTarget.MOD: "mod_revision",
    CompareTarget.VALUE: "value",
    CompareTarget.LEASE: "lease",
}


def succeeds(txn: Txn, before: State) -> bool:
    return all(_holds(compare, before) for compare in txn.compares)


def _holds(compare: Compare, state: State) -> bool:
    found = [kv for key, kv in state.items() if key in compare.range]
    if not found and compare.target == CompareTarget.VALUE:
        return False
    return all(_matches(compare, kv) for kv in found or [KeyValue(b"")])


def _matches(compare: Compare, kv: KeyValue) -> bool:
    sign = 0
    if compare.target in COMPARE_FIELDS:
        stored = getattr(kv, COMPARE_FIELDS[CompareTarget(compare.target)])
        operand = compare.operand if type(compare.operand) is type(stored) else type(stored)()
        sign = (stored > operand) - (stored < operand)
    match compare.result:
        case CompareResult.EQUAL:
            return sign == 0
        case CompareResult.NOT_EQUAL:
            return sign != 0
        case CompareResult.GREATER:
            return sign > 0
        case CompareResult.LESS:
            return sign < 0
    return True


def select(state: State, op: RangeOp, header: int) -> RangeResult:
    found = [state[key] for key in sorted(state) if key in op.range]
    count = len(found)
    if op.count_only:
        return RangeResult(header, (), False, count)
    bounds = (
        ("mod_revision", op.min_mod_revision, op.max_mod_revision),
        ("create_revision", op.min_create_revision, op.max_create_revision),
    )
    for field, least, most in bounds:
        found = [kv for kv in found if not least or getattr(kv, field) >= least]
        found = [kv for kv in found if not most or getattr(kv, field) <= most]
    limit = op.limit if op.limit > 0 else len(found)
    more = len(found) > limit
    if op.sort_order == SortOrder.NONE and not any(least or most for _, least, most in bounds):
        found = found[: limit + 1]  # etcd reads one key more than the limit and sorts only those
    field = SORT_FIELDS[SortTarget(op.sort_target)]
    found.sort(key=lambda kv: getattr(kv, field), reverse=op.sort_order == SortOrder.DESCEND)
    found = found[:limit]
    if op.keys_only:
        keep = op.sort_target == SortTarget.VALUE
        found = [kv._replace(value=b"", lease=kv.lease if keep else 0) for kv in found]
    return RangeResult(header, tuple(found), more, count)
