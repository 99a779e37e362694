"""The response header, encoded once for each revision."""

from __future__ import annotations

from typing import Final

from kvstore.core.mvcc.record import varint
from kvstore.proto import rpc_pb2

__all__ = ["EMPTY_HEADER", "Headers", "revision_header"]

EMPTY_HEADER: Final = b"\x0a\x00"
"""The field of a header that is present and has nothing set: a nested txn response."""


def revision_header(revision: int) -> bytes:
    """The field of a header with only the revision: one operation inside a txn."""
    number = varint(revision)
    return b"\x0a%b\x18%b" % (varint(1 + len(number)), number)


class Headers:
    """Headers of one boot: who answers never changes, only the revision does.

    Fields 1 to 4 are cluster_id, member_id, revision, raft_term; a header is field 1 of every
    response that has one.
    """

    def __init__(self, cluster_id: int, member_id: int, raft_term: int) -> None:
        self.cluster_id, self.member_id, self.raft_term = cluster_id, member_id, raft_term
        before = b"\x08%b\x10%b" % (varint(cluster_id), varint(member_id))
        self._after = b"\x20" + varint(raft_term)
        size = len(before) + len(self._after)
        self._by_size = [b"\x0a%b%b" % (varint(size), before)] + [
            b"\x0a%b%b\x18" % (varint(size + 1 + digits), before) for digits in range(1, 11)
        ]
        """What comes before the varint of a revision, by its size in bytes."""
        self._revision = -1
        self._encoded = b""

    def encoded(self, revision: int) -> bytes:
        """The header field, tag and length included; revision 0 is left out as proto3 does."""
        if revision != self._revision:
            number = varint(revision) if revision else b""
            before = self._by_size[len(number)]
            self._encoded = b"%b%b%b" % (before, number, self._after)
            self._revision = revision
        return self._encoded

    def message(self, revision: int) -> rpc_pb2.ResponseHeader:
        return rpc_pb2.ResponseHeader(
            cluster_id=self.cluster_id,
            member_id=self.member_id,
            revision=revision,
            raft_term=self.raft_term,
        )
