"""From what a handler returned or raised to what goes on the wire."""

from __future__ import annotations

import logging

from google.protobuf.message import DecodeError, Message

from kvstore.server.status import Code, Status, StatusError, status_of
from kvstore.server.transports.rpc.head import CallHead

__all__ = ["parse", "status_for"]

_log = logging.getLogger(__name__)

_WHY = "proto: cannot parse invalid wire-format data"
_UNREADABLE = f"grpc: error unmarshalling request: {_WHY}"
_UNREADABLE_IN_STREAM = f"grpc: failed to unmarshal the received message: {_WHY}"


def parse(head: CallHead, message: bytes, *, is_stream: bool = False) -> Message:
    """Raises StatusError with the text of grpc-go."""
    assert head.parse is not None
    try:
        return head.parse(message)
    except DecodeError:
        text = _UNREADABLE_IN_STREAM if is_stream else _UNREADABLE
        raise StatusError(Code.INTERNAL, text) from None


def status_for(head: CallHead, error: Exception) -> Status:
    """The status of `error`; an unforeseen one is logged, not told."""
    status = status_of(error)
    if status.code is Code.INTERNAL and not isinstance(error, StatusError):
        assert head.method is not None
        _log.error("%s failed", head.method.path, exc_info=error)
    return status
