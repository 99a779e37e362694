"""The one table from errors to statuses: gRPC code, the text on the wire, HTTP status.

The codes and texts are etcd's (api/v3rpc/rpctypes/error.go), because its clients tell errors apart
by the text. An error that is not in the tree says nothing of our insides to a peer.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from kvstore import errors

__all__ = ["BY_TYPE", "HTTP_STATUS", "Code", "Status", "StatusError", "status_of"]


class Code(IntEnum):
    """The codes of gRPC."""

    OK = 0
    CANCELED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS: Final[dict[Code, int]] = {
    Code.OK: 200,
    Code.CANCELED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""What the HTTP gateway of etcd answers for a code."""


class Status(NamedTuple):
    code: Code
    message: str
    http_status: int


class StatusError(Exception):
    """A status a service answers with that no store error stands for."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return self.message


BY_TYPE: Final[dict[type[errors.StoreError], Code]] = {
    errors.InvalidRequest: Code.INVALID_ARGUMENT,
    errors.StateError: Code.FAILED_PRECONDITION,
    errors.Compacted: Code.OUT_OF_RANGE,
    errors.FutureRevision: Code.OUT_OF_RANGE,
    errors.LeaseNotFound: Code.NOT_FOUND,
    errors.LeaseExists: Code.FAILED_PRECONDITION,
    errors.LeaseTtlTooLarge: Code.OUT_OF_RANGE,
    errors.NoSpace: Code.RESOURCE_EXHAUSTED,
    errors.WriteRefused: Code.UNAVAILABLE,
    # etcd declares ResourceExhausted for this text and sends it with Unknown.
    errors.TooManyRequests: Code.UNKNOWN,
    # The outcome of a write is open, as when etcd answers "request timed out".
    errors.StoreFailed: Code.UNAVAILABLE,
    errors.StoreClosed: Code.UNAVAILABLE,
    errors.CorruptStore: Code.DATA_LOSS,
}
"""The code of each error; a subclass that is not here has the code of its base.

The text is that of the class; what an instance adds (the error of a disk) is for the log."""

_INTERNAL: Final = Status(Code.INTERNAL, "internal error", HTTP_STATUS[Code.INTERNAL])


def status_of(error: BaseException) -> Status:
    """What a peer is told of `error`; anything unforeseen is an internal error without details."""
    if isinstance(error, StatusError):
        return Status(error.code, error.message, HTTP_STATUS[error.code])
    if isinstance(error, errors.StoreError):
        for base in type(error).__mro__:
            code = BY_TYPE.get(base)
            if code is not None:
                return Status(code, type(error).message, HTTP_STATUS[code])
    return _INTERNAL
