"""Spliced responses parse to the messages that protobuf would have built."""

from typing import TypeVar

import pytest
from google.protobuf.message import Message

from kvstore.core.mvcc import record
from kvstore.keys import KeyRange
from kvstore.proto import kv_pb2, rpc_pb2
from kvstore.server import convert
from kvstore.server.convert.wire import event_message, key_value
from kvstore.server.header import Headers
from kvstore.server.method import serialized
from kvstore.types import (
    Compare,
    DeleteRangeOp,
    DeleteRangeResult,
    Event,
    EventType,
    KeyValue,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    Txn,
    TxnResult,
    WatchCreate,
    WatchMessage,
)

M = TypeVar("M", bound=Message)
HEADERS = Headers(0xCDF818194E3A8C32, 0x8E9E05C52164694D, 3)
KVS = [
    KeyValue(b"a", b"1", 2, 5, 3, 0),
    KeyValue(b"b\x00\xff", b"", 3, 3, 1, -9),
    KeyValue(b"c" * 200, b"v" * 20_000, 4, 2**40, 77, 2**62),
]
EVENTS = [
    Event(EventType.PUT, KVS[0]),
    Event(EventType.DELETE, KeyValue(b"gone", mod_revision=9), KVS[1]),
    Event(EventType.PUT, KVS[2], KVS[0]),
]


class WireEvents(record.WireSequence[Event]):
    def __init__(self, events: list[Event]) -> None:
        self.events = events

    def __len__(self) -> int:
        return len(self.events)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self.events[index]

    def wire(self) -> list[bytes]:
        return [event_message(event).SerializeToString() for event in self.events]


def stored(kvs: list[KeyValue]) -> record.Records:
    return record.Records(
        [
            record.encode(
                kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease
            )
            for kv in kvs
        ]
    )


def parsed(kind: type[M], encoded: bytes) -> M:
    return kind.FromString(encoded)


class TestHeader:
    @pytest.mark.parametrize(
        "revision", [0, 1, 127, 128, 2047, 2048, 16383, 2**21, 2**28 + 5, 2**40, 2**63 - 1]
    )
    def test_encoded_header_is_the_message(self, revision: int) -> None:
        response = rpc_pb2.PutResponse.FromString(HEADERS.encoded(revision))
        assert rpc_pb2.PutResponse(header=HEADERS.message(revision)) == response

    def test_cached_header_follows_the_revision(self) -> None:
        assert HEADERS.encoded(5) == HEADERS.encoded(5)
        assert HEADERS.encoded(5) != HEADERS.encoded(6)


class TestRangeResponse:
    @pytest.mark.parametrize("kvs", [KVS, stored(KVS)], ids=["built", "spliced"])
    @pytest.mark.parametrize("more", [True, False])
    def test_range(self, kvs: list[KeyValue], more: bool) -> None:
        result = RangeResult(7, kvs, more, 12)
        expected = rpc_pb2.RangeResponse(
            header=HEADERS.message(7), kvs=map(key_value, KVS), more=more, count=12
        )
        got = parsed(rpc_pb2.RangeResponse, convert.range_response(HEADERS.encoded(7), result))
        assert expected == got

    def test_spliced_bytes_are_what_protobuf_writes(self) -> None:
        result = RangeResult(7, stored(KVS), True, 3)
        expected = rpc_pb2.RangeResponse(
            header=HEADERS.message(7), kvs=map(key_value, KVS), more=True, count=3
        )
        spliced = convert.range_response(HEADERS.encoded(7), result)
        assert expected.SerializeToString(deterministic=True) == spliced

    def test_a_large_one_in_slices_is_the_same(self) -> None:
        kvs = stored([KeyValue(b"%05d" % n, b"v", 2, 3, 1) for n in range(5000)])
        result = RangeResult(7, kvs, True, 9000)
        header = HEADERS.encoded(7)
        parts = [convert.range_part(kvs[:2000]), convert.range_part(kvs[2000:])]
        large = convert.range_response_of(header, parts, result._replace(kvs=()))
        assert convert.range_response(header, result) == serialized(large)

    def test_keys_only_has_neither_value_nor_lease(self) -> None:
        kvs = record.KeyRecords(stored(KVS).records)
        encoded = convert.range_response(b"", RangeResult(7, kvs, False, 3))
        expected = [key_value(kv._replace(value=b"", lease=0)) for kv in KVS]
        assert expected == list(parsed(rpc_pb2.RangeResponse, encoded).kvs)

    def test_a_chunk_without_header_has_none(self) -> None:
        encoded = convert.range_stream_response(b"", RangeResult(0, stored(KVS), False, 0))
        response = parsed(rpc_pb2.RangeStreamResponse, encoded).range_response
        assert not response.HasField("header")
        assert len(KVS) == len(response.kvs)


class TestWriteResponses:
    def test_put(self) -> None:
        encoded = convert.put_response(HEADERS.encoded(8), PutResult(8, KVS[0]))
        expected = rpc_pb2.PutResponse(header=HEADERS.message(8), prev_kv=key_value(KVS[0]))
        assert expected == parsed(rpc_pb2.PutResponse, encoded)

    def test_delete_range(self) -> None:
        result = DeleteRangeResult(8, 3, stored(KVS))
        expected = rpc_pb2.DeleteRangeResponse(
            header=HEADERS.message(8), deleted=3, prev_kvs=map(key_value, KVS)
        )
        encoded = convert.delete_range_response(HEADERS.encoded(8), result)
        assert expected == parsed(rpc_pb2.DeleteRangeResponse, encoded)

    def test_txn_with_a_nested_one(self) -> None:
        nested = TxnResult(0, False, [PutResult(9)])
        result = TxnResult(
            9, True, [RangeResult(8, stored(KVS), False, 3), DeleteRangeResult(9, 0), nested]
        )
        revision = rpc_pb2.ResponseHeader
        expected = rpc_pb2.TxnResponse(
            header=HEADERS.message(9),
            succeeded=True,
            responses=[
                rpc_pb2.ResponseOp(
                    response_range=rpc_pb2.RangeResponse(
                        header=revision(revision=8), kvs=map(key_value, KVS), count=3
                    )
                ),
                rpc_pb2.ResponseOp(
                    response_delete_range=rpc_pb2.DeleteRangeResponse(header=revision(revision=9))
                ),
                rpc_pb2.ResponseOp(
                    response_txn=rpc_pb2.TxnResponse(
                        header=revision(),
                        responses=[
                            rpc_pb2.ResponseOp(
                                response_put=rpc_pb2.PutResponse(header=revision(revision=9))
                            )
                        ],
                    )
                ),
            ],
        )
        encoded = convert.txn_response(HEADERS.encoded(9), result)
        assert expected == parsed(rpc_pb2.TxnResponse, encoded)


def watch_parts(message: WatchMessage, max_bytes: int = 2**21) -> list[rpc_pb2.WatchResponse]:
    header = HEADERS.encoded(message.revision)
    encoded = convert.watch_responses(header, message, max_bytes)
    return [parsed(rpc_pb2.WatchResponse, part) for part in encoded]


class TestWatchResponses:
    @pytest.mark.parametrize("events", [EVENTS, WireEvents(EVENTS)], ids=["built", "spliced"])
    def test_events(self, events: list[Event]) -> None:
        (response,) = watch_parts(WatchMessage(4, 9, events))
        expected = rpc_pb2.WatchResponse(
            header=HEADERS.message(9), watch_id=4, events=map(event_message, EVENTS)
        )
        assert expected == response

    def test_refused(self) -> None:
        message = WatchMessage(-1, 9, created=True, canceled=True, cancel_reason="no")
        (response,) = watch_parts(message)
        expected = rpc_pb2.WatchResponse(
            header=HEADERS.message(9), watch_id=-1, created=True, canceled=True, cancel_reason="no"
        )
        assert expected == response

    def test_compacted_has_a_header_without_revision(self) -> None:
        (response,) = watch_parts(WatchMessage(3, 0, canceled=True, compact_revision=50))
        expected = rpc_pb2.WatchResponse(
            header=HEADERS.message(0), watch_id=3, canceled=True, compact_revision=50
        )
        assert expected == response

    def test_progress(self) -> None:
        (response,) = watch_parts(WatchMessage(-1, 9))
        assert rpc_pb2.WatchResponse(header=HEADERS.message(9), watch_id=-1) == response


class TestFragments:
    EVENTS = tuple(
        Event(EventType.PUT, KeyValue(b"k%d" % n, b"v" * 1000, 9, 9, 1)) for n in range(10)
    )

    def test_large_message_is_split_below_the_bound(self) -> None:
        parts = watch_parts(WatchMessage(4, 9, self.EVENTS, fragment=True), 3500)
        assert [part.fragment for part in parts] == [True, True, True, False]
        assert all(part.ByteSize() < 3500 for part in parts)
        assert list(map(event_message, self.EVENTS)) == [e for part in parts for e in part.events]
        assert all(part.header == HEADERS.message(9) and part.watch_id == 4 for part in parts)

    def test_an_event_over_the_bound_goes_alone(self) -> None:
        parts = watch_parts(WatchMessage(4, 9, self.EVENTS, fragment=True), 10)
        assert [len(part.events) for part in parts] == [1] * 10

    def test_not_asked_for_is_not_split(self) -> None:
        assert len(watch_parts(WatchMessage(4, 9, self.EVENTS), 3500)) == 1

    def test_small_message_is_not_split(self) -> None:
        (response,) = watch_parts(WatchMessage(4, 9, EVENTS, fragment=True))
        assert not response.fragment


class TestRequests:
    def test_range_op(self) -> None:
        request = rpc_pb2.RangeRequest(
            key=b"a",
            range_end=b"b",
            limit=1,
            revision=2,
            sort_order=9,  # type: ignore[arg-type]
            sort_target="VALUE",
            serializable=True,
            keys_only=True,
            count_only=True,
            min_mod_revision=3,
            max_mod_revision=4,
            min_create_revision=5,
            max_create_revision=6,
        )
        expected = RangeOp(KeyRange(b"a", b"b"), 1, 2, 9, 4, True, True, True, 3, 4, 5, 6)
        assert expected == convert.range_op(request)

    def test_txn(self) -> None:
        op = rpc_pb2.RequestOp
        request = rpc_pb2.TxnRequest(
            compare=[rpc_pb2.Compare(result="GREATER", target="MOD", key=b"a", mod_revision=0)],
            success=[op(request_put=rpc_pb2.PutRequest(key=b"a", value=b"1", lease=5)), op()],
            failure=[
                op(request_delete_range=rpc_pb2.DeleteRangeRequest(key=b"a", prev_kv=True)),
                op(request_range=rpc_pb2.RangeRequest(key=b"a")),
                op(request_txn=rpc_pb2.TxnRequest()),
            ],
        )
        expected = Txn(
            [Compare(KeyRange(b"a"), 2, 1, 0)],
            [PutOp(b"a", b"1", 5), None],
            [DeleteRangeOp(KeyRange(b"a"), True), RangeOp(KeyRange(b"a")), Txn([], [], [])],
        )
        assert expected == convert.txn(request)

    @pytest.mark.parametrize("target", [1, 3, 9, -1])
    def test_an_operand_of_another_target_is_absent(self, target: int) -> None:
        compare = rpc_pb2.Compare(target=target, key=b"a", version=4)  # type: ignore[arg-type]
        (got,) = convert.txn(rpc_pb2.TxnRequest(compare=[compare])).compares
        assert Compare(KeyRange(b"a"), target, 0, None) == got

    def test_watch_create(self) -> None:
        request = rpc_pb2.WatchCreateRequest(
            key=b"a",
            range_end=b"b",
            start_revision=3,
            progress_notify=True,
            filters=["NODELETE"],
            prev_kv=True,
            watch_id=-7,
            fragment=True,
        )
        expected = WatchCreate(KeyRange(b"a", b"b"), 3, -7, True, (1,), True, True)
        assert expected == convert.watch_create(request)


def test_a_stored_record_holds_the_message() -> None:
    kv = kv_pb2.KeyValue.FromString(stored(KVS).wire()[2])
    assert key_value(KVS[2]) == kv
