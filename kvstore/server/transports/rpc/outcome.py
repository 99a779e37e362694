"""From what a handler returned or raised to what goes on the wire."""

from __future__ import annotations

import logging

from google.protobuf.message import DecodeError, Message

from kvstore.server.method import Response
from kvstore.server.status import Code, Status, StatusError, status_of
from kvstore.server.transports.rpc.head import CallHead

__all__ = ["parse", "serialize", "status_for"]

_log = logging.getLogger(__name__)

_UNREADABLE = "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data"


def parse(head: CallHead, message: bytes) -> Message:
    """Raises StatusError with the text of grpc-go."""
    assert head.parse is not None
    try:
        return head.parse(message)
    except DecodeError:
        raise StatusError(Code.INTERNAL, _UNREADABLE) from None


def serialize(response: Response) -> bytes:
    return response.SerializeToString() if isinstance(response, Message) else response.data


def status_for(head: CallHead, error: Exception) -> Status:
    """The status of `error`; an unforeseen one is logged, not told."""
    status = status_of(error)
    if status.code is Code.INTERNAL and not isinstance(error, StatusError):
        assert head.method is not None
        _log.error("%s failed", head.method.path, exc_info=error)
    return status
