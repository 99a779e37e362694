"""A store without authentication says so to who logs in, and serves him without it."""

from __future__ import annotations

import grpc
import pytest

from kvstore.client.grpc import GrpcStore, RemoteError
from kvstore.proto import rpc_pb2
from tests.support.ops import get, put
from tests.support.sites import store_version


def test_who_logs_in_is_told_that_authentication_is_not_enabled(remote: GrpcStore) -> None:
    request = rpc_pb2.AuthenticateRequest(name="root", password="wrong")
    with grpc.insecure_channel(remote.target) as channel:
        authenticate = channel.unary_unary(
            "/etcdserverpb.Auth/Authenticate",
            request_serializer=rpc_pb2.AuthenticateRequest.SerializeToString,
            response_deserializer=rpc_pb2.AuthenticateResponse.FromString,
        )
        with pytest.raises(grpc.RpcError) as refused:
            authenticate(request, timeout=10)
    text = "etcdserver: authentication is not enabled"
    code = grpc.StatusCode.FAILED_PRECONDITION
    assert (refused.value.code(), refused.value.details()) == (code, text)


def test_any_token_is_ignored(remote: GrpcStore) -> None:
    with GrpcStore(remote.target, metadata=[("token", "nonsense")]) as user:
        if store_version(remote) < (3, 5):  # which looks at it all the same
            with pytest.raises(RemoteError, match="invalid auth token"):
                put(user, b"k", b"v")
            return
        put(user, b"k", b"v")
    assert [kv.value for kv in get(remote, b"k").kvs] == [b"v"]


def test_status_is_off_at_the_first_revision_of_users_and_the_newest_of_the_store(
    remote: GrpcStore,
) -> None:
    put(remote, b"k")
    with grpc.insecure_channel(remote.target) as channel:
        auth_status = channel.unary_unary(
            "/etcdserverpb.Auth/AuthStatus",
            request_serializer=rpc_pb2.AuthStatusRequest.SerializeToString,
            response_deserializer=rpc_pb2.AuthStatusResponse.FromString,
        )
        if store_version(remote) < (3, 5):
            with pytest.raises(grpc.RpcError, match="unknown method AuthStatus"):
                auth_status(rpc_pb2.AuthStatusRequest(), timeout=10)
            return
        answer = auth_status(rpc_pb2.AuthStatusRequest(), timeout=10)
    assert (answer.enabled, answer.authRevision, answer.header.revision) == (False, 1, 2)
