"""What the shape of a request shows, and what it leaves out."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from kvstore.proto import rpc_pb2
from kvstore.server.shapes import shape_of

rpc = rpc_pb2
PUT = rpc.RequestOp(request_put=rpc.PutRequest(key=b"k", value=b"v"))
OTHER_PUT = rpc.RequestOp(request_put=rpc.PutRequest(key=b"a", value=b"b"))
GET = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k"))
NESTED = rpc.RequestOp(request_txn=rpc.TxnRequest(success=[PUT], failure=[GET]))


def create(**fields: object) -> rpc.WatchRequest:
    return rpc.WatchRequest(create_request=rpc.WatchCreateRequest(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "shape"),
    [
        (rpc.StatusRequest(), ""),
        (rpc.RangeRequest(key=b"k"), "key"),
        (
            rpc.RangeRequest(key=b"a", range_end=b"\0", limit=7, revision=-1, keys_only=True),
            "key range_end limit revision keys_only",
        ),
        (
            rpc.RangeRequest(key=b"k", sort_order="DESCEND", sort_target="VALUE"),
            "key sort_order=DESCEND sort_target=VALUE",
        ),
        (rpc.TxnRequest(success=[PUT, GET]), "success[request_put(key value), request_range(key)]"),
        (
            rpc.TxnRequest(success=[PUT, GET, OTHER_PUT]),
            "success[request_put(key value)+, request_range(key)]",
        ),
        (
            rpc.TxnRequest(failure=[NESTED]),
            "failure[request_txn(success[request_put(key value)] failure[request_range(key)])]",
        ),
        (rpc.TxnRequest(success=[rpc.RequestOp()]), "success[]"),
        (
            create(key=b"k", filters=["NODELETE", "NOPUT"]),
            "create_request(key filters[NODELETE, NOPUT])",
        ),
        (rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()), "progress_request()"),
        (
            rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=3)),
            "cancel_request(watch_id)",
        ),
    ],
)
def test_what_is_set(request_: Message, shape: str) -> None:
    assert shape == shape_of(request_)


@pytest.mark.parametrize(("revision", "shape"), [(0, "mod_revision=0"), (5, "mod_revision")])
def test_a_number_of_a_union_that_is_zero_is_shown(revision: int, shape: str) -> None:
    compare = rpc.Compare(key=b"k", target="MOD", result="NOT_EQUAL", mod_revision=revision)
    shown = f"compare[result=NOT_EQUAL target=MOD key {shape}]"
    assert shown == shape_of(rpc.TxnRequest(compare=[compare]))


def test_what_we_do_not_know_is_shown_by_its_number() -> None:
    field_21, field_22 = b"\xa8\x01\x01", b"\xb2\x01\x01x"
    data = rpc.RangeRequest(key=b"k").SerializeToString() + field_22 + field_21 + field_21
    assert shape_of(rpc.RangeRequest.FromString(data)) == "key ?21 ?22"


def test_a_choice_that_we_do_not_know_is_shown_by_its_number() -> None:
    sort_order_9 = b"\x28\x09"
    assert shape_of(rpc.RangeRequest.FromString(sort_order_9)) == "sort_order=9"
