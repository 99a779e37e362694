"""Every number of every request at the ends of its range, the same as from a real etcd.

The requests are made from the descriptors (tests/support/extremes.py), so that no field is left
out. Both servers get the same in the same order: the same status, text and answer, and so the same
revision, each time. What etcd 3.4.23 does otherwise than 3.7.1, or does not survive, is left out
for it.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from kvstore.proto import rpc_pb2
from kvstore.server.method import Kind, Method
from kvstore.server.services import Settings, build_methods
from tests.support.etcd import EtcdServer, EtcdVersion
from tests.support.extremes import (
    VALUES,
    Number,
    nested_txn,
    nested_txn_json,
    numbers_of,
    on_the_wire,
)
from tests.support.kvserver import KvServer

pytestmark = pytest.mark.slow

METHODS: Final = build_methods(None, None, Settings())  # type: ignore[arg-type]
LEFT_OUT: Final = {
    # No two servers say the same of themselves.
    "/etcdserverpb.Maintenance/Status": "",
    "/etcdserverpb.Cluster/MemberList": "",
    # Actions other than GET are not there yet, and etcd 3.7.1 does not survive unknown ones.
    "/etcdserverpb.Maintenance/Alarm": "action",
    # In no stated order etcd sorts each chunk by itself (docs/compatibility.md).
    "/etcdserverpb.KV/RangeStream": "sort_target",
    # Has no numbers that mean anything, and is refused.
    "/etcdserverpb.Auth/Authenticate": "",
}
"""Methods, and the field of it that is meant; "" for all of it."""
NOT_IN_34: Final = ("sort_order", "sort_target", "keys_only", "start_revision")
MARKED: Final = 77_777_777
MARKERS: Final[dict[str, Message]] = {
    "/etcdserverpb.Watch/Watch": rpc_pb2.WatchRequest(
        create_request=rpc_pb2.WatchCreateRequest(key=b"end", watch_id=MARKED)
    ),
    "/etcdserverpb.Lease/LeaseKeepAlive": rpc_pb2.LeaseKeepAliveRequest(ID=MARKED),
}
"""A request whose answer has its number: what comes before it was said to the request before."""

LATER: Final = {"events", "compact_revision"}
"""What etcd says of the past, before or after the end."""


class Outcome(NamedTuple):
    code: str
    text: str
    answer: dict[str, Any]


class Side:
    """One of the two servers."""

    def __init__(self, server: KvServer | EtcdServer) -> None:
        self.server = server
        self.channel = grpc.insecure_channel(server.target)

    def call(self, method: Method, request: bytes | Message) -> Outcome:
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        call = self.channel.unary_unary(method.path, None, method.response.FromString)
        try:
            return Outcome("OK", "", plain(call(raw, timeout=30)))
        except grpc.RpcError as error:
            return Outcome(error.code().name, error.details(), {})

    def stream(self, method: Method, raw: bytes) -> list[Outcome]:
        """What is said to one request at once, so the events of a watch are left out.

        On a stream of both sides a second request marks the end.
        """
        marker = MARKERS.get(method.path)
        if marker is None:
            call = self.channel.unary_stream(method.path, None, method.response.FromString)
            responses = call(raw, timeout=30)
        else:
            both = self.channel.stream_stream(method.path, None, method.response.FromString)
            responses = both(iter([raw, marker.SerializeToString()]), timeout=30)
        said = []
        try:
            for response in responses:
                outcome = Outcome("OK", "", plain(response))
                if str(MARKED) in outcome.answer.values():
                    break
                if not LATER & outcome.answer.keys():
                    said.append(outcome)
        except grpc.RpcError as error:
            said.append(Outcome(error.code().name, error.details(), {}))
        responses.cancel()
        return said

    def post(self, path: str, body: str) -> tuple[int, str, object]:
        """Status, text and operations of what the gateway answers."""
        request = urllib.request.Request(f"http://{self.server.target}{path}", body.encode())
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, "", json.load(response).get("responses")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)["message"], None

    def fill(self) -> None:
        """Some keys, the same ones each time."""
        put = METHODS["/etcdserverpb.KV/Put"]
        for key in (b"a", b"k", b"k", b"m", b"z"):
            assert self.call(put, rpc_pb2.PutRequest(key=key, value=b"v")).code == "OK"


def plain(response: Message) -> dict[str, Any]:
    """Without what no two servers have in common: of the header only the revision."""
    found = MessageToDict(response, preserving_proto_field_name=True)
    inner = found.get("range_response", found)
    if "header" in inner:
        inner["header"] = inner["header"].get("revision")
    return found


class Pair(NamedTuple):
    ours: Side
    etcd: Side
    version: EtcdVersion

    def numbers(self, method: Method) -> Iterator[tuple[Number, int, bool]]:
        left_out = LEFT_OUT.get(method.path)
        for number in numbers_of(method.request):
            if left_out is not None and left_out in str(number):
                continue
            if self.version is EtcdVersion.ETCD_34 and number.field.name in NOT_IN_34:
                continue
            for value in VALUES if number.field.cpp_type != number.field.CPPTYPE_BOOL else (-1, 1):
                yield number, value, False
                if on_the_wire(method.request, number, value) != on_the_wire(
                    method.request, number, value, is_wide=True
                ):
                    yield number, value, True

    def fill(self) -> None:
        self.ours.fill()
        self.etcd.fill()


@pytest.fixture(scope="module", params=EtcdVersion, ids=lambda version: version.value)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    directory: Path = tmp_path_factory.mktemp("pair")
    ticks = ["--election-timeout", "100", "--heartbeat-interval", "10"]  # those of the other one
    ours = KvServer(directory / "ours", ticks)
    try:
        etcd = EtcdServer(request.param, directory / "etcd")
        sides = Side(ours), Side(etcd)
        yield Pair(*sides, request.param)
        for side in sides:
            side.channel.close()
        etcd.kill()
    finally:
        ours.kill()


def methods(kind: Kind) -> list[str]:
    return [
        path
        for path, method in METHODS.items()
        if method.kind is kind and path.startswith("/etcdserverpb.") and LEFT_OUT.get(path) != ""
    ]


def without_id(number: Number, value: int, outcome: Outcome) -> Outcome:
    """A lease that the server was to name has a name of its own."""
    if outcome.answer.get("ID") and not (number.field.name == "ID" and value):
        return outcome._replace(answer={**outcome.answer, "ID": "any"})
    return outcome


@pytest.mark.parametrize("path", methods(Kind.UNARY))
def test_unary(pair: Pair, path: str) -> None:
    method = METHODS[path]
    grants = path == "/etcdserverpb.Lease/LeaseGrant"
    differences, filled_for = [], None
    for number, value, is_wide in pair.numbers(method):
        if filled_for != number:
            pair.fill()
            filled_for = number
        request = on_the_wire(method.request, number, value, is_wide=is_wide)
        ours, etcd = pair.ours.call(method, request), pair.etcd.call(method, request)
        if grants:
            ours, etcd = without_id(number, value, ours), without_id(number, value, etcd)
        if pair.version is EtcdVersion.ETCD_34 and path.endswith("/Alarm"):
            ours.answer.pop("header")  # it has none there
        if ours != etcd:
            differences.append((str(number), value, is_wide, ours, etcd))
    assert differences == []


@pytest.mark.parametrize("path", methods(Kind.BIDI) + methods(Kind.SERVER_STREAM))
def test_streams(pair: Pair, path: str) -> None:
    if pair.version is EtcdVersion.ETCD_34 and path.endswith("RangeStream"):
        pytest.skip("newer than 3.4")
    method = METHODS[path]
    pair.fill()
    requests = [
        (str(number), value, is_wide, on_the_wire(method.request, number, value, is_wide=is_wide))
        for number, value, is_wide in pair.numbers(method)
    ]
    with ThreadPoolExecutor(24) as pool:
        said: list[Sequence[list[Outcome]]] = [
            list(pool.map(partial(side.stream, method), [request[3] for request in requests]))
            for side in (pair.ours, pair.etcd)
        ]
    differences = [
        (*request[:3], ours, etcd)
        for request, ours, etcd in zip(requests, *said, strict=True)
        if ours != etcd
    ]
    assert differences == []


DEPTHS: Final = (2, 49, 50, 51, 60, 128, 129, 300, 400, 3333, 3334, 4999, 5000, 10_001)


@pytest.mark.parametrize("depth", DEPTHS)
def test_transactions_in_one_another(pair: Pair, depth: int) -> None:
    method = METHODS["/etcdserverpb.KV/Txn"]
    request = nested_txn(depth)
    if pair.version is EtcdVersion.ETCD_37 or depth < 5000:  # 3.4 has no limit of its own
        etcd = pair.etcd.call(method, request)
        # Go writes either of two spaces behind "proto:", so that nobody depends on the text.
        assert etcd._replace(text=etcd.text.replace("\u00a0", " ")) == pair.ours.call(
            method, request
        )
    if pair.version is EtcdVersion.ETCD_34 and depth == 3333:
        return  # it takes half a minute for it
    document = nested_txn_json(depth)
    assert pair.ours.post("/v3/kv/txn", document) == pair.etcd.post("/v3/kv/txn", document)


def test_both_have_the_same_in_the_end(pair: Pair) -> None:
    everything = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0")
    method = METHODS["/etcdserverpb.KV/Range"]
    assert pair.ours.call(method, everything) == pair.etcd.call(method, everything)
