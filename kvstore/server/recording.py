"""The record of calls (--debug-record-calls): how often each shape was answered with what.

    KV/Range key range_end limit -> OK
    KV/Txn compare[...] success[...] failure[...] -> OK succeeded=false
    Watch/Watch create_request(key prev_kv)             each message of a client on a stream
    Watch/Watch -> CANCELED                             how a stream ended
    foo.Bar/Now -> UNIMPLEMENTED                        a method that there is not

The handlers of a method table are wrapped, so that a server without the record has nothing of it.
With it all calls go through handlers: a shortcut answers bytes that nobody has looked at, and a
session would have to be wrapped besides the handler that does the same.

What no handler saw, like a message that is too large, is not in the record; /metrics counts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from inspect import isawaitable
from typing import Any

from google.protobuf.message import Message

from kvstore import limits
from kvstore.proto import rpc_pb2
from kvstore.server.method import Call, Kind, Method, MethodTable, Response, serialized
from kvstore.server.shapes import shape_of
from kvstore.server.status import Code, status_of

__all__ = ["CallRecord"]

_OTHERS = "others"


class CallRecord:
    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<CallRecord {len(self._counts)} shapes>"

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each was seen; `others` are those beyond RECORDED_SHAPES."""
        return self._counts

    def wrapped(self, methods: MethodTable) -> dict[str, Method]:
        """The same methods; what they are called with and how they answer is recorded."""
        return {path: self._wrapped(method) for path, method in methods.items()}

    def unknown(self, path: str) -> None:
        """A call of a method that is not in the table."""
        self._count(f"{path.removeprefix('/')} -> {Code.UNIMPLEMENTED.name}")

    def _wrapped(self, method: Method) -> Method:
        wrap: Callable[[str, Method], Callable[..., Any]]
        match method.kind:
            case Kind.UNARY:
                wrap = self._unary
            case Kind.SERVER_STREAM:
                wrap = self._server_stream
            case Kind.BIDI:
                wrap = self._bidi
        name = method.path.rpartition(".")[2]
        return method._replace(handler=wrap(name, method), shortcut=None, session=None, once=None)

    def _unary(self, name: str, method: Method) -> Callable[..., Any]:
        async def unary(request: Message, call: Call) -> Response:
            with self._ending(f"{name} {shape_of(request)}") as details:
                answer = method.handler(request, call)
                response: Response = await answer if isawaitable(answer) else answer
                if method.response is rpc_pb2.TxnResponse:
                    details.append(f"succeeded={_has_succeeded(response)}".lower())
                return response

        return unary

    def _server_stream(self, name: str, method: Method) -> Callable[..., Any]:
        async def server_stream(request: Message, call: Call) -> AsyncIterator[Response]:
            with self._ending(f"{name} {shape_of(request)}"):
                async with aclosing(method.handler(request, call)) as responses:
                    async for response in responses:
                        yield response

        return server_stream

    def _bidi(self, name: str, method: Method) -> Callable[..., Any]:
        async def counted(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
            async for request in requests:
                self._count(f"{name} {shape_of(request)}")
                yield request

        async def bidi(requests: AsyncIterator[Message], call: Call) -> AsyncIterator[Response]:
            with self._ending(name):
                async with aclosing(method.handler(counted(requests), call)) as responses:
                    async for response in responses:
                        yield response

        return bidi

    @contextmanager
    def _ending(self, shape: str) -> Iterator[list[str]]:
        """Counts a call when it ends, with the details that were added."""
        details: list[str] = []
        code = Code.OK
        try:
            yield details
        except Exception as error:
            code = status_of(error).code
            raise
        except (asyncio.CancelledError, GeneratorExit):
            code = Code.CANCELED
            raise
        finally:
            self._count(" ".join([shape.rstrip(), "->", code.name, *details]))

    def _count(self, shape: str) -> None:
        shape = shape[: limits.RECORDED_SHAPE_CHARS]
        if shape not in self._counts and len(self._counts) >= limits.RECORDED_SHAPES:
            shape = _OTHERS
        self._counts[shape] = self._counts.get(shape, 0) + 1


def _has_succeeded(response: Response) -> bool:
    if isinstance(response, rpc_pb2.TxnResponse):
        return response.succeeded
    return rpc_pb2.TxnResponse.FromString(serialized(response)).succeeded
