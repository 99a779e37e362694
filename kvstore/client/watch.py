"""A watch stream over gRPC: one thread reads the responses into a queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Protocol

import grpc

from kvstore.client.messages import watch_create_request, watch_message
from kvstore.client.status import store_error
from kvstore.errors import StoreClosed, StoreError
from kvstore.proto import rpc_pb2
from kvstore.types import WatchCreate, WatchMessage

__all__ = ["GrpcWatchStream", "WatchCall"]


class WatchCall(Protocol):
    """What a bidirectional gRPC call offers of use here."""

    def __iter__(self) -> Iterator[rpc_pb2.WatchResponse]: ...
    def cancel(self) -> bool: ...


class GrpcWatchStream:
    """WatchStreamProtocol over one Watch call.

    The queue is not bounded: the reader takes what the server sends, so that a slow consumer here
    never holds the connection that other calls share. Fragments are passed on as they come.
    """

    def __init__(self, call: Callable[[Iterator[rpc_pb2.WatchRequest]], WatchCall]) -> None:
        self._requests: SimpleQueue[rpc_pb2.WatchRequest | None] = SimpleQueue()
        self._messages: SimpleQueue[WatchMessage | StoreError] = SimpleQueue()
        self._closed = False
        self._call = call(iter(self._requests.get, None))
        self._reader = threading.Thread(target=self._read, name="kvstore-watch", daemon=True)
        self._reader.start()

    def __repr__(self) -> str:
        return f"<GrpcWatchStream {'closed' if self._closed else 'open'}>"

    def create(self, request: WatchCreate) -> None:
        self._send(watch_create_request(request))

    def cancel(self, watch_id: int) -> None:
        self._send(
            rpc_pb2.WatchRequest(cancel_request=rpc_pb2.WatchCancelRequest(watch_id=watch_id))
        )

    def request_progress(self) -> None:
        self._send(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))

    def half_close(self) -> None:
        """Send nothing more; what the server sends is still read."""
        self._requests.put(None)

    def next(self, timeout_s: float | None = None) -> WatchMessage | None:
        """The next message; None after `timeout_s` seconds.

        Raises StoreClosed after `close`, and what the status says when the server ended the call.
        """
        if self._closed:
            raise StoreClosed
        try:
            item = self._messages.get(timeout=timeout_s)
        except Empty:
            return None
        if isinstance(item, StoreError):
            self._messages.put(item)
            raise item
        return item

    def close(self) -> None:
        """End the call and wait for its reader; a second close does nothing."""
        if self._closed:
            return
        self._closed = True
        self._requests.put(None)
        self._call.cancel()
        self._reader.join()

    def _send(self, request: rpc_pb2.WatchRequest) -> None:
        if self._closed:
            raise StoreClosed
        self._requests.put(request)

    def _read(self) -> None:
        try:
            for response in self._call:
                self._messages.put(watch_message(response))
        except grpc.RpcError as error:
            ended = StoreClosed() if self._closed else store_error(error)
            ended.__cause__ = error
        else:
            ended = StoreClosed()
        self._messages.put(ended)
        self._requests.put(None)
