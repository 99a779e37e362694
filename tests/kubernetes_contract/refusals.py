"""How a call is refused: the client goes by the text, and by the code where it knows no text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import pytest

__all__ = [
    "COMPACTED",
    "DUPLICATE_KEY",
    "FUTURE",
    "LEASE_NOT_FOUND",
    "NO_RANGE_STREAM",
    "TOO_LARGE",
    "TOO_MANY_OPS",
    "Refusal",
    "refusal",
]


class Refusal(NamedTuple):
    code: grpc.StatusCode
    text: str


COMPACTED = Refusal(
    grpc.StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"
)
FUTURE = Refusal(
    grpc.StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"
)
TOO_LARGE = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large")
TOO_MANY_OPS = Refusal(
    grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: too many operations in txn request"
)
DUPLICATE_KEY = Refusal(
    grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request"
)
LEASE_NOT_FOUND = Refusal(grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found")
NO_RANGE_STREAM = Refusal(
    grpc.StatusCode.UNIMPLEMENTED, "unknown method RangeStream for service etcdserverpb.KV"
)


def refusal(call: Callable[..., Any], *args: Any) -> Refusal:
    """What `call(*args)` is refused with. Fails when it is answered."""
    with pytest.raises(grpc.RpcError) as refused:
        call(*args)
    return Refusal(refused.value.code(), refused.value.details())
