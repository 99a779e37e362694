"""The head of a request: its first line and its fields, as Go's net/http reads them.

Go is more patient than RFC 9112 asks for (lines may end in LF alone, values may be folded), and a
client that etcd understands has to be understood here. Where patience would let two parties see
different ends of a body, the answer closes the connection:

    Transfer-Encoding and Content-Length   chunked counts; Go keeps the connection
    HTTP/1.0 with Transfer-Encoding        it is ignored; Go keeps the connection if asked to

What the client wants to upgrade to is never looked at: the body is where its framing says.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from kvstore.server.transports.web.messages import Request
from kvstore.server.transports.web.target import Target, parse_target

__all__ = [
    "BAD",
    "Fault",
    "Framing",
    "RequestLine",
    "may_be_line",
    "parse_fields",
    "parse_line",
    "parse_request",
]

MAX_FIELDS: Final = 10_000
_LOOKED_AT: Final = 64
_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^ ]*) HTTP/([0-9])\.([0-9])\r?")
_STRANGE: Final = re.compile(rb"[\0-\x1f\x7f]")
_TRAILING: Final = re.compile(r"(?<=[^ \t\r\n])[ \t]+(?=\r?\n)")
_FOLD: Final = re.compile(r"\r?\n[ \t]+")
_FIELDS: Final = re.compile(
    r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z][!#$%&'*+\-.^_`|~0-9A-Za-z ]*+:"
    r"[\t\x20-\x7e\x80-\xff]*+\r?\n)*+"
)
"""With blanks inside names: those get an answer of their own."""
_FIELD: Final = re.compile(r"([^:\n]+):[ \t]*([^\r\n]*)\r?\n")
_HOST: Final = re.compile(r"[0-9A-Za-z!$%&'()*+,\-.:;=\[\]_~]*")
_CLOSE: Final = re.compile(r"(?:^|[ \t,])close(?:$|[ \t,])", re.IGNORECASE)
_CLOSE_ELEMENT: Final = re.compile(r"(?:^|,)[ \t]*close[ \t]*(?:$|,)", re.IGNORECASE)
_KEEP_ALIVE: Final = re.compile(r"(?:^|[ \t,])keep-alive(?:$|[ \t,])", re.IGNORECASE)
_LENGTH: Final = re.compile(r"[0-9]+")
_MAX_LENGTH: Final = 2**63 - 1
_NO_TRAILER: Final = re.compile(
    r"(?:^|,)[ \t]*(?:transfer-encoding|trailer|content-length)[ \t]*(?:$|,)", re.IGNORECASE
)

Fields = list[tuple[str, str]]


class Fault(NamedTuple):
    """Why nothing that follows can be understood; `status` and `text` tell the client."""

    status: int
    text: str


BAD: Final = Fault(400, "400 Bad Request")
_NO_HOST: Final = Fault(400, "400 Bad Request: missing required Host header")
_BAD_HOST: Final = Fault(400, "400 Bad Request: malformed Host header")
_BAD_NAME: Final = Fault(400, "400 Bad Request: invalid header name")
_BAD_VERSION: Final = Fault(505, "505 HTTP Version Not Supported: unsupported protocol version")
_BAD_ENCODING: Final = Fault(501, "Unsupported transfer encoding")


class RequestLine(NamedTuple):
    method: str
    target: str
    parsed: Target
    version: tuple[int, int]


class Framing(NamedTuple):
    """Where the body ends: after `length` bytes, or with the last chunk."""

    length: int
    is_chunked: bool
    is_doubtful: bool = False
    """Another reader may see another end: nothing behind it is to be answered."""


def parse_line(line: bytes) -> RequestLine | None:
    """The first line, without its LF; None when it is malformed."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    method, target = match[1].decode("ascii"), match[2].decode("latin-1")
    parsed = parse_target(method, target)
    if parsed is None:
        return None
    return RequestLine(method, target, parsed, (int(match[3]), int(match[4])))


def may_be_line(data: bytes | bytearray) -> bool:
    """Is there nothing yet, in data without a line end, that no first line has?

    What speaks another protocol is told at once, though Go would wait for the end of its line.
    """
    found = _STRANGE.search(data, 0, _LOOKED_AT)
    return found is None or (found[0] == b"\r" and found.end() == len(data))


def parse_fields(head: bytes) -> Fields | None:
    """Lines with their ends, without the empty one: names in lower case. None: malformed."""
    text = head.decode("latin-1")
    if text[:1] in ("\t", " "):
        return None
    if _FIELDS.fullmatch(text):
        return [(name.lower(), value.rstrip(" \t")) for name, value in _FIELD.findall(text)]
    # What is left of a folded line of blanks counts, blanks at the ends of lines do not.
    text = _FOLD.sub(" ", _TRAILING.sub("", text))
    if not _FIELDS.fullmatch(text):
        return None
    return [(name.lower(), value) for name, value in _FIELD.findall(text)]


def parse_request(line: RequestLine, fields: Fields) -> tuple[Request, Framing] | Fault:
    values: dict[str, list[str]] = {}
    for name, value in fields:
        values.setdefault(name, []).append(value)
    hosts = values.get("host", [])
    if len(hosts) > 1:
        return BAD
    is_1_0 = line.version < (1, 1)
    framing = _framing(values, is_1_0=is_1_0)
    if isinstance(framing, Fault):
        return framing
    is_greeting = (line.method, line.target, line.version) == ("PRI", "*", (2, 0)) and not fields
    if line.version[0] != 1 and not is_greeting:
        return _BAD_VERSION
    if not hosts and not is_1_0 and not is_greeting and line.method != "CONNECT":
        return _NO_HOST
    if hosts and not _HOST.fullmatch(hosts[0]):
        return _BAD_HOST
    if any(" " in name for name in values):
        return _BAD_NAME
    closes = _closes(values.get("connection", [""]), is_1_0=is_1_0)
    request = Request(
        line.method,
        line.target,
        line.parsed,
        fields,
        has_body=framing.is_chunked or framing.length > 0,
        is_http_1_0=is_1_0,
        keeps_alive=not (closes or is_greeting or framing.is_doubtful),
    )
    return request, framing


def _closes(options: list[str], *, is_1_0: bool) -> bool:
    """Go looks for words in the first of the fields, and for elements of the list in all."""
    if is_1_0:
        return not _KEEP_ALIVE.search(options[0])
    if not any("close" in each.lower() for each in options):
        return False  # found out in a tenth of the time
    return bool(_CLOSE.search(options[0])) or any(map(_CLOSE_ELEMENT.search, options))


def _framing(values: dict[str, list[str]], *, is_1_0: bool) -> Framing | Fault:
    encodings = values.get("transfer-encoding")
    is_chunked = encodings is not None and not is_1_0
    if is_chunked and [value.lower() for value in encodings or ()] != ["chunked"]:
        return _BAD_ENCODING
    lengths = set(values.get("content-length", ()))
    length = 0
    for text in lengths:
        # Digits beyond those of the largest would take long to add up.
        digits = text.lstrip("0") or "0"
        if not _LENGTH.fullmatch(text) or len(digits) > 19 or int(digits) > _MAX_LENGTH:
            return BAD
        length = int(digits)
    if len(lengths) > 1:
        return BAD
    if is_chunked and any(map(_NO_TRAILER.search, values.get("trailer", ()))):
        return BAD
    return Framing(
        length, is_chunked, is_doubtful=encodings is not None and (is_1_0 or bool(lengths))
    )
