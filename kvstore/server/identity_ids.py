"""The numbers a member and its cluster go by, derived as etcd derives them.

Clients compare them between answers, so a server that takes a member's place keeps its numbers.
Facts: etcd server/etcdserver/api/membership/member.go (computeMemberID), cluster.go (genID).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

__all__ = ["derive_cluster_id", "derive_member_id"]


def derive_member_id(peer_urls: Iterable[str], cluster_token: str) -> int:
    """The id of the member with these peer URLs; with the defaults 0x8e9e05c52164694d."""
    return _first_eight("".join(sorted(peer_urls)).encode() + cluster_token.encode())


def derive_cluster_id(member_ids: Iterable[int]) -> int:
    """The id of the cluster of these members; with the defaults 0xcdf818194e3a8c32."""
    return _first_eight(b"".join(member_id.to_bytes(8, "big") for member_id in sorted(member_ids)))


def _first_eight(data: bytes) -> int:
    return int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()[:8], "big")
