"""The bytes of an answer, in the form Go's net/http gives them: order of the fields, framing."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import Final

from kvstore.server.transports.web.fields import date
from kvstore.server.transports.web.messages import Fields

__all__ = ["CONTINUE", "LAST_CHUNK", "Framing", "chunk", "head", "plain_error"]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus} | {
    # Where Go and Python differ in words.
    413: "Request Entity Too Large",
}


class Framing(Enum):
    """How a client finds the end of an answer."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    NONE = "none"


def head(
    status: int,
    fields: Fields,
    framing: Framing,
    *,
    length: int = 0,
    is_http_1_0: bool = False,
    connection: str = "",
    content_type: str = "",
) -> bytes:
    """Fields in alphabetical order, then Date, then what the server itself has to say.

    `content_type` is one that the site did not set; `connection` is left out when empty.
    """
    phrase = _PHRASES.get(status) or f"status code {status}"
    lines = [f"HTTP/1.{0 if is_http_1_0 else 1} {status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in sorted(fields)]
    lines.append(f"Date: {date()}")
    if framing is Framing.LENGTH:
        lines.append(f"Content-Length: {length}")
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    if connection:
        lines.append(f"Connection: {connection}")
    if framing is Framing.CHUNKED:
        lines.append("Transfer-Encoding: chunked")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1", "replace")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def plain_error(status: int, text: str) -> bytes:
    """What is said to a client that did not send HTTP."""
    body = text.encode()
    phrase = text.removeprefix(f"{status} ") if text.startswith(str(status)) else _PHRASES[status]
    return (
        b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%b"
        % (status, phrase.encode(), body)
    )
