"""Malformed JSON by the thousand: a status, never another exception, and never another meaning."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from kvstore.proto import rpc_pb2
from kvstore.server.gateway.json_in import first_document
from kvstore.server.gateway.splitter import Splitter
from kvstore.server.status import Code, StatusError
from tests.support.fuzz import ROUNDS, SEED

pytestmark = pytest.mark.slow

COUNT = 10_000 * ROUNDS
KINDS = {
    b'{"key":"YQ==","range_end":"Yg==","limit":"5","sort_order":"DESCEND",'
    b'"sort_target":"KEY","keys_only":true,"revision":1}': rpc_pb2.RangeRequest,
    b'{"compare":[{"key":"YQ==","target":"VERSION","result":"GREATER","version":"0"}],'
    b'"success":[{"requestRange":{"key":"YQ=="}},{"request_txn":{"success":[{}]}}],'
    b'"failure":[{"request_put":{"key":"Yg==","lease":-1}}]}': rpc_pb2.TxnRequest,
    b'{"ID":"99","keys":true}': rpc_pb2.LeaseTimeToLiveRequest,
    b'{"create_request":{"key":"\\u0041==","filters":["NOPUT",1],"nope":[1,{"a":[null,-0.5e-3]}]}}'
    b'{"cancel_request":{"watch_id":"7"}}': rpc_pb2.WatchRequest,
    b'{"name":"\\ud83d\\ude00","password":"\xc3\xa9"}': rpc_pb2.AuthenticateRequest,
}
SPICE = [
    *(bytes((each,)) for each in b'"\\{}[]:,-0 \n\0\xff='),
    b"null",
    b"true",
    b"1e400",
    b"9" * 30,
    b"1.5",
    b"\\u00",
    b"\\ud800",
    b"\xc3\xa9",
    b"NaN",
    b"_-",
    b'"limit":',
    b"{}",
    b'"a":{"b":[[]]},',
    b"[" * 3000,
    b'{"request_txn":{"success":[' * 200,
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
]


def mutants(count: int) -> Iterator[tuple[bytes, type]]:
    source = random.Random(SEED)
    for _ in range(count):
        data, kind = source.choice(list(KINDS.items()))
        for _ in range(source.choice((1, 1, 2, 3, 5))):
            at = source.randrange(len(data) + 1)
            end = min(len(data), at + source.choice((1, 1, 2, 4)))
            spice = source.choice(
                [b"", source.randbytes(1), source.choice(SPICE), data[at:end] * 2]
            )
            data = data[:at] + spice + data[source.choice((at, end)) :]
        yield data, kind


def test_a_message_or_a_status() -> None:
    taken, codes = 0, set[Code]()
    for data, kind in mutants(COUNT):
        try:
            message = first_document(kind, data)
        except StatusError as error:
            codes.add(error.code)
        else:
            assert kind.FromString(message.SerializeToString()) == message
            taken += 1
    assert taken > COUNT // 20
    assert codes == {Code.INVALID_ARGUMENT}


def test_documents_are_cut_alike_in_pieces_of_any_size() -> None:
    source = random.Random(SEED)
    for data, _ in mutants(COUNT // 4):
        whole = Splitter(100_000)
        documents = whole.feed(data)
        pieces, cut = Splitter(100_000), source.randrange(len(data) + 1)
        assert pieces.feed(data[:cut]) + pieces.feed(data[cut:]) == documents
        assert (pieces.is_broken, pieces.is_too_large) == (whole.is_broken, whole.is_too_large)
        assert b"".join(documents) in data or len(documents) > 1
