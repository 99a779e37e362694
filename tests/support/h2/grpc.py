"""gRPC over a Connection: what a call sends, and its answer with all that the wire told.

    response = call(connection, "/etcdserverpb.KV/Range", request.SerializeToString())
    assert response.status == 0

`exchange` does the same with headers and DATA of the test's own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from urllib.parse import unquote

from tests.support.h2.connection import Closed, Connection, Fields
from tests.support.h2.frames import Frame, FrameType

__all__ = [
    "KV",
    "LEASE",
    "WATCH",
    "Response",
    "call",
    "exchange",
    "message",
    "request",
    "response_of",
]

KV, LEASE, WATCH = "/etcdserverpb.KV/", "/etcdserverpb.Lease/", "/etcdserverpb.Watch/"


def request(
    path: str | None, *more: tuple[str, str], **replaced: str | None
) -> list[tuple[str, str]]:
    """The headers of a call as grpc-go sends them.

    `replaced` puts other values for method, scheme, path, authority, content_type or te, None
    leaves the field out; `more` are appended.
    """
    values: dict[str, str | None] = {
        "method": "POST",
        "scheme": "http",
        "path": path,
        "authority": "127.0.0.1",
        "content_type": "application/grpc",
        "te": "trailers",
    }
    values.update(replaced)
    names = {"content_type": "content-type", "te": "te"}
    fields = [
        (names.get(name, f":{name}"), value) for name, value in values.items() if value is not None
    ]
    return [*fields, *more]


def message(payload: bytes, *, flag: int = 0) -> bytes:
    """A length-prefixed message; `flag` 1 says that it is compressed."""
    return struct.pack(">BI", flag, len(payload)) + payload


@dataclass
class Response:
    """All that came on one stream, until its end or the end of the connection."""

    stream_id: int
    blocks: list[list[tuple[str, str]]] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None
    goaway: Frame | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The first header block; empty when none came."""
        return dict(self.blocks[0]) if self.blocks else {}

    @property
    def trailers(self) -> dict[str, str]:
        """The last header block; the same as `headers` in a trailers-only answer."""
        return dict(self.blocks[-1]) if self.blocks else {}

    @property
    def trailers_only(self) -> bool:
        return self.ended and len(self.blocks) == 1 and not self.body

    @property
    def http_status(self) -> int | None:
        status = self.headers.get(":status")
        return None if status is None else int(status)

    @property
    def status(self) -> int | None:
        """The gRPC status."""
        status = self.trailers.get("grpc-status")
        return None if status is None else int(status)

    @property
    def status_message(self) -> str:
        """The text of the status, no longer percent-encoded."""
        return unquote(self.trailers.get("grpc-message", ""))

    @property
    def messages(self) -> list[bytes]:
        """The whole messages of the body, still compressed when they were."""
        found, at = [], 0
        while at + 5 <= len(self.body):
            length = int.from_bytes(self.body[at + 1 : at + 5], "big")
            if at + 5 + length > len(self.body):
                break
            found.append(self.body[at + 5 : at + 5 + length])
            at += 5 + length
        return found


def call(connection: Connection, path: str, payload: bytes, *more: tuple[str, str]) -> Response:
    """A unary call of one message."""
    return exchange(connection, request(path, *more), message(payload))


def exchange(
    connection: Connection, fields: Fields, body: bytes | None, *, end_stream: bool = True
) -> Response:
    """Send headers and `body` as DATA, None for no DATA at all, and read the answer."""
    stream_id = connection.send_headers(fields, end_stream=body is None and end_stream)
    if body is not None:
        connection.send_data(stream_id, body, end_stream=end_stream)
    return response_of(connection, stream_id)


def response_of(connection: Connection, stream_id: int) -> Response:
    """Read until this stream has ended, was reset, or the connection is closed.

    What came on it before counts too. A GOAWAY that lets the stream finish is not its end.
    """
    response = Response(stream_id)
    seen = 0
    while True:
        for got in connection.received[seen:]:
            if got.type == FrameType.GOAWAY:
                response.goaway = got
            elif got.stream_id == stream_id and got.type == FrameType.DATA:
                response.body += got.payload
            elif got.stream_id == stream_id and got.type == FrameType.RST_STREAM:
                response.reset = got.error_code
            if got.stream_id == stream_id and got.end_stream:
                response.ended = True
        seen = len(connection.received)
        response.blocks = connection.fields.get(stream_id, [])
        finished = response.ended and not connection.in_header_block
        if finished or response.reset is not None:
            return response
        try:
            connection.receive()
        except Closed:
            return response
