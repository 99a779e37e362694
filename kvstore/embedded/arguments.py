"""What a caller may pass, looked at before anything is decided.

A wrong type is a TypeError, a number out of range an InvalidRequest. Nothing else than bytes, whole
numbers of 64 bits and plain operations goes further: what is decided is kept in memory and written
to the disk together with what others decided, so that a slip must be found before.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from operator import index
from typing import TypeVar

from kvstore.errors import InvalidRequest
from kvstore.keys import KeyRange
from kvstore.types import Compare, DeleteRangeOp, Op, PutOp, RangeOp, Txn

__all__ = ["check_flag", "compares_of", "int64", "ops_of", "to_bytes", "wait_s"]

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1

T = TypeVar("T")


def to_bytes(text: bytes | str) -> bytes:
    """Bytes as they are, text as UTF-8.

    Raises:
        TypeError: it is neither.
    """
    if type(text) is bytes:
        return text
    if type(text) is str:
        return text.encode()
    # A subclass may compare, encode and convert itself as it likes: it is not asked.
    if isinstance(text, str):
        return str.encode(text)
    if isinstance(text, bytes):
        return bytes(memoryview(text))
    raise TypeError(f"a key or a value is bytes or str, not {type(text).__name__}")


def int64(number: int, what: str, least: int = _LEAST) -> int:
    """A whole number from `least` to the largest of 64 bits; `what` names it in the error.

    Raises:
        TypeError: it is no whole number, or a bool.
        InvalidRequest: it is out of range.
    """
    if type(number) is not int:
        if isinstance(number, bool):
            raise TypeError(f"{what} is a whole number, not {number!r}")
        try:
            number = index(number)
        except TypeError:
            kind = type(number).__name__
            raise TypeError(f"{what} is a whole number, not {kind}") from None
    if not least <= number <= _MOST:
        raise InvalidRequest(f"{what} is {number}, it goes from {least} to {_MOST}")
    return number


def check_flag(flag: object, what: str) -> None:
    """Raises TypeError unless it is True or False: what else is true is mostly a slip."""
    if flag is not True and flag is not False:
        raise TypeError(f"{what} is True or False, not {flag!r}")


def wait_s(timeout: float | None) -> float | None:
    """Seconds to wait, no more than can be waited; None and infinity: as long as it takes.

    Raises:
        TypeError: it is no number.
        ValueError: it is NaN.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"a timeout is a number of seconds or None, not {timeout!r}")
    if math.isnan(timeout):
        raise ValueError("a timeout is a number of seconds, not NaN")
    return None if timeout == math.inf else min(max(timeout, 0), threading.TIMEOUT_MAX)


def compares_of(conditions: Iterable[Compare]) -> tuple[Compare, ...]:
    """The conditions of a transaction. Raises TypeError for anything that is none."""
    found = _all(conditions, "conditions")
    for one in found:
        if type(one) is not Compare:
            raise TypeError(f'a condition is a Compare, as `mod("k") == 3` is, not {one!r}')
        _check_range(one.range)
        operand = one.operand
        _check_numbers(one, one.target, one.result, operand if type(operand) is not bytes else 0)
    return found


def ops_of(operations: Iterable[Op | None]) -> tuple[Op | None, ...]:
    """The operations of a branch, nested ones too. Raises TypeError for anything that is none."""
    found = _all(operations, "operations")
    for op in found:
        if type(op) is PutOp:
            _check_bytes(op, op.key, op.value)
            if type(op.lease) is not int or op.lease:
                _check_numbers(op, op.lease)
        elif type(op) is RangeOp:
            _check_range(op.range)
            _check_numbers(op, op.limit, op.revision, op.sort_order, op.sort_target)
            _check_numbers(op, op.min_mod_revision, op.max_mod_revision)
            _check_numbers(op, op.min_create_revision, op.max_create_revision)
        elif type(op) is DeleteRangeOp:
            _check_range(op.range)
        elif type(op) is Txn:
            for branch in op:
                if not isinstance(branch, list | tuple):
                    raise TypeError(f"{op!r} holds {branch!r}, which has to be a list or a tuple")
            compares_of(op.compares)
            ops_of(op.success)
            ops_of(op.failure)
        else:
            raise TypeError(f"an operation is what kvstore.ops makes, not {op!r}")
    return found


def _all(found: Iterable[T], what: str) -> tuple[T, ...]:
    if isinstance(found, Compare | PutOp | RangeOp | DeleteRangeOp | Txn):
        raise TypeError(f"{what} come in a list, not alone: {found!r}")
    return tuple(found)


def _check_range(keys: KeyRange) -> None:
    if type(keys) is not KeyRange:
        raise TypeError(f"an interval of keys is a KeyRange, not {keys!r}")
    _check_bytes(keys, keys.key, keys.range_end)


def _check_bytes(whole: object, one: object, other: object) -> None:
    if not type(one) is type(other) is bytes:
        raise TypeError(f"{whole!r} holds {one!r} and {other!r}, both have to be bytes")


def _check_numbers(whole: object, *numbers: object) -> None:
    for number in numbers:
        if number is None or isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"{whole!r} holds {number!r}, which has to be a whole number")
        if not _LEAST <= number <= _MOST:
            raise InvalidRequest(f"{whole!r} holds {number}, which is no number of 64 bits")
