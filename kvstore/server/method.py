"""What a service offers and a transport serves: a table of methods that knows neither.

A unary handler is a plain function `(request, call) -> response | awaitable of one`: a request
that can be answered at once needs no task. One that waits for the disk returns a `Deferred`, which
a transport may wait for with a callback instead of a task. A stream handler is an async generator
that the transport pulls, so that the transport's flow control is the back-pressure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeAlias

from google.protobuf.message import Message

__all__ = [
    "Allowance",
    "Call",
    "Deferred",
    "EncodedParts",
    "Hold",
    "Kind",
    "Method",
    "MethodTable",
    "Progress",
    "Response",
    "Session",
    "Sliced",
    "serialized",
    "unknown_method",
]


class Kind(Enum):
    UNARY = "unary"
    SERVER_STREAM = "server_stream"
    BIDI = "bidi_stream"


@dataclass(slots=True)
class Call:
    """One call as a handler sees it.

    `metadata` has lower-case names; `peer` is the transport's text for the other side.
    """

    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    peer: str = ""


class EncodedParts(NamedTuple):
    """A serialized response in pieces, to be sent one after the other as one message."""

    parts: Sequence[bytes]


class Progress(Protocol):
    """Of who makes a large answer: whoever asked counts it, and may have it wait."""

    def add(self, size: int) -> None:
        """So many bytes more of it have been made."""
        ...

    async def turn(self) -> None:
        """Let others go first; call it between pieces."""
        ...


class Sliced:
    """A large answer that is made in pieces: `make` it, or await it where nobody counts."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[Progress], Coroutine[Any, Any, EncodedParts]]) -> None:
        self.make = make

    def __await__(self) -> Generator[Any, None, EncodedParts]:
        return self.make(_Uncounted()).__await__()


class _Uncounted:
    """Implements Progress."""

    def add(self, size: int) -> None:
        pass

    async def turn(self) -> None:
        await asyncio.sleep(0)


Response: TypeAlias = bytes | EncodedParts | Message
"""What a handler answers with; bytes are serialized already."""


def serialized(response: Response) -> bytes:
    if type(response) is bytes:
        return response
    if isinstance(response, EncodedParts):
        return b"".join(response.parts)
    assert isinstance(response, Message)
    return response.SerializeToString()


class Deferred:
    """An answer that comes later: `then` it, or await it, but one of the two and once.

    Whoever owes the answer treats it as a future: `done`, `set_result`, `set_exception`. `encode`
    turns the result into the response when it is there. A callback runs inside `set_result`, so
    that thousands of answers cost neither a task nor a turn of the loop each.
    """

    __slots__ = ("_callback", "_encode", "_error", "_is_done", "_response", "held_bytes")

    def __init__(self, encode: Callable[[Any], Response]) -> None:
        self._encode = encode
        self.held_bytes = 0
        """What the result takes, when it is there long before it may be told."""
        self._is_done = False
        self._response: Response | None = None
        self._error: Exception | None = None
        self._callback: Callable[[Response | None, Exception | None], None] | None = None

    def done(self) -> bool:
        return self._is_done

    def set_result(self, result: Any) -> None:
        try:
            self._response = self._encode(result)
        except Exception as error:
            self._error = error
        self._is_done = True
        if self._callback is not None:
            self._callback(self._response, self._error)

    def set_exception(self, error: Exception) -> None:
        self._error = error
        self._is_done = True
        if self._callback is not None:
            self._callback(None, error)

    def then(self, callback: Callable[[Response | None, Exception | None], None]) -> None:
        """Call `callback(response, error)`, one of them None: now if it is done, else when it is.

        The callback must not raise.
        """
        self._callback = callback
        if self._is_done:
            callback(self._response, self._error)

    def __await__(self) -> Generator[Any, None, Response]:
        if not self._is_done:
            future = asyncio.get_running_loop().create_future()
            self.then(lambda response, error: None if future.done() else future.set_result(None))
            yield from future
        if self._error is not None:
            raise self._error
        assert self._response is not None
        return self._response


Hold: TypeAlias = Callable[[int], bool]
"""Count so many bytes more as kept for a client, or fewer; False, and they are not counted, when he
has as many as he may."""


class Allowance:
    """Bytes that are kept for one client."""

    __slots__ = ("_most", "bytes")

    def __init__(self, most: int) -> None:
        self._most, self.bytes = most, 0

    def __repr__(self) -> str:
        return f"Allowance({self.bytes} of {self._most} bytes)"

    def hold(self, size: int) -> bool:
        """Implements Hold."""
        if size > 0 and self.bytes + size > self._most:
            return False
        self.bytes += size
        return True


class Session(Protocol):
    """A bidi stream that needs no task: requests are fed to it and responses pulled from it.

    It calls the `on_ready` it was made with when `pull` may have something; that may be often, and
    from inside `receive`.
    """

    def receive(self, request: Any) -> None:
        """A message of the client. What it raises ends the call with its status."""
        ...

    @property
    def room(self) -> int:
        """How many more messages it takes; at 0 none until some of its responses were pulled."""
        ...

    def pull(self) -> Response | None:
        """The next response; None for none now. Raises what ends the call."""
        ...

    @property
    def is_spent(self) -> bool:
        """Did the last pull do a turn's work, so that others should have theirs?"""
        ...

    @property
    def has_work(self) -> bool:
        """Is another `pull` worth while, though the last one gave nothing?"""
        ...

    def end(self) -> None:
        """The client says no more."""
        ...

    @property
    def is_over(self) -> bool:
        """Will there be no more responses, ever? Then the call ends well."""
        ...

    def close(self) -> None:
        """The call has ended, for whatever reason."""
        ...


class Method(NamedTuple):
    """`handler`: UNARY `(request, call) -> Response | Awaitable`; SERVER_STREAM
    `(request, call) -> AsyncIterator`; BIDI `(requests: AsyncIterator, call) -> AsyncIterator`.

    `shortcut`, of some UNARY methods, answers the most frequent requests from their bytes alone; it
    returns None, having done nothing, for what the handler has to look at. `session`, of some BIDI
    methods, makes the same stream as `handler` without a task: `(call, on_ready, hold) -> Session`;
    `once`, of some that have one, answers a stream whose client says one thing and no more, or
    returns None for what has to wait.
    `is_read`, of UNARY ones: it changes nothing, so that it may be run again instead of keeping its
    answer.
    """

    path: str
    kind: Kind
    request: type[Message]
    response: type[Message]
    handler: Callable[[Any, Call], Any]
    shortcut: Callable[[bytes], bytes | Deferred | None] | None = None
    session: Callable[[Call, Callable[[], None], Hold], Session] | None = None
    once: Callable[[Any], bytes | None] | None = None
    is_read: bool = False


MethodTable = Mapping[str, Method]
"""path -> Method."""


def unknown_method(methods: MethodTable, path: str) -> str:
    """What a path that is not in the table is told (as grpc-go's server says it)."""
    service, slash, name = path.removeprefix("/").rpartition("/")
    if not slash or path[0] != "/":
        return f'malformed method name: "{path}"'
    if any(known[1:].rpartition("/")[0] == service for known in methods):
        return f"unknown method {name} for service {service}"
    return f"unknown service {service}"
