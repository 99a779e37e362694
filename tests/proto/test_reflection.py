"""What the versions of protobuf say each in its own way."""

from __future__ import annotations

from kvstore.proto import health_pb2, rpc_pb2
from kvstore.proto.reflection import is_repeated, unknown_field_numbers


class TestIsRepeated:
    def test_lists_of_messages_bytes_numbers_and_maps_are(self) -> None:
        txn = rpc_pb2.TxnRequest.DESCRIPTOR.fields_by_name
        watch = rpc_pb2.WatchCreateRequest.DESCRIPTOR.fields_by_name
        health = health_pb2.HealthListResponse.DESCRIPTOR.fields_by_name
        assert is_repeated(txn["compare"])
        assert is_repeated(watch["filters"])
        assert is_repeated(health["statuses"])

    def test_single_ones_are_not(self) -> None:
        put = rpc_pb2.PutRequest.DESCRIPTOR.fields
        compare = rpc_pb2.Compare.DESCRIPTOR.fields
        response = rpc_pb2.PutResponse.DESCRIPTOR.fields
        assert not any(map(is_repeated, [*put, *compare, *response]))


class TestUnknownFieldNumbers:
    def test_those_that_the_type_does_not_have(self) -> None:
        lease = rpc_pb2.LeaseGrantRequest(TTL=1, ID=2).SerializeToString()
        assert unknown_field_numbers(rpc_pb2.AuthStatusRequest.FromString(lease)) == {1, 2}
        assert unknown_field_numbers(rpc_pb2.LeaseGrantRequest.FromString(lease)) == set()
