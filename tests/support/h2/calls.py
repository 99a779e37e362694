"""Calls of etcd's API for tests of the wire, as bytes, and a way to ask whether all is well."""

from __future__ import annotations

from kvstore.proto import rpc_pb2
from tests.support.h2.connection import Connection
from tests.support.h2.grpc import KV, LEASE, WATCH, call, message, request

__all__ = [
    "assert_serves",
    "grant",
    "keep_alive_message",
    "open_watch",
    "put",
    "range_message",
    "watch_message",
]


def range_message(key: bytes = b"k") -> bytes:
    """A whole message that asks for one key."""
    return message(rpc_pb2.RangeRequest(key=key).SerializeToString())


def keep_alive_message(lease: int) -> bytes:
    return message(rpc_pb2.LeaseKeepAliveRequest(ID=lease).SerializeToString())


def watch_message(key: bytes, start_revision: int = 0) -> bytes:
    create = rpc_pb2.WatchCreateRequest(key=key, start_revision=start_revision)
    return message(rpc_pb2.WatchRequest(create_request=create).SerializeToString())


def put(connection: Connection, key: bytes, value: bytes) -> int:
    """Put a key; returns the revision."""
    body = rpc_pb2.PutRequest(key=key, value=value).SerializeToString()
    response = call(connection, KV + "Put", body)
    assert response.status == 0, response
    return rpc_pb2.PutResponse.FromString(response.messages[0]).header.revision


def grant(connection: Connection, ttl_s: int = 600) -> int:
    """Grant a lease; returns its ID."""
    body = rpc_pb2.LeaseGrantRequest(TTL=ttl_s).SerializeToString()
    response = call(connection, LEASE + "LeaseGrant", body)
    assert response.status == 0, response
    return rpc_pb2.LeaseGrantResponse.FromString(response.messages[0]).ID


def open_watch(connection: Connection, key: bytes) -> int:
    """A stream that watches `key` and has heard that it does; returns the stream."""
    stream_id = connection.send_headers(request(WATCH + "Watch"))
    connection.send_data(stream_id, watch_message(key))
    connection.expect(0, lambda each: each.payload != b"", stream_id)
    return stream_id


def assert_serves(connection: Connection) -> None:
    """A call is answered on this connection: what came before did it no harm."""
    response = call(connection, KV + "Range", rpc_pb2.RangeRequest(key=b"k").SerializeToString())
    assert response.status == 0, response
    assert len(response.messages) == 1
