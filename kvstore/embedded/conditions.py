"""Conditions of a transaction, written with operators: `mod("k") == 3`, `value("k") != b"x"`.

A function names what to look at, an operator makes the Compare:

    create, mod, version, lease    ==  !=  <  >  <=  >=   a whole number
    value                          ==  !=  <  >           bytes or text
    absent, present                complete conditions of their own

With `prefix=True` or an `end` the condition must hold for every key of the interval. An interval
without keys is looked at as one absent key: its numbers are 0, and no `value` condition holds
(etcd server/etcdserver/txn/txn.go, applyCompare). Do not chain operators: Python reads
`1 < mod("k") < 9` as two conditions and keeps the second only.
"""

from __future__ import annotations

from operator import index
from typing import SupportsIndex

from kvstore.embedded.arguments import check_flag
from kvstore.embedded.ops import Key, lease_id, selection, to_bytes
from kvstore.errors import InvalidRequest
from kvstore.keys import KeyRange
from kvstore.types import Compare, CompareResult, CompareTarget

__all__ = [
    "NumberTerm",
    "ValueTerm",
    "absent",
    "create",
    "lease",
    "mod",
    "present",
    "value",
    "version",
]


class _Term:
    """The left side of a comparison. Not hashable: `==` answers a Compare."""

    __slots__ = ("_range", "_target")
    __hash__ = None  # type: ignore[assignment]  # an object whose == is no equality has no hash

    def __init__(self, keys: KeyRange, target: CompareTarget) -> None:
        self._range, self._target = keys, target

    def __repr__(self) -> str:
        return f"<{self._target.name.lower()} of {self._range!r}>"

    def __eq__(self, operand: object) -> Compare:  # type: ignore[override]  # builds a Compare
        return self._compare(CompareResult.EQUAL, operand)

    def __ne__(self, operand: object) -> Compare:  # type: ignore[override]  # builds a Compare
        return self._compare(CompareResult.NOT_EQUAL, operand)

    def __lt__(self, operand: object) -> Compare:
        return self._compare(CompareResult.LESS, operand)

    def __gt__(self, operand: object) -> Compare:
        return self._compare(CompareResult.GREATER, operand)

    def _compare(self, result: CompareResult, operand: object) -> Compare:
        return Compare(self._range, self._target, result, self._operand(operand))

    def _operand(self, operand: object) -> int | bytes:
        raise NotImplementedError


class NumberTerm(_Term):
    """A revision, a version or a lease id, to be compared with a whole number."""

    __slots__ = ()

    def __le__(self, operand: int) -> Compare:
        return self._compare(CompareResult.LESS, self._number(operand) + 1)

    def __ge__(self, operand: int) -> Compare:
        return self._compare(CompareResult.GREATER, self._number(operand) - 1)

    def _operand(self, operand: object) -> int | bytes:
        return self._number(operand)

    def _number(self, operand: object) -> int:
        if isinstance(operand, bool) or not isinstance(operand, SupportsIndex):
            raise InvalidRequest(f"{self!r} is compared with a whole number, not {operand!r}")
        return index(operand)


class ValueTerm(_Term):
    """A value, to be compared with bytes or text."""

    __slots__ = ()

    def _operand(self, operand: object) -> int | bytes:
        if not isinstance(operand, bytes | str):
            raise InvalidRequest(f"{self!r} is compared with bytes or text, not {operand!r}")
        return to_bytes(operand)


class _LeaseTerm(NumberTerm):
    __slots__ = ()

    def _operand(self, operand: object) -> int | bytes:
        if hasattr(operand, "id"):
            return lease_id(operand)
        return super()._operand(operand)


def create(key: Key, end: Key | None = None, *, prefix: bool = False) -> NumberTerm:
    """The revision that created the key; 0: there is none."""
    return NumberTerm(_keys(key, end, prefix=prefix), CompareTarget.CREATE)


def mod(key: Key, end: Key | None = None, *, prefix: bool = False) -> NumberTerm:
    """The revision of the key's last change; 0: there is none."""
    return NumberTerm(_keys(key, end, prefix=prefix), CompareTarget.MOD)


def version(key: Key, end: Key | None = None, *, prefix: bool = False) -> NumberTerm:
    """How often the key was set since it was created; 0: there is none."""
    return NumberTerm(_keys(key, end, prefix=prefix), CompareTarget.VERSION)


def lease(key: Key, end: Key | None = None, *, prefix: bool = False) -> NumberTerm:
    """The lease of the key; compare it with an id or a lease. 0: none."""
    return _LeaseTerm(_keys(key, end, prefix=prefix), CompareTarget.LEASE)


def value(key: Key, end: Key | None = None, *, prefix: bool = False) -> ValueTerm:
    """The value of the key; no comparison holds for a key that is absent."""
    return ValueTerm(_keys(key, end, prefix=prefix), CompareTarget.VALUE)


def absent(key: Key, end: Key | None = None, *, prefix: bool = False) -> Compare:
    """Holds when the key (or every key of the interval) does not exist."""
    return create(key, end, prefix=prefix) == 0


def present(key: Key, end: Key | None = None, *, prefix: bool = False) -> Compare:
    """Holds when the key (or at least one key of the interval) exists."""
    return create(key, end, prefix=prefix) > 0


def _keys(key: Key, end: Key | None, *, prefix: bool) -> KeyRange:
    """Raises KeyNotProvided for an empty single key, InvalidRequest for a prefix with an end."""
    check_flag(prefix, "prefix")
    raw = to_bytes(key)
    return selection(end=end, prefix=raw) if prefix else selection(raw, end)
