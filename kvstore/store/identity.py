"""Who the server is to its clients: stored at the first start, the same ever after."""

from __future__ import annotations

from typing import NamedTuple

from kvstore.backend.interface import Backend
from kvstore.store.format import check_format
from kvstore.store.rows import meta, set_meta

__all__ = ["Identity", "load_identity"]

FIRST_TERM = 2
"""What a fresh etcd shows; each restart of a single node adds one."""


class Identity(NamedTuple):
    member_id: int
    cluster_id: int
    raft_term: int


def load_identity(backend: Backend, *, member_id: int, cluster_id: int) -> Identity:
    """The stored identity with its term raised by one, or the given ids at the first start.

    Call it before a shell takes the backend over. Durable on return.
    """
    check_format(backend)
    snapshot = backend.snapshot()
    found = meta(snapshot, "identity")
    snapshot.close()
    if found is None:
        identity = Identity(member_id, cluster_id, FIRST_TERM)
    else:
        stored_member, stored_cluster, term = found
        identity = Identity(stored_member, stored_cluster, term + 1)
    set_meta(backend, "identity", list(identity))
    return identity
