"""Operations from plain arguments: what a caller says in keys and prefixes becomes an Op.

Keys and values are bytes or text; text is UTF-8, and everything a store answers is bytes. These
builders make the branches of a transaction, and both faces of the embedded API build on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from kvstore.embedded.arguments import check_flag, compares_of, int64, ops_of, to_bytes
from kvstore.errors import InvalidRequest, KeyNotProvided
from kvstore.keys import FROM_KEY, KeyRange
from kvstore.types import Compare, DeleteRangeOp, Op, PutOp, RangeOp, SortOrder, SortTarget, Txn

__all__ = [
    "HasLeaseId",
    "Key",
    "LeaseLike",
    "Value",
    "delete",
    "get",
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
        InvalidRequest: a negative revision.
        TypeError: an argument of another type.
    """
    check_flag(keys_only, "keys_only")
    at = int64(revision, "revision", 0)
    return RangeOp(KeyRange(single_key(key)), revision=at, keys_only=keys_only)


def range(
    key: Key | None = None,
    end: Key | None = None,
    *,
    prefix: Key | None = None,
    from_: Key | None = None,
    revision: int = 0,
    limit: int = 0,
    reverse: bool = False,
    keys_only: bool = False,
) -> RangeOp:
    """Read what `selection` says, in key order, descending when `reverse`.

    Args: as `selection`; `limit` 0 is no limit, `revision` 0 the newest.

    Raises: as `selection`, and
        InvalidRequest: a negative number.
        TypeError: an argument of another type.
    """
    check_flag(reverse, "reverse")
    check_flag(keys_only, "keys_only")
    order = SortOrder.DESCEND if reverse else SortOrder.NONE
    return RangeOp(
        selection(key, end, prefix=prefix, from_=from_),
        limit=int64(limit, "limit", 0),
        revision=int64(revision, "revision", 0),
        sort_order=order,
        sort_target=SortTarget.KEY,
        keys_only=keys_only,
    )


def put(key: Key, value: Value, *, lease: LeaseLike = 0, prev_kv: bool = False) -> PutOp:
    """Set one key; without a `lease` the key is detached from the one it had.

    Raises:
        KeyNotProvided: the key is empty.
        TypeError: an argument of another type.
    """
    if prev_kv is not False:
        check_flag(prev_kv, "prev_kv")
    return PutOp(*plain_put(key, value, lease), prev_kv)


def plain_put(key: Key, value: Value, lease: LeaseLike) -> tuple[bytes, bytes, int]:
    """The arguments of a put that asks for nothing else. Raises as `put`."""
    return single_key(key), to_bytes(value), lease_id(lease)


def delete(
    key: Key | None = None,
    end: Key | None = None,
    *,
    prefix: Key | None = None,
    from_: Key | None = None,
    prev_kv: bool = False,
) -> DeleteRangeOp:
    """Delete what `selection` says.

    Raises: as `selection`, and
        InvalidRequest: nothing is named. To delete everything say so: `prefix=""`.
        TypeError: an argument of another type.
    """
    if key is None and end is None and prefix is None and from_ is None:
        raise InvalidRequest("name what to delete: a key, an interval or a prefix")
    check_flag(prev_kv, "prev_kv")
    return DeleteRangeOp(selection(key, end, prefix=prefix, from_=from_), prev_kv)


def txn(
    compares: Sequence[Compare] = (), success: Sequence[Op] = (), failure: Sequence[Op] = ()
) -> Txn:
    """A transaction, also as an operation inside another one.

    Raises:
        TypeError: something in it is no condition or no operation.
    """
    return Txn(compares_of(compares), ops_of(success), ops_of(failure))


def selection(
    key: Key | None = None,
    end: Key | None = None,
    *,
    prefix: Key | None = None,
    from_: Key | None = None,
) -> KeyRange:
    """Which keys: what `range`, `watch` and `delete` mean by the same arguments.

    Args:
        key: this one key; with `end` the first one of several.
        end: first key not included.
        prefix: instead of the others, all keys that begin with it; empty: every key.
        from_: instead of `key`, all keys from this one on, up to `end` if that is given; empty:
            from the first one on. With nothing named at all it is every key.

    Raises:
        InvalidRequest: `prefix` together with another, `from_` together with `key`.
        KeyNotProvided: `key` alone and empty.
        TypeError: one is neither bytes nor text.
    """
    if key is not None and end is None and prefix is None and from_ is None:
        return KeyRange(single_key(key))
    if prefix is not None:
        if key is not None or end is not None or from_ is not None:
            raise InvalidRequest("give a prefix or the ends of an interval, not both")
        return KeyRange.prefix(to_bytes(prefix))
    if key is not None and from_ is not None:
        raise InvalidRequest("give one key or from_, not both")
    first = from_ if key is None else key
    return _between(b"" if first is None else to_bytes(first), end)


def single_key(key: Key) -> bytes:
    """The bytes of one key.

    Raises:
        KeyNotProvided: it is empty.
        TypeError: it is neither bytes nor text.
    """
    # The two usual kinds without a call, since this is done for each get.
    raw = key if type(key) is bytes else key.encode() if type(key) is str else to_bytes(key)
    if not raw:
        raise KeyNotProvided
    return raw


def lease_id(lease: LeaseLike) -> int:
    """The id of a lease; 0 is no lease.

    Raises:
        InvalidRequest: a lease that was not granted yet, a number that is no id.
        TypeError: it is neither a lease nor a whole number.
    """
    if type(lease) is int and not lease:
        return 0
    if isinstance(lease, int):
        return int64(lease, "a lease id")
    found: int = getattr(lease, "id", lease)  # type: ignore[arg-type]  # int64 looks at it
    if found == 0:
        raise InvalidRequest(f"{lease!r} was not granted yet: enter it with `with` first")
    return int64(found, "a lease id")


def _between(first: bytes, end: Key | None) -> KeyRange:
    first = first or FROM_KEY
    # An end of b"" or b"\0" lies below every key, but in etcd's encoding the first means
    # "only this key" and the second "every key from here on".
    if end is None:
        return KeyRange(first, FROM_KEY)
    last = to_bytes(end)
    return KeyRange(first, last) if last > FROM_KEY else _NOTHING
