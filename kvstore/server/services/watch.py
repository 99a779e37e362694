"""etcdserverpb.Watch: one call is one watch stream of the store (etcd api/v3rpc/watch.go).

Requests and responses are independent: what the client asks is fed into the stream, and what the
stream says is handed out. The client's half-close only ends the feeding; a request that cannot be
read ends the call with its error.

`WatchSession` is all of it, without a task; `watch` runs one for transports that want a generator.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from kvstore.errors import StoreClosed
from kvstore.limits import WATCHERS_BYTES
from kvstore.proto import rpc_pb2
from kvstore.server import convert
from kvstore.server.header import Headers
from kvstore.server.method import Allowance, Call, Hold, Kind, Method
from kvstore.server.services.served import ServedStore, Settings

__all__ = ["WatchService", "WatchSession"]


class WatchService:
    def __init__(self, store: ServedStore, headers: Headers, settings: Settings) -> None:
        self._store, self._headers = store, headers
        self._fragment_bytes = settings.max_message_bytes

    def methods(self) -> list[Method]:
        request, response = rpc_pb2.WatchRequest, rpc_pb2.WatchResponse
        path = "/etcdserverpb.Watch/Watch"
        return [
            Method(path, Kind.BIDI, request, response, self.watch, session=self.session),
        ]

    def session(self, call: Call, on_ready: Callable[[], None], hold: Hold) -> WatchSession:
        return WatchSession(self._store, self._headers, self._fragment_bytes, on_ready, hold)

    async def watch(
        self, requests: AsyncIterator[rpc_pb2.WatchRequest], call: Call
    ) -> AsyncIterator[bytes]:
        ready, pulled = asyncio.Event(), asyncio.Event()
        session = self.session(call, ready.set, Allowance(WATCHERS_BYTES).hold)
        feeder = asyncio.create_task(_feed(requests, session, pulled))
        try:
            while True:
                if session.is_spent:
                    await asyncio.sleep(0)
                response = session.pull()
                if response is not None:
                    pulled.set()
                    yield response
                elif session.has_work:
                    await asyncio.sleep(0)
                else:
                    ready.clear()
                    await ready.wait()
        except StoreClosed:
            if feeder.done():
                feeder.result()
            raise
        finally:
            feeder.cancel()
            session.close()


async def _feed(
    requests: AsyncIterator[rpc_pb2.WatchRequest], session: WatchSession, pulled: asyncio.Event
) -> None:
    """Until the client says no more; on an error the stream is closed, which wakes its reader.

    A client that does not take his answers is not read on.
    """
    try:
        async for request in requests:
            while not session.room:
                pulled.clear()
                await pulled.wait()
            session.receive(request)
    except BaseException:
        session.close()
        raise


class WatchSession:
    """Implements Session."""

    __slots__ = ("_fragment_bytes", "_headers", "_pending", "_stream", "is_spent")

    def __init__(
        self,
        store: ServedStore,
        headers: Headers,
        fragment_bytes: int,
        on_ready: Callable[[], None],
        hold: Hold,
    ) -> None:
        self._headers, self._fragment_bytes = headers, fragment_bytes
        self._pending: deque[bytes] = deque()  # the rest of a message in fragments
        self._stream = store.watch_session(on_ready, hold)
        self.is_spent = False

    def receive(self, request: rpc_pb2.WatchRequest) -> None:
        match request.WhichOneof("request_union"):
            case "create_request":
                self._stream.create(convert.watch_create(request.create_request))
            case "cancel_request":
                self._stream.cancel(request.cancel_request.watch_id)
            case "progress_request":
                self._stream.request_progress()

    def pull(self) -> bytes | None:
        """The next response; None for none now. Raises StoreClosed."""
        if self._pending:
            self.is_spent = False
            return self._pending.popleft()
        stream = self._stream
        message = stream.poll()
        self.is_spent = stream.is_spent
        if message is None:
            return None
        header = self._headers.encoded(message.revision)
        if not message.fragment:
            return convert.whole_response(header, message)
        first, *rest = convert.watch_responses(header, message, self._fragment_bytes)
        self._pending.extend(rest)
        return first

    @property
    def room(self) -> int:
        return self._stream.room

    @property
    def has_work(self) -> bool:
        return bool(self._pending) or self._stream.has_work

    def end(self) -> None:
        """Events go on."""

    @property
    def is_over(self) -> bool:
        return False

    def close(self) -> None:
        self._stream.close()
