"""A client of pages and of the gateway that speaks HTTP/1.1 and HTTP/2, and sees both alike."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.support.h2.connection import Connection
from tests.support.h2.frames import FrameType
from tests.support.http_site import Wire

__all__ = ["Said", "Where", "ask", "first_of_stream"]


class Where(NamedTuple):
    """An address and how it is spoken to; with `tls` None it is plain."""

    port: int
    protocol: str
    """`http/1.1` or `h2`."""
    tls: ssl.SSLContext | None = None

    def offered(self) -> ssl.SSLContext | None:
        if self.tls is not None:
            self.tls.set_alpn_protocols([self.protocol])
        return self.tls


class Said(NamedTuple):
    status: int
    fields: dict[str, str]
    """Names in lower case."""
    body: bytes
    trailers: dict[str, str] = {}  # noqa: RUF012  # never changed
    data_frames: int = 0
    """Of HTTP/2, empty ones too."""


def ask(
    where: Where,
    method: str,
    path: str,
    fields: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Said:
    """One request on a connection of its own, and its whole answer."""
    if where.protocol == "h2":
        with _h2(where, method, path, fields, body) as (connection, stream_id):
            _await_end(connection, stream_id)
            return _heard(connection, stream_id)
    with Wire(where.port, tls=where.offered()) as wire:
        wire.send(_http1(method, path, fields, body))
        while True:
            head = wire.until(b"\r\n\r\n")
            said = _head(head)
            if said.status != 100:
                break
        if method == "HEAD":
            wire.send(_http1("GET", "/tail", {"connection": "close"}, None))
            rest = wire.rest()
            assert rest.startswith(b"HTTP/1.1 "), "HEAD has no body"
            return said
        if "chunked" not in said.fields.get("transfer-encoding", ""):
            return said._replace(body=wire.exactly(int(said.fields.get("content-length", "0"))))
        body = b""
        while chunk := wire.chunk():
            body += chunk
        return said._replace(body=body)


def first_of_stream(where: Where, path: str, body: bytes) -> Said:
    """The head and the first message of an answer that does not end, before the client leaves."""
    if where.protocol == "h2":
        with _h2(where, "POST", path, None, body) as (connection, stream_id):
            connection.expect(FrameType.DATA, lambda each: each.payload != b"", stream_id)
            return _heard(connection, stream_id)
    with Wire(where.port, tls=where.offered()) as wire:
        wire.send(_http1("POST", path, None, body))
        return _head(wire.until(b"\r\n\r\n"))._replace(body=wire.chunk())


@contextmanager
def _h2(
    where: Where, method: str, path: str, fields: dict[str, str] | None, body: bytes | None
) -> Iterator[tuple[Connection, int]]:
    given = dict(fields or {})
    authority = given.pop("host", "x")
    head = [(":method", method), (":scheme", "http" if where.tls is None else "https")]
    head += [(":path", path), (":authority", authority), *given.items()]
    with Connection(f"127.0.0.1:{where.port}", tls=where.offered()) as connection:
        if where.tls is not None:
            assert isinstance(connection.socket, ssl.SSLSocket)
            assert connection.socket.selected_alpn_protocol() == "h2"
        stream_id = connection.send_headers(head, end_stream=body is None)
        if body is not None:
            connection.send_data(stream_id, body, end_stream=True)
        yield connection, stream_id


def _await_end(connection: Connection, stream_id: int) -> None:
    """Also of an answer behind a GOAWAY."""
    while True:
        got = connection.receive()
        if got.stream_id == stream_id and (got.end_stream or got.type == FrameType.RST_STREAM):
            return


def _heard(connection: Connection, stream_id: int) -> Said:
    heads = [dict(head) for head in connection.fields[stream_id]]
    while heads[0][":status"] == "100":
        del heads[0]
    data = [
        each
        for each in connection.received
        if each.type == FrameType.DATA and each.stream_id == stream_id
    ]
    body = b"".join(each.payload for each in data)
    first, *rest = heads
    return Said(int(first.pop(":status")), first, body, rest[0] if rest else {}, len(data))


def _http1(method: str, path: str, fields: dict[str, str] | None, body: bytes | None) -> bytes:
    given = {"host": "x", **(fields or {})}
    if body is not None:
        given["content-length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "\r\n"]).encode() + (body or b"")


def _head(head: bytes) -> Said:
    first, *lines = head.decode().rstrip("\r\n").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Said(int(first.split()[1]), fields, b"")
