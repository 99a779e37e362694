"""Requests that are too large: what is stored at the limit, and what is said above it."""

from __future__ import annotations

import grpc
import pytest

from kvstore.proto import rpc_pb2
from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.conftest import Server
from tests.kubernetes_contract.refusals import (
    DUPLICATE_KEY,
    TOO_LARGE,
    TOO_MANY_OPS,
    Refusal,
    refusal,
)
from tests.kubernetes_contract.storage import Storage

REQUEST_LIMIT = 1_572_864
ENVELOPE = (17, 18)
"""What etcd adds to a request before it measures: tags, lengths and an id of 9 or 10 bytes, which
depends on the id of the member."""
MESSAGE_LIMIT = REQUEST_LIMIT + 512 * 1024
MAX_TXN_OPS = 128


def put_of(key: bytes, size: int, expected_revision: int = 0) -> rpc_pb2.TxnRequest:
    """An optimistic put of `size` bytes as a whole."""
    around = shapes.optimistic_put(key, b"v" * size, expected_revision).ByteSize() - size
    request = shapes.optimistic_put(key, b"v" * (size - around), expected_revision)
    # Shorter lengths may take fewer bytes themselves.
    request.success[0].request_put.value += b"v" * (size - request.ByteSize())
    assert size == request.ByteSize()
    return request


def puts(*keys: bytes) -> list[rpc_pb2.RequestOp]:
    return [rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key)) for key in keys]


class TestRequestSize:
    def test_largest_that_fits_is_stored_and_comes_back(
        self, storage: Storage, prefix: bytes
    ) -> None:
        request = put_of(prefix + b"a", REQUEST_LIMIT - max(ENVELOPE))
        created = storage.txn(request).header.revision
        value = storage.range(shapes.get(prefix + b"a")).kvs[0].value
        assert request.success[0].request_put.value == value
        storage.delete(prefix + b"a", created)

    def test_one_byte_more_than_fits_is_refused_in_these_words_and_leaves_no_trace(
        self, storage: Storage, prefix: bytes
    ) -> None:
        created = storage.create(prefix + b"a", b"1")
        size = REQUEST_LIMIT - min(ENVELOPE) + 1
        assert refusal(storage.txn, put_of(prefix + b"a", size, created)) == TOO_LARGE
        assert refusal(storage.txn, put_of(prefix + b"b", size)) == TOO_LARGE
        assert created == storage.revision()
        assert storage.range(shapes.get(prefix + b"a")).kvs[0].value == b"1"

    def test_it_is_of_the_request_even_when_it_would_not_write(
        self, storage: Storage, prefix: bytes
    ) -> None:
        assert refusal(storage.txn, put_of(prefix + b"a", REQUEST_LIMIT, 1)) == TOO_LARGE

    def test_largest_that_the_client_can_send_is_told_the_same(
        self, storage: Storage, prefix: bytes
    ) -> None:
        assert refusal(storage.txn, put_of(prefix + b"a", MESSAGE_LIMIT)) == TOO_LARGE

    def test_message_above_the_limit_of_the_server_is_refused_by_its_transport(
        self, server: Server, prefix: bytes
    ) -> None:
        # The API server's own client refuses to send it, also with this code.
        request = put_of(prefix + b"a", MESSAGE_LIMIT + 1)
        with grpc.insecure_channel(server.target) as channel:
            txn = channel.unary_unary(
                "/etcdserverpb.KV/Txn",
                request_serializer=rpc_pb2.TxnRequest.SerializeToString,
                response_deserializer=rpc_pb2.TxnResponse.FromString,
            )
            sizes = f"{MESSAGE_LIMIT + 1} vs. {MESSAGE_LIMIT}"
            text = f"grpc: received message larger than max ({sizes})"
            assert refusal(txn, request) == Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text)

    def test_read_may_have_any_size_that_arrives(self, storage: Storage, prefix: bytes) -> None:
        key = prefix + b"k" * REQUEST_LIMIT
        assert not storage.range(shapes.get(key)).kvs


class TestTxnOps:
    @pytest.mark.parametrize("branch", ["success", "failure"])
    def test_as_many_as_allowed_are_answered_and_one_more_is_refused(
        self, storage: Storage, prefix: bytes, branch: str
    ) -> None:
        keys = [prefix + b"%04d" % n for n in range(MAX_TXN_OPS + 1)]
        too_many = rpc_pb2.TxnRequest(**{branch: puts(*keys)})
        before = storage.revision()
        assert refusal(storage.txn, too_many) == TOO_MANY_OPS
        assert before == storage.revision()
        response = storage.txn(rpc_pb2.TxnRequest(success=puts(*keys[:-1])))
        assert (len(response.responses), before + 1) == (MAX_TXN_OPS, response.header.revision)
        assert storage.range(shapes.count(prefix)).count == MAX_TXN_OPS

    def test_compares_are_limited_alike(self, storage: Storage, prefix: bytes) -> None:
        compares = shapes.optimistic_put(prefix + b"a", b"", 0).compare
        allowed = rpc_pb2.TxnRequest(compare=list(compares) * MAX_TXN_OPS)
        assert storage.txn(allowed).succeeded
        allowed.compare.extend(compares)
        assert refusal(storage.txn, allowed) == TOO_MANY_OPS

    @pytest.mark.parametrize("branch", ["success", "failure"])
    def test_same_key_twice_in_a_branch_is_refused_and_leaves_no_trace(
        self, storage: Storage, prefix: bytes, branch: str
    ) -> None:
        before = storage.revision()
        twice = rpc_pb2.TxnRequest(**{branch: puts(prefix + b"a", prefix + b"b", prefix + b"a")})
        assert refusal(storage.txn, twice) == DUPLICATE_KEY
        assert before == storage.revision()
        assert not storage.range(shapes.list_page(prefix)).kvs

    def test_same_key_in_both_branches_is_none(self, storage: Storage, prefix: bytes) -> None:
        response = storage.txn(
            rpc_pb2.TxnRequest(success=puts(prefix + b"a"), failure=puts(prefix + b"a"))
        )
        assert response.succeeded
        assert storage.range(shapes.get(prefix + b"a")).kvs[0].version == 1
