"""A request as a site sees it, and the two sides of answering one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Protocol
from urllib.parse import parse_qs

from kvstore.server.transports.web.target import Target

__all__ = ["Answer", "Fields", "Handler", "Request", "Site"]

MAX_PARAMETERS: Final = 10_000
_CONTINUE: Final = re.compile(r"(?:^|[ \t,])100-continue(?:$|[ \t,])", re.IGNORECASE)

Fields = Sequence[tuple[str, str]]
"""Header fields of an answer, with the names as they are sent."""


class Request:
    """The head of a request.

    `fields` have lower-case names. `path` is decoded, `query` is not. `is_secure`: it came by TLS.
    `host` is that of the target if it has one, else that of the field.
    """

    __slots__ = (
        "fields",
        "has_body",
        "host",
        "is_http_1_0",
        "is_secure",
        "keeps_alive",
        "method",
        "path",
        "peer",
        "query",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: str,
        parsed: Target,
        fields: Sequence[tuple[str, str]] = (),
        *,
        has_body: bool = False,
        is_http_1_0: bool = False,
        keeps_alive: bool = True,
    ) -> None:
        """`target` is what `parsed` was made of."""
        self.method, self.target, self.fields = method, target, fields
        self.has_body, self.is_http_1_0, self.keeps_alive = has_body, is_http_1_0, keeps_alive
        self.peer, self.is_secure = "", False
        self.path, self.query = parsed.path, parsed.query
        self.host = parsed.host or self.field("host")

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target} from {self.peer}>"

    def field(self, name: str, default: str = "") -> str:
        """The first value of a header field; `name` in lower case."""
        for known, value in self.fields:
            if known == name:
                return value
        return default

    @property
    def expects_continue(self) -> bool:
        """The client waits to be told to go on. Go looks for the word, wherever it stands."""
        return _CONTINUE.search(self.field("expect")) is not None

    def with_field(self, name: str, value: str) -> Request:
        """The same with one more header field; `name` in lower case."""
        request = Request.__new__(Request)
        for slot in Request.__slots__:
            setattr(request, slot, getattr(self, slot))
        request.fields = [*self.fields, (name, value)]
        return request

    def parameters(self, name: str) -> list[str]:
        """The values of a parameter of the query, empty ones too; [] when it is not there.

        Of too many parameters there is none, as for Go.
        """
        if self.query.count("&") >= MAX_PARAMETERS:
            return []
        return parse_qs(self.query, keep_blank_values=True).get(name, [])


class Answer(Protocol):
    """How a request is answered: `reply` once, or `start`, any number of `send`, and `finish`.

    Nothing is raised when the client is gone; what is sent then is dropped.
    """

    request: Request
    base: Fields
    """Header fields that every answer has besides its own."""

    @property
    def is_congested(self) -> bool:
        """The client does not take what it is sent; `Handler.writable` is called when he does."""
        ...

    def reply(
        self,
        status: int,
        fields: Fields,
        body: bytes,
        *,
        closes: bool = False,
        trailed: bool = False,
    ) -> None:
        """The whole answer. `closes`: the connection ends with it.

        `trailed` chunks it however short it is, for the trailer that a field `Trailer` announces.
        """
        ...

    def start(self, status: int, fields: Fields) -> None: ...

    def send(self, data: bytes) -> None:
        """One chunk, neither split nor joined with another."""
        ...

    def finish(self) -> None: ...

    def resume(self) -> None:
        """The handler is not backed up any more."""
        ...


class Handler(Protocol):
    """Takes the body of a request whose answer is not complete."""

    @property
    def keeps_body(self) -> bool:
        """The body is kept until its end, so it counts against its connection."""
        ...

    @property
    def is_backed_up(self) -> bool:
        """No more of the body is wanted now; see `Answer.resume`."""
        ...

    def data(self, data: bytes) -> None: ...

    def end(self, fault: str = "") -> None:
        """The body is over; `fault` says why it is not whole, if it was cut off or malformed."""
        ...

    def hang_up(self) -> None:
        """The client says no more (a half-closed socket); follows the `end` of the body."""
        ...

    def cancel(self) -> None:
        """The client is gone: nothing can be sent."""
        ...

    def drain(self) -> None:
        """The server stops: a stream ends itself, anything else is finished."""
        ...

    def writable(self) -> None:
        """The client takes data again."""
        ...


class Site(Protocol):
    def begin(self, answer: Answer) -> Handler | None:
        """Answer `answer.request`: at once, or by the handler that is returned.

        None: it has been answered, and the body, if any, is of no interest.
        """
        ...
