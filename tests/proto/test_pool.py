"""kvstore's messages: usable like any other, and in nobody's way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool, json_format

from kvstore.proto import auth_pb2, health_pb2, kv_pb2, rpc_pb2, v3election_pb2

ROOT = Path(__file__).parents[2]

OURS = "from kvstore.proto import auth_pb2, health_pb2, kv_pb2, rpc_pb2, v3election_pb2, v3lock_pb2"
EXCHANGE = """
ours = rpc_pb2.PutRequest(key=b"k", value=b"v", lease=7)
theirs = other.PutRequest.FromString(ours.SerializeToString())
assert (theirs.key, theirs.value, theirs.lease) == (b"k", b"v", 7)
assert rpc_pb2.PutRequest.FromString(theirs.SerializeToString()) == ours
assert type(theirs) is not type(ours)
"""


def run(source: str, implementation: str) -> None:
    """Run a program in an interpreter of its own, with one implementation of protobuf."""
    environment = os.environ | {
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation,
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([sys.executable, "-c", source], check=True, env=environment)


class TestMessages:
    def test_a_message_survives_its_bytes(self) -> None:
        txn = rpc_pb2.TxnRequest(
            compare=[rpc_pb2.Compare(target=rpc_pb2.Compare.MOD, key=b"k", mod_revision=3)],
            success=[rpc_pb2.RequestOp(request_txn=rpc_pb2.TxnRequest())],
        )

        assert txn == rpc_pb2.TxnRequest.FromString(txn.SerializeToString())
        assert txn.compare[0].WhichOneof("target_union") == "mod_revision"

    def test_a_field_of_another_file_takes_its_class(self) -> None:
        leader = v3election_pb2.LeaderResponse(
            header=rpc_pb2.ResponseHeader(revision=2), kv=kv_pb2.KeyValue(key=b"k")
        )

        assert type(leader.kv) is kv_pb2.KeyValue
        assert leader.header.revision == 2

    def test_enum_values_are_known_by_name_and_number(self) -> None:
        assert 1 == rpc_pb2.NOSPACE == rpc_pb2.AlarmType.Value("NOSPACE")
        assert kv_pb2.Event.EventType.Name(kv_pb2.Event.DELETE) == "DELETE"
        assert auth_pb2.Permission.READWRITE == 2

    def test_a_map_field_holds_messages(self) -> None:
        response = health_pb2.HealthListResponse()
        response.statuses[""].status = health_pb2.HealthCheckResponse.SERVING

        again = health_pb2.HealthListResponse.FromString(response.SerializeToString())

        assert again.statuses[""].status == health_pb2.HealthCheckResponse.SERVING

    def test_json_has_the_names_of_the_protos(self) -> None:
        grant = rpc_pb2.LeaseTimeToLiveResponse(ID=7, grantedTTL=9)

        assert json_format.MessageToDict(grant, preserving_proto_field_name=True) == {
            "ID": "7",
            "grantedTTL": "9",
        }

    def test_a_class_says_where_it_is_found(self) -> None:
        assert repr(kv_pb2.KeyValue) == "<class 'kvstore.proto.kv_pb2.KeyValue'>"


class TestNeighbours:
    def test_the_default_pool_has_none_of_our_files(self) -> None:
        with pytest.raises(KeyError):
            descriptor_pool.Default().FindFileByName("kvstore/proto/rpc.proto")

    # etcd3's modules are of a protoc that only the pure Python implementation still loads.
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("client", "implementation"),
        [
            ("from etcd3.etcdrpc import rpc_pb2 as other", "python"),
            ("from aetcd.rpc import rpc_pb2 as other", "python"),
            ("from aetcd.rpc import rpc_pb2 as other", "upb"),
        ],
    )
    def test_another_client_works_in_the_same_process(
        self, client: str, implementation: str
    ) -> None:
        run(f"{client}\n{OURS}\n{EXCHANGE}", implementation)
        run(f"{OURS}\n{client}\n{EXCHANGE}", implementation)

    @pytest.mark.slow
    def test_a_second_definition_of_the_health_protocol_is_no_conflict(self) -> None:
        """Says what grpcio-health-checking says on import, under its file name."""
        source = f"""{OURS}
from google.protobuf import descriptor_pb2, descriptor_pool
file = descriptor_pb2.FileDescriptorProto()
health_pb2.DESCRIPTOR.CopyToProto(file)
file.name = "grpc/health/v1/health.proto"
descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
"""
        run(source, "upb")
        run(source, "python")
