"""One storage of a kube-apiserver: its connection, its calls and its watch streams.

Each resource type has a connection of its own, with these settings and this metadata.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue

import grpc

from kvstore.proto import kv_pb2, rpc_pb2
from tests.kubernetes_contract import shapes

__all__ = [
    "CHANNEL_OPTIONS",
    "PATIENCE_S",
    "UNARY_METADATA",
    "WATCH_METADATA",
    "Storage",
    "WatchCall",
]

PATIENCE_S = 20.0
"""How long an answer that must come may take; also what the client waits for a connection."""
PROGRESS_PERIOD_S = 0.1
"""A watch cache that waits for a revision asks for progress this often."""

CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_send_message_length", 2 * 1024 * 1024),
    ("grpc.max_receive_message_length", 2**31 - 1),
    ("grpc.use_local_subchannel_pool", 1),
)
_TRACE = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
UNARY_METADATA = (("client-api-version", "3.7"), _TRACE)
WATCH_METADATA = (("hasleader", "true"), *UNARY_METADATA)


_marks = itertools.count()


class Storage:
    """Calls to `target` (`host:port`) as they are on the wire; a status is a grpc.RpcError."""

    def __init__(self, target: str, options: Sequence[tuple[str, int]] = ()) -> None:
        self.channel = grpc.insecure_channel(target, options=[*CHANNEL_OPTIONS, *options])
        self._watches: list[WatchCall] = []
        self._range = self._unary("KV/Range", rpc_pb2.RangeResponse)
        self._txn = self._unary("KV/Txn", rpc_pb2.TxnResponse)
        self._compact = self._unary("KV/Compact", rpc_pb2.CompactionResponse)
        self._lease_grant = self._unary("Lease/LeaseGrant", rpc_pb2.LeaseGrantResponse)
        self._status = self._unary("Maintenance/Status", rpc_pb2.StatusResponse)
        self._range_stream = self.channel.unary_stream(
            "/etcdserverpb.KV/RangeStream",
            request_serializer=rpc_pb2.RangeRequest.SerializeToString,
            response_deserializer=rpc_pb2.RangeStreamResponse.FromString,
        )

    def range(
        self, request: rpc_pb2.RangeRequest, timeout_s: float = PATIENCE_S
    ) -> rpc_pb2.RangeResponse:
        return self._range(request, timeout=timeout_s, metadata=UNARY_METADATA)

    def txn(self, request: rpc_pb2.TxnRequest) -> rpc_pb2.TxnResponse:
        return self._txn(request, timeout=PATIENCE_S, metadata=UNARY_METADATA)

    def txns(self, requests: Sequence[rpc_pb2.TxnRequest]) -> list[rpc_pb2.TxnResponse]:
        """All at once."""
        calls = [
            self._txn.future(each, timeout=PATIENCE_S, metadata=UNARY_METADATA) for each in requests
        ]
        return [call.result() for call in calls]

    def compact(self, request: rpc_pb2.CompactionRequest) -> rpc_pb2.CompactionResponse:
        return self._compact(request, timeout=PATIENCE_S, metadata=UNARY_METADATA)

    def lease_grant(self, request: rpc_pb2.LeaseGrantRequest) -> rpc_pb2.LeaseGrantResponse:
        return self._lease_grant(request, timeout=PATIENCE_S, metadata=UNARY_METADATA)

    def status(
        self, request: rpc_pb2.StatusRequest, timeout_s: float = PATIENCE_S
    ) -> rpc_pb2.StatusResponse:
        return self._status(request, timeout=timeout_s, metadata=UNARY_METADATA)

    def range_stream(self, request: rpc_pb2.RangeRequest) -> Iterator[rpc_pb2.RangeStreamResponse]:
        return self._range_stream(request, timeout=PATIENCE_S, metadata=UNARY_METADATA)

    def watch_call(self) -> WatchCall:
        """The one Watch call that all watches of a client share; a fresh one each time here."""
        call = WatchCall(self.channel)
        self._watches.append(call)
        return call

    @property
    def is_before_3_5(self) -> bool:
        """Whether the server has the behaviour of 3.4, which differs here and there."""
        return self.status(shapes.status()).version.startswith("3.4.")

    # What tests need again and again, in the same shapes.

    def revision(self) -> int:
        return self.range(shapes.current_revision(b"/registry/nothing/")).header.revision

    def create(self, key: bytes, value: bytes = b"v", *, lease: int = 0) -> int:
        """The revision of a new object."""
        return self.update(key, value, 0, lease=lease)

    def update(self, key: bytes, value: bytes, expected_revision: int, *, lease: int = 0) -> int:
        response = self.txn(shapes.optimistic_put(key, value, expected_revision, lease=lease))
        assert response.succeeded, response
        return response.header.revision

    def delete(self, key: bytes, expected_revision: int) -> int:
        response = self.txn(shapes.optimistic_delete(key, expected_revision))
        assert response.succeeded, response
        return response.header.revision

    def fill(self, prefix: bytes, size: int, value: bytes = b"v") -> list[int]:
        """The revisions of `size` new objects named 0000, 0001, ... in this order."""
        return [self.create(prefix + b"%04d" % n, value) for n in range(size)]

    def close(self) -> None:
        for call in self._watches:
            call.close()
        self.channel.close()

    def _unary(self, method: str, response: type) -> grpc.UnaryUnaryMultiCallable:
        return self.channel.unary_unary(
            f"/etcdserverpb.{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,
        )


class WatchCall:
    """A Watch call; a thread reads it. `messages` has every response that a test took, in order."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.messages: list[rpc_pb2.WatchResponse] = []
        self._requests: SimpleQueue[rpc_pb2.WatchRequest | None] = SimpleQueue()
        self._received: SimpleQueue[rpc_pb2.WatchResponse | None] = SimpleQueue()
        self._call = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=rpc_pb2.WatchRequest.SerializeToString,
            response_deserializer=rpc_pb2.WatchResponse.FromString,
        )(iter(self._requests.get, None), metadata=WATCH_METADATA)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, request: rpc_pb2.WatchRequest) -> None:
        self._requests.put(request)

    def create(self, request: rpc_pb2.WatchRequest) -> rpc_pb2.WatchResponse:
        """Ask for a watch and wait for the answer, as clients do before they ask for another."""
        self.send(request)
        while not (message := self.next()).created:
            pass
        return message

    def poll(self, timeout_s: float) -> rpc_pb2.WatchResponse | None:
        """The next message, None after `timeout_s`. Fails when the call has ended."""
        try:
            message = self._received.get(timeout=timeout_s)
        except Empty:
            return None
        assert message is not None, f"the call ended: {self._call.code()} {self._call.details()}"
        self.messages.append(message)
        return message

    def next(self, timeout_s: float = PATIENCE_S) -> rpc_pb2.WatchResponse:
        message = self.poll(timeout_s)
        assert message is not None, f"nothing in {timeout_s} s after {self.messages[-2:]}"
        return message

    def events(self, size: int, watch_id: int = 0) -> list[kv_pb2.Event]:
        """The next `size` events of one watch; what others are told is passed over."""
        found: list[kv_pb2.Event] = []
        while len(found) < size:
            message = self.next()
            if message.watch_id == watch_id:
                assert not message.canceled, message
                found.extend(message.events)
        assert size == len(found)
        return found

    def progress(self, revision: int = 0, within_s: float = PATIENCE_S) -> rpc_pb2.WatchResponse:
        """Ask each 100 ms until progress to `revision` is told, and return that message."""
        deadline_monotonic_s = time.monotonic() + within_s
        while time.monotonic() < deadline_monotonic_s:
            self.send(shapes.watch_progress())
            while (message := self.poll(PROGRESS_PERIOD_S)) is not None:
                if is_progress(message) and message.header.revision >= revision:
                    return message
        raise AssertionError(f"no progress to {revision} after {self.messages[-2:]}")

    def up_to_now(self, storage: Storage) -> list[rpc_pb2.WatchResponse]:
        """All that the call has to say about what was asked and written before.

        A created answer means that the requests before it were dealt with, and the event of a
        write after that comes behind whatever they led to.
        """
        before = len(self.messages)
        mark = b"/registry/marks/%d" % next(_marks)
        watch_id = self.create(shapes.watch(mark, storage.revision())).watch_id
        storage.create(mark)
        while not (message := self.next()).events or message.watch_id != watch_id:
            pass
        self.send(shapes.watch_cancel(watch_id))
        while not (message := self.next()).canceled:
            pass
        return [each for each in self.messages[before:] if each.watch_id != watch_id]

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()
        self._reader.join()

    def _read(self) -> None:
        try:
            for response in self._call:
                self._received.put(response)
        except grpc.RpcError:
            pass  # the test asks the call for its status
        self._received.put(None)


def is_progress(message: rpc_pb2.WatchResponse) -> bool:
    return not (message.events or message.created or message.canceled)
