"""Operations from plain arguments: what a caller says in keys and prefixes becomes an Op.

Keys and values are bytes or text; text is UTF-8, and everything a store answers is bytes. These
builders make the branches of a transaction, and both faces of the embedded API build on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from kvstore.errors import InvalidRequest, KeyNotProvided
from kvstore.keys import ALL_KEYS, FROM_KEY, KeyRange
from kvstore.types import Compare, DeleteRangeOp, Op, PutOp, RangeOp, SortOrder, SortTarget, Txn

__all__ = [
    "HasLeaseId",
    "Key",
    "LeaseLike",
    "Value",
    "delete",
    "get",
    "interval",
    "lease_id",
    "put",
    "range",
    "selection",
    "single_key",
    "to_bytes",
    "txn",
]

Key: TypeAlias = bytes | str
Value: TypeAlias = bytes | str

_NOTHING = KeyRange(b"\x01", b"\x01")
"""An interval that holds no key."""


class HasLeaseId(Protocol):
    """A lease that knows its id: what `Store.lease` enters with, or a granted Lease."""

    @property
    def id(self) -> int: ...


LeaseLike: TypeAlias = int | HasLeaseId


def get(key: Key, *, revision: int = 0, keys_only: bool = False) -> RangeOp:
    """Read one key.

    Raises:
        KeyNotProvided: the key is empty.
    """
    return RangeOp(KeyRange(single_key(key)), revision=revision, keys_only=keys_only)


def range(
    start: Key | None = None,
    end: Key | None = None,
    *,
    prefix: Key | None = None,
    revision: int = 0,
    limit: int = 0,
    reverse: bool = False,
    keys_only: bool = False,
) -> RangeOp:
    """Read the keys of an interval in key order, descending when `reverse`.

    Args: as `interval`; `limit` 0 is no limit, `revision` 0 the newest.

    Raises:
        InvalidRequest: `prefix` together with `start` or `end`, or a negative number.
    """
    if limit < 0 or revision < 0:
        raise InvalidRequest(f"limit {limit} and revision {revision} must not be negative")
    order = SortOrder.DESCEND if reverse else SortOrder.NONE
    return RangeOp(
        interval(start, end, prefix=prefix),
        limit=limit,
        revision=revision,
        sort_order=order,
        sort_target=SortTarget.KEY,
        keys_only=keys_only,
    )


def put(key: Key, value: Value, *, lease: LeaseLike = 0, prev_kv: bool = False) -> PutOp:
    """Set one key; without a `lease` the key is detached from the one it had.

    Raises:
        KeyNotProvided: the key is empty.
    """
    return PutOp(single_key(key), to_bytes(value), lease_id(lease), prev_kv)


def delete(
    key: Key | None = None,
    end: Key | None = None,
    *,
    prefix: Key | None = None,
    prev_kv: bool = False,
) -> DeleteRangeOp:
    """Delete one key, the keys of [key, end), or all keys with a prefix.

    Raises:
        InvalidRequest: none of the three, or `prefix` together with another. To delete everything
            say so: `prefix=""`.
        KeyNotProvided: the key is empty.
    """
    if key is None and end is None and prefix is None:
        raise InvalidRequest("name what to delete: a key, an interval or a prefix")
    return DeleteRangeOp(selection(key, end, prefix=prefix), prev_kv)


def txn(
    compares: Sequence[Compare] = (), success: Sequence[Op] = (), failure: Sequence[Op] = ()
) -> Txn:
    """A transaction, also as an operation inside another one."""
    return Txn(tuple(compares), tuple(success), tuple(failure))


def interval(
    start: Key | None = None, end: Key | None = None, *, prefix: Key | None = None
) -> KeyRange:
    """The keys from `start` (inclusive) to `end` (exclusive), or those with a prefix.

    Args:
        start: first key; None or empty: from the first one on.
        end: first key not included; None: to the last one.
        prefix: instead of both; empty: every key.

    Raises:
        InvalidRequest: `prefix` together with `start` or `end`.
    """
    if prefix is not None:
        if start is not None or end is not None:
            raise InvalidRequest("give a prefix or the ends of an interval, not both")
        return KeyRange.prefix(to_bytes(prefix))
    first = to_bytes(start) if start is not None else b""
    return _between(first or FROM_KEY, end)


def selection(
    key: Key | None = None, end: Key | None = None, *, prefix: Key | None = None
) -> KeyRange:
    """One key, the interval [key, end), the keys with a prefix, or (nothing given) all keys.

    Raises:
        InvalidRequest: `prefix` together with another.
        KeyNotProvided: `key` alone and empty.
    """
    if key is not None and end is None and prefix is None:
        return KeyRange(single_key(key))
    if key is None and end is None and prefix is None:
        return ALL_KEYS
    return interval(key, end, prefix=prefix)


def single_key(key: Key) -> bytes:
    """The bytes of one key.

    Raises:
        KeyNotProvided: it is empty.
        TypeError: it is neither bytes nor text.
    """
    raw = to_bytes(key)
    if not raw:
        raise KeyNotProvided
    return raw


def to_bytes(text: bytes | str) -> bytes:
    """Bytes as they are, text as UTF-8.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        return text.encode()
    raise TypeError(f"a key or a value is bytes or str, not {type(text).__name__}")


def lease_id(lease: LeaseLike) -> int:
    """The id of a lease; 0 is no lease.

    Raises:
        InvalidRequest: a lease that was not granted yet.
    """
    if isinstance(lease, int):
        return lease
    if not lease.id:
        raise InvalidRequest(f"{lease!r} was not granted yet: enter it with `with` first")
    return lease.id


def _between(first: bytes, end: Key | None) -> KeyRange:
    # An end of b"" or b"\0" lies below every key, but in etcd's encoding the first means
    # "only this key" and the second "every key from here on".
    if end is None:
        return KeyRange(first, FROM_KEY)
    last = to_bytes(end)
    return KeyRange(first, last) if last > FROM_KEY else _NOTHING
