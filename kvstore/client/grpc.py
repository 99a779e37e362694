"""GrpcStore: the blocking store interface over any etcd v3 endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar, cast
from weakref import WeakSet

import grpc
from google.protobuf.message import Message

from kvstore.client import messages
from kvstore.client.status import RemoteError, store_error
from kvstore.client.watch import GrpcWatchStream, WatchCall
from kvstore.errors import StoreClosed
from kvstore.proto import rpc_pb2
from kvstore.types import (
    CompactResult,
    DeleteRangeOp,
    Lease,
    LeaseStatus,
    PutOp,
    RangeOp,
    RangeResult,
    Txn,
    TxnResult,
)

__all__ = ["GrpcStore", "GrpcWatchStream", "RemoteError"]

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A connection of its own: another one's wait after a failure does not hold this one up.
    ("grpc.use_local_subchannel_pool", 1),
)

_Response = TypeVar("_Response", bound=Message)


class _Answer(Protocol):
    @property
    def header(self) -> rpc_pb2.ResponseHeader: ...


class GrpcStore:
    """StoreProtocol against `target` (`host:port`).

    Statuses become the errors of `kvstore.errors` by their text, any other text a RemoteError; the
    cause of either is the grpc.RpcError. A txn of one put or delete and nothing else goes out as
    that call, as etcd's clients send it. Safe to use from many threads.

    `timeout_s` bounds every call but watches; `metadata` goes with every call; `options` are added
    to those of the channel. `last_header` is the header of the last answer of any thread, None
    before the first.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout_s: float | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Sequence[tuple[str, str]] = (),
        options: Sequence[tuple[str, int]] = (),
    ) -> None:
        self.target = target
        self.timeout_s = timeout_s
        self.last_header: rpc_pb2.ResponseHeader | None = None
        self._metadata = tuple(metadata)
        self._closed = False
        self._watches: WeakSet[GrpcWatchStream] = WeakSet()
        options = (*_OPTIONS, *options)
        self._channel = (
            grpc.insecure_channel(target, options=options)
            if credentials is None
            else grpc.secure_channel(target, credentials, options=options)
        )

    def __repr__(self) -> str:
        return f"<GrpcStore {self.target}{' closed' if self._closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def range(self, op: RangeOp) -> RangeResult:
        request = messages.range_request(op)
        response = self.unary("/etcdserverpb.KV/Range", request, rpc_pb2.RangeResponse)
        return messages.range_result(response)

    def range_stream(self, op: RangeOp) -> Iterator[RangeResult]:
        call = self._open().unary_stream(
            "/etcdserverpb.KV/RangeStream",
            request_serializer=rpc_pb2.RangeRequest.SerializeToString,
            response_deserializer=rpc_pb2.RangeStreamResponse.FromString,
        )
        responses = call(
            messages.range_request(op), timeout=self.timeout_s, metadata=self._metadata
        )
        try:
            for response in responses:
                yield messages.range_result(response.range_response)
        except grpc.RpcError as error:
            raise store_error(error) from error
        finally:
            responses.cancel()

    def txn(self, txn: Txn) -> TxnResult:
        match txn:
            case Txn((), (PutOp() as op,), ()):
                put = messages.put_result(
                    self.unary(
                        "/etcdserverpb.KV/Put", messages.put_request(op), rpc_pb2.PutResponse
                    )
                )
                return TxnResult(put.revision, True, (put,))
            case Txn((), (DeleteRangeOp() as op,), ()):
                deleted = messages.delete_range_result(
                    self.unary(
                        "/etcdserverpb.KV/DeleteRange",
                        messages.delete_range_request(op),
                        rpc_pb2.DeleteRangeResponse,
                    )
                )
                return TxnResult(deleted.revision, True, (deleted,))
        request = messages.txn_request(txn)
        return messages.txn_result(self.unary("/etcdserverpb.KV/Txn", request, rpc_pb2.TxnResponse))

    def compact(self, revision: int, *, physical: bool = False) -> CompactResult:
        request = rpc_pb2.CompactionRequest(revision=revision, physical=physical)
        response = self.unary("/etcdserverpb.KV/Compact", request, rpc_pb2.CompactionResponse)
        return CompactResult(response.header.revision)

    def watch_stream(self) -> GrpcWatchStream:
        call = self._open().stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=rpc_pb2.WatchRequest.SerializeToString,
            response_deserializer=rpc_pb2.WatchResponse.FromString,
        )

        def start(requests: Iterator[rpc_pb2.WatchRequest]) -> WatchCall:
            return cast(WatchCall, call(requests, metadata=self._metadata))

        stream = GrpcWatchStream(start)
        self._watches.add(stream)
        return stream

    def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl_s, ID=lease_id)
        response = self.unary("/etcdserverpb.Lease/LeaseGrant", request, rpc_pb2.LeaseGrantResponse)
        return Lease(response.ID, response.TTL, response.header.revision)

    def lease_revoke(self, lease_id: int) -> int:
        request = rpc_pb2.LeaseRevokeRequest(ID=lease_id)
        response = self.unary(
            "/etcdserverpb.Lease/LeaseRevoke", request, rpc_pb2.LeaseRevokeResponse
        )
        return response.header.revision

    def lease_keep_alive(self, lease_id: int) -> Lease:
        call = self._open().stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            request_serializer=rpc_pb2.LeaseKeepAliveRequest.SerializeToString,
            response_deserializer=rpc_pb2.LeaseKeepAliveResponse.FromString,
        )
        requests = iter((rpc_pb2.LeaseKeepAliveRequest(ID=lease_id),))
        responses = call(requests, timeout=self.timeout_s, metadata=self._metadata)
        try:
            response = next(responses)
        except grpc.RpcError as error:
            raise store_error(error) from error
        finally:
            responses.cancel()
        self.last_header = response.header
        return Lease(response.ID, response.TTL, response.header.revision)

    def lease_time_to_live(self, lease_id: int, *, keys: bool = False) -> LeaseStatus:
        request = rpc_pb2.LeaseTimeToLiveRequest(ID=lease_id, keys=keys)
        response = self.unary(
            "/etcdserverpb.Lease/LeaseTimeToLive", request, rpc_pb2.LeaseTimeToLiveResponse
        )
        return LeaseStatus(
            response.ID,
            response.TTL,
            response.grantedTTL,
            sorted(response.keys),
            response.header.revision,
        )

    def lease_leases(self) -> list[int]:
        response = self.unary(
            "/etcdserverpb.Lease/LeaseLeases",
            rpc_pb2.LeaseLeasesRequest(),
            rpc_pb2.LeaseLeasesResponse,
        )
        return [lease.ID for lease in response.leases]

    def server_version(self) -> str:
        """What the endpoint says its version is, as in `3.7.1`."""
        response = self.unary(
            "/etcdserverpb.Maintenance/Status", rpc_pb2.StatusRequest(), rpc_pb2.StatusResponse
        )
        return response.version

    def unary(self, path: str, request: Message, response: type[_Response]) -> _Response:
        """One call of any unary method of the endpoint, as messages.

        Raises the StoreError that the status stands for.
        """
        call: Callable[..., _Response] = self._open().unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        try:
            answer = call(request, timeout=self.timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise store_error(error) from error
        if "header" in answer.DESCRIPTOR.fields_by_name:
            self.last_header = cast(_Answer, answer).header
        return answer

    def close(self) -> None:
        """End every watch stream and the connection; a second close does nothing."""
        self._closed = True
        for stream in list(self._watches):
            stream.close()
        self._watches.clear()
        self._channel.close()

    def _open(self) -> grpc.Channel:
        if self._closed:
            raise StoreClosed
        return self._channel
