"""From a gRPC status back to the error tree: by the exact text, as etcd's own clients do it."""

from __future__ import annotations

import grpc

from kvstore.errors import InvalidRequest, StateError, StoreClosed, StoreError, StoreFailed

__all__ = ["RemoteError", "store_error"]


class RemoteError(StoreError):
    """A status whose text is not in the error tree.

    `code` is the name of the gRPC code (`UNAVAILABLE`), `message` the text of the status.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


_KNOWN: tuple[type[StoreError], ...] = (
    *InvalidRequest.__subclasses__(),
    *StateError.__subclasses__(),
    StoreClosed,
    StoreFailed,
)
_BY_MESSAGE = {error.message: error for error in _KNOWN}


def store_error(error: grpc.RpcError) -> StoreError:
    """The error that `error` stands for; raise it `from error` to keep the status."""
    code = error.code().name if isinstance(error, grpc.Call) else "UNKNOWN"
    message = error.details() or "" if isinstance(error, grpc.Call) else str(error)
    known = _BY_MESSAGE.get(message)
    return known() if known is not None else RemoteError(code, message)
