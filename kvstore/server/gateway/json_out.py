"""Messages and statuses to JSON, byte for byte as etcd's gateway has them.

Names are those of the proto files, what is zero is left out, 64 bit numbers are strings.
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from kvstore.server.method import Response, serialized
from kvstore.server.status import Status

__all__ = ["error_body", "error_chunk", "message_body", "result_chunk"]


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
        response = kind.FromString(serialized(response))
    return MessageToDict(response, preserving_proto_field_name=True)


def _encoded(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")
