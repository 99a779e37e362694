"""The method table served by grpc.aio: generic handlers over bytes, no generated servicers.

Requests are parsed and responses serialized here, so that an encoded response passes untouched
and every refusal has the text that etcd's own library gives it. Each call is a task of grpc.aio; on
drain the streams are ended at once, because they never end by themselves, and the unary calls get
the grace period.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from kvstore.errors import StoreClosed
from kvstore.server.config.urls import Url
from kvstore.server.method import Call, Kind, Method, MethodTable, serialized, unknown_method
from kvstore.server.nesting import parser
from kvstore.server.stats import CallStats, MethodStats
from kvstore.server.status import Code, StatusError, status_of
from kvstore.server.transports.interface import Face, Pages
from kvstore.server.transports.native.listening import make_way

__all__ = ["GrpcTransport"]

_log = logging.getLogger(__name__)

_UNREAD_BYTES: Final = 16 * 1024 * 1024
"""A message this far above the limit is refused by the library itself, before it is in memory."""
_PENDING_CALLS: Final = 65_536
"""Calls that arrived and have no task yet. The library's own bound is 1000, above which it cancels
calls at random; a burst of one client is more than that."""
_MIN_PING_INTERVAL_MS: Final = 5000
_MAX_INT32: Final = 2**31 - 1
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

_UNREADABLE: Final = (
    "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data"
)

_Context = grpc.aio.ServicerContext[Any, Any]


class GrpcTransport:
    """Listens on any number of addresses.

    `bind` each, `start` with the table, `drain` at the end. `max_message_bytes` bounds what is
    received; what is sent is not bounded. `max_streams` is per connection.
    """

    def __init__(
        self,
        *,
        max_message_bytes: int,
        max_streams: int = _MAX_INT32,
        ping_interval_s: float = 7200,
        ping_timeout_s: float = 20,
        reuse_port: bool = False,
    ) -> None:
        self._max_message_bytes = max_message_bytes
        self._methods: MethodTable = {}
        self._stats = CallStats({})
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._streams: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", max_message_bytes + _UNREAD_BYTES),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", min(max_streams, _MAX_INT32)),
                ("grpc.server.max_pending_requests", _PENDING_CALLS),
                ("grpc.server.max_pending_requests_hard_limit", 2 * _PENDING_CALLS),
                ("grpc.so_reuseport", int(reuse_port)),
                ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
                ("grpc.http2.max_ping_strikes", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                *_pings(ping_interval_s, ping_timeout_s),
            ]
        )

    def bind(self, url: Url, face: Face = Face.GRPC) -> int:
        """Take the address (port 0: any), for gRPC alone; returns the port, for a socket 1.

        Raises OSError when it cannot be had.
        """
        try:
            if url.is_unix:
                make_way(url.host)  # the library would take it from a running server, too
            return self._server.add_insecure_port(url.address)
        except (RuntimeError, OSError) as error:
            reason = f": {error.strerror}" if isinstance(error, OSError) else ""
            raise OSError(f"cannot listen on {url.address}{reason}") from error

    async def start(
        self, methods: MethodTable, stats: CallStats, pages: Pages | None = None
    ) -> None:
        self._methods, self._stats = methods, stats
        self._handlers = {path: self._handler(method) for path, method in methods.items()}
        self._server.add_generic_rpc_handlers((_Router(methods, self._handlers, stats),))
        await self._server.start()

    async def drain(self, grace_s: float) -> None:
        """Take no new call, end the streams, let unary calls finish for `grace_s`, then close."""
        self._draining = True
        stopped = asyncio.ensure_future(self._server.stop(grace_s))
        await asyncio.sleep(0)
        for stream in list(self._streams):
            stream.cancel()
        await stopped

    def __repr__(self) -> str:
        state = "draining" if self._draining else "open"
        return f"<GrpcTransport {state}, {len(self._streams)} streams>"

    def _handler(self, method: Method) -> grpc.RpcMethodHandler[Any, Any]:
        match method.kind:
            case Kind.UNARY:
                return grpc.unary_unary_rpc_method_handler(self._unary(method))
            case Kind.SERVER_STREAM:
                return grpc.unary_stream_rpc_method_handler(self._server_stream(method))
            case Kind.BIDI:
                return grpc.stream_stream_rpc_method_handler(self._bidi(method))

    def _unary(self, method: Method) -> Callable[[bytes, _Context], Awaitable[bytes]]:
        handler, parse, stats = (
            method.handler,
            self._parser(method),
            self._stats.methods[method.path],
        )

        async def unary(data: bytes, context: _Context) -> bytes:
            with _counted(stats) as end:
                try:
                    response = handler(parse(data), _call(context))
                    if not isinstance(response, (bytes, Message)):
                        response = await response
                    answer = serialized(response)
                    stats.sent += 1
                    return answer
                except Exception as error:
                    await _abort(context, method, error, end)

        return unary

    def _server_stream(self, method: Method) -> Callable[[bytes, _Context], Awaitable[None]]:
        parse = self._parser(method)

        async def server_stream(data: bytes, context: _Context) -> None:
            await self._pump(method, context, lambda: parse(data))

        return server_stream

    def _bidi(self, method: Method) -> Callable[[AsyncIterator[bytes], _Context], Awaitable[None]]:
        parse = self._parser(method)

        async def parsed(messages: AsyncIterator[bytes]) -> AsyncIterator[Message]:
            async for data in messages:
                yield parse(data)

        async def bidi(messages: AsyncIterator[bytes], context: _Context) -> None:
            await self._pump(method, context, lambda: parsed(messages))

        return bidi

    async def _pump(self, method: Method, context: _Context, request: Callable[[], Any]) -> None:
        """Write what the handler's generator yields; writing waits for the client's window."""
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        stats = self._stats.methods[method.path]
        with _counted(stats) as end:
            try:
                responses = method.handler(request(), _call(context))
                try:
                    async for response in responses:
                        await context.write(serialized(response))
                        stats.sent += 1
                finally:
                    await responses.aclose()
            except asyncio.CancelledError:
                if not self._draining:
                    raise
                await _abort(context, method, StoreClosed(), end)
            except Exception as error:
                await _abort(context, method, error, end)
            finally:
                self._streams.discard(task)

    def _parser(self, method: Method) -> Callable[[bytes], Message]:
        """Raises StatusError with the texts of etcd's gRPC library."""
        parse, limit = parser(method.request), self._max_message_bytes
        stats = self._stats.methods[method.path]

        def parsed(data: bytes) -> Message:
            stats.received += 1
            if len(data) > limit:
                raise StatusError(
                    Code.RESOURCE_EXHAUSTED,
                    f"grpc: received message larger than max ({len(data)} vs. {limit})",
                )
            try:
                return parse(data)
            except DecodeError:
                raise StatusError(Code.INTERNAL, _UNREADABLE) from None

        return parsed


class _Router(grpc.GenericRpcHandler):
    """Finds the handler of a path; what is not in the table is answered as Go's library does."""

    def __init__(
        self,
        methods: MethodTable,
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]],
        stats: CallStats,
    ) -> None:
        self._methods, self._handlers, self._stats = methods, handlers, stats

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any]:
        path = handler_call_details.method
        handler = self._handlers.get(path)
        return self._unknown(path) if handler is None else handler

    def _unknown(self, path: str) -> grpc.RpcMethodHandler[Any, Any]:
        text = unknown_method(self._methods, path)

        async def refuse(messages: AsyncIterator[bytes], context: _Context) -> None:
            self._stats.unknown(path)
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)

        return grpc.stream_stream_rpc_method_handler(refuse)


def _pings(interval_s: float, timeout_s: float) -> Sequence[tuple[str, int]]:
    """Pings of the server's own; an interval of 0 turns them off."""
    if not interval_s:
        return ()
    return (
        ("grpc.keepalive_time_ms", min(int(interval_s * 1000), _MAX_INT32)),
        ("grpc.keepalive_timeout_ms", min(int(timeout_s * 1000), _MAX_INT32)),
    )


def _call(context: _Context) -> Call:
    return Call(dict(context.invocation_metadata() or ()), context.peer())


@dataclass(slots=True)
class _End:
    """How a call ended, to be counted."""

    code: Code = Code.OK


@contextmanager
def _counted(stats: MethodStats) -> Iterator[_End]:
    """Count a call, from its start to its end."""
    stats.started += 1
    began, end = time.monotonic(), _End()
    try:
        yield end
    except asyncio.CancelledError:
        end.code = Code.CANCELED
        raise
    finally:
        stats.handled[end.code] += 1
        if stats.seconds is not None:
            stats.seconds.observe(time.monotonic() - began)


async def _abort(context: _Context, method: Method, error: Exception, end: _End) -> NoReturn:
    """End the call with the status of `error`; an unforeseen one is logged, not told."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    status = status_of(error)
    end.code = status.code
    if status.code is Code.INTERNAL and not isinstance(error, StatusError):
        _log.error("%s failed", method.path, exc_info=error)
    await context.abort(_CODES[status.code], status.message)
    raise AssertionError("abort does not return")
