"""Messages and statuses to JSON, byte for byte as etcd's gateway has them.

Names are those of the proto files, what is zero is left out, 64 bit numbers are strings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from kvstore.server.method import Response, serialized
from kvstore.server.nesting import parser
from kvstore.server.status import Status

__all__ = ["error_body", "error_chunk", "message_body", "result_chunk"]

_RECURSION: Final = 5000
"""Enough for as many transactions in one another as are executed (about ten calls for each)."""


def message_body(kind: type[Message], response: Response) -> bytes:
    """`kind` is the class of a response that is encoded already."""
    return _encoded(_document(kind, response))


def result_chunk(kind: type[Message], response: Response) -> bytes:
    """One message of a stream."""
    return _encoded({"result": _document(kind, response)}) + b"\n"


def error_body(status: Status) -> bytes:
    """`error` is for clients made for etcd before 3.6, which had it beside the other two."""
    return _encoded({"code": int(status.code), "message": status.message, "error": status.message})


def error_chunk(status: Status) -> bytes:
    """The last line of a stream that fails; the names before 3.6 come after those of today."""
    old = {"grpc_code": int(status.code), "http_code": status.http_status}
    error = {"code": int(status.code), "message": status.message, **old}
    return _encoded({"error": error}) + b"\n"


def _document(kind: type[Message], response: Response) -> dict[str, Any]:
    if not isinstance(response, Message):
        response = parser(kind)(serialized(response))
    try:
        return MessageToDict(response, preserving_proto_field_name=True)
    except RecursionError:  # the answer to transactions in one another
        with _deeper():
            return MessageToDict(response, preserving_proto_field_name=True)


def _encoded(document: dict[str, Any]) -> bytes:
    try:
        text = _dumps(document)
    except RecursionError:
        with _deeper():
            text = _dumps(document)
    return text.encode("utf-8", "replace")


def _dumps(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


@contextmanager
def _deeper() -> Iterator[None]:
    """Room for a few thousand calls in one another, for code that does not wait meanwhile."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, _RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)
