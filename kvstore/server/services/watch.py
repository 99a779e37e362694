"""etcdserverpb.Watch: one call is one watch stream of the store (etcd api/v3rpc/watch.go).

Requests and responses are independent: a task feeds what the client asks into the stream, the
generator hands out what the stream says. The client's half-close only ends the feeding; a request
that cannot be read ends the call with its error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kvstore.errors import StoreClosed
from kvstore.proto import rpc_pb2
from kvstore.server import convert
from kvstore.server.header import Headers
from kvstore.server.method import Call, Encoded, Kind, Method
from kvstore.server.services.served import ServedStore, Settings
from kvstore.store.interface import AsyncWatchStream

__all__ = ["WatchService"]


class WatchService:
    def __init__(self, store: ServedStore, headers: Headers, settings: Settings) -> None:
        self._store, self._headers = store, headers
        self._fragment_bytes = settings.max_message_bytes

    def methods(self) -> list[Method]:
        request, response = rpc_pb2.WatchRequest, rpc_pb2.WatchResponse
        return [Method("/etcdserverpb.Watch/Watch", Kind.BIDI, request, response, self.watch)]

    async def watch(
        self, requests: AsyncIterator[rpc_pb2.WatchRequest], call: Call
    ) -> AsyncIterator[Encoded]:
        stream = self._store.watch_stream()
        feeder = asyncio.create_task(_feed(requests, stream))
        try:
            while True:
                message = await stream.next()
                header = self._headers.encoded(message.revision)
                for response in convert.watch_responses(header, message, self._fragment_bytes):
                    yield response
        except StoreClosed:
            if feeder.done():
                feeder.result()
            raise
        finally:
            feeder.cancel()
            stream.close()


async def _feed(requests: AsyncIterator[rpc_pb2.WatchRequest], stream: AsyncWatchStream) -> None:
    """Until the client says no more; on an error the stream is closed, which wakes its reader."""
    try:
        async for request in requests:
            match request.WhichOneof("request_union"):
                case "create_request":
                    stream.create(convert.watch_create(request.create_request))
                case "cancel_request":
                    stream.cancel(request.cancel_request.watch_id)
                case "progress_request":
                    stream.request_progress()
    except BaseException:
        stream.close()
        raise
