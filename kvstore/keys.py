"""Intervals of keys in etcd's encoding."""

from typing import NamedTuple

__all__ = ["ALL_KEYS", "FROM_KEY", "KeyRange", "prefix_end"]

FROM_KEY = b"\x00"
"""A `range_end` of one zero byte means: every key from `key` on."""


def prefix_end(prefix: bytes) -> bytes:
    """The `range_end` that makes [prefix, range_end) all keys beginning with `prefix`.

    The last byte below 0xff goes up by one and the tail is cut; a prefix of 0xff only, or an
    empty one, has no end: FROM_KEY.
    """
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes((trimmed[-1] + 1,)) if trimmed else FROM_KEY


class KeyRange(NamedTuple):
    """One key (`range_end` empty), all keys from one on (FROM_KEY), or [key, range_end).

    `range_end <= key` is legal and holds nothing (etcd server/etcdserver/txn/range.go).
    """

    key: bytes
    range_end: bytes = b""

    @classmethod
    def prefix(cls, prefix: bytes) -> "KeyRange":
        """All keys that begin with `prefix`; an empty one gives every key."""
        return cls(prefix or FROM_KEY, prefix_end(prefix))

    @property
    def is_single(self) -> bool:
        return not self.range_end

    @property
    def upper(self) -> bytes | None:
        """First key above the interval; None when it is open. Not for a single key."""
        return None if self.range_end == FROM_KEY else self.range_end

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, bytes):
            return False
        if not self.range_end:
            return key == self.key
        return key >= self.key and (self.range_end == FROM_KEY or key < self.range_end)


ALL_KEYS = KeyRange(FROM_KEY, FROM_KEY)
