"""Transactions in transactions, deeper than the protobuf library goes."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError

from kvstore.errors import TooManyOperations
from kvstore.proto import rpc_pb2
from kvstore.server import convert
from kvstore.server.gateway.json_out import message_body
from kvstore.server.nesting import parser
from kvstore.server.status import Code, StatusError
from tests.support.extremes import nested_txn

parse = parser(rpc_pb2.TxnRequest)


def depth_of(txn: rpc_pb2.TxnRequest) -> int:
    depth = 1
    while txn.success[0].WhichOneof("request") == "request_txn":
        txn = txn.success[0].request_txn
        depth += 1
    assert txn.success[0].request_put.key == b"k"
    return depth


class TestRequests:
    @pytest.mark.parametrize("depth", [1, 49, 50, 51, 128, 1000, 4999])
    def test_each_level_is_there(self, depth: int) -> None:
        assert depth_of(parse(nested_txn(depth))) == depth

    def test_what_stands_beside_the_nest_is_there_too(self) -> None:
        put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"a"))
        compare = rpc_pb2.Compare(key=b"c", version=3)
        shallow = rpc_pb2.TxnRequest(compare=[compare], success=[put], failure=[put, put])
        deep = parse(nested_txn(80) + shallow.SerializeToString())
        assert depth_of(deep) == 80
        assert (list(deep.compare), list(deep.success[1:])) == ([compare], [put])
        assert list(deep.failure) == [put, put]

    def test_the_last_of_a_union_counts(self) -> None:
        nest = nested_txn(80)
        put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"a")).SerializeToString()
        deep = rpc_pb2.TxnRequest()
        deep.success.add().request_txn.MergeFromString(nested_txn(2))
        inner = b"\x22" + bytes([len(nest) & 0x7F | 0x80, len(nest) >> 7]) + nest + put
        raw = b"\x12" + bytes([len(inner) & 0x7F | 0x80, len(inner) >> 7]) + inner
        assert parse(raw).success[0].request_put.key == b"a"

    def test_beyond_go_s_limit_it_is_refused_as_there(self) -> None:
        with pytest.raises(StatusError, match="exceeded maximum recursion depth") as refused:
            parse(nested_txn(5000))
        assert refused.value.code is Code.INTERNAL

    def test_the_work_for_one_request_has_a_bound(self) -> None:
        many = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp()] * 30_000)
        with pytest.raises(StatusError, match="exceeded maximum recursion depth"):
            parse(nested_txn(80) + many.SerializeToString())

    @pytest.mark.parametrize("size", [1, 2, 3, 100, 400, -1])
    def test_one_that_is_cut_short_cannot_be_read(self, size: int) -> None:
        with pytest.raises(DecodeError):
            parse(nested_txn(80)[:size])

    @pytest.mark.parametrize("tail", [b"\x12", b"\x12\x05", b"\x0b", b"\x0d\x01", b"\xff" * 11])
    def test_a_tail_that_is_no_field_cannot_be_read(self, tail: bytes) -> None:
        with pytest.raises(DecodeError):
            parse(nested_txn(80) + tail)

    def test_other_kinds_are_parsed_as_ever(self) -> None:
        assert parser(rpc_pb2.PutRequest) == rpc_pb2.PutRequest.FromString


class TestConversion:
    def test_what_no_store_would_run_is_not_converted(self) -> None:
        assert convert.txn(parse(nested_txn(200))).success
        with pytest.raises(TooManyOperations):
            convert.txn(parse(nested_txn(201)))

    def test_an_answer_as_deep_as_a_request_can_be_is_written(self) -> None:
        response = rpc_pb2.TxnResponse(succeeded=True)
        for _ in range(199):
            outer = rpc_pb2.TxnResponse()
            outer.responses.add().response_txn.CopyFrom(response)
            response = outer
        body = message_body(rpc_pb2.TxnResponse, response.SerializeToString())
        assert body.count(b"response_txn") == 199
        assert b'{"succeeded":true}' in body
