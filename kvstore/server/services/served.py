"""What services ask of the store above the asynchronous interface, and of the process around it."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kvstore import limits
from kvstore.store.interface import AsyncStoreProtocol
from kvstore.types import RangeOp, RangeResult, StoreStatus, Txn, TxnResult

__all__ = ["ServedStore", "Settings"]


class ServedStore(AsyncStoreProtocol, Protocol):
    """A store in the same process and on the same loop: what can be answered at once, is."""

    @property
    def revision(self) -> int:
        """The newest durable revision."""
        ...

    def apply(self, txn: Txn) -> Future[TxnResult]:
        """Decide at once; the future is done when it is durable. Raises as `txn` does."""
        ...

    def is_small(self, op: RangeOp) -> bool:
        """Would `range_now` answer without holding up others?"""
        ...

    def range_now(self, op: RangeOp) -> RangeResult: ...

    def status(self) -> StoreStatus: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client may ask of the member, and the bounds of requests."""

    name: str = "default"
    peer_urls: Sequence[str] = ()
    client_urls: Sequence[str] = ()
    max_request_bytes: int = limits.MAX_REQUEST_BYTES
    max_txn_ops: int = limits.MAX_TXN_OPS
    quota_backend_bytes: int = 2 * 1024**3

    @property
    def max_message_bytes(self) -> int:
        """The largest message a transport takes; also the size at which fragmenting begins."""
        return self.max_request_bytes + limits.REQUEST_OVERHEAD_BYTES
