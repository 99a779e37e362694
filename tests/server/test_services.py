"""The services over a store that says what it is told to."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest
from google.protobuf.message import Message

from kvstore.errors import (
    KeyNotProvided,
    LeaseNotFound,
    LeaseProvided,
    RequestTooLarge,
    StoreClosed,
)
from kvstore.keys import KeyRange
from kvstore.proto import health_pb2, rpc_pb2
from kvstore.server.header import Headers
from kvstore.server.method import Call, Response, serialized
from kvstore.server.services import Settings, build_methods
from kvstore.server.status import Code, StatusError
from kvstore.store.interface import Waiter
from kvstore.types import (
    CompactResult,
    DeleteRangeOp,
    DeleteRangeResult,
    KeyValue,
    Lease,
    LeaseStatus,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    StoreStatus,
    Txn,
    TxnResult,
    WatchCreate,
    WatchMessage,
)

HEADERS = Headers(11, 22, 3)
SETTINGS = Settings(
    name="m", peer_urls=["http://p:1"], client_urls=["http://c:2"], quota_backend_bytes=77
)
T = TypeVar("T")
W = TypeVar("W", bound=Waiter)
M = TypeVar("M", bound=Message)


class FakeStream:
    def __init__(self) -> None:
        self.asked: list[object] = []
        self.messages: deque[WatchMessage] = deque()
        self.on_ready: Callable[[], None] = lambda: None
        self.closed = False

    def create(self, request: WatchCreate) -> None:
        self.asked.append(request)

    def cancel(self, watch_id: int) -> None:
        self.asked.append(watch_id)

    def request_progress(self) -> None:
        self.asked.append("progress")

    def say(self, message: WatchMessage) -> None:
        self.messages.append(message)
        self.on_ready()

    room, is_spent = 10, False

    @property
    def has_work(self) -> bool:
        return bool(self.messages)

    def poll(self) -> WatchMessage | None:
        if self.closed:
            raise StoreClosed
        return self.messages.popleft() if self.messages else None

    def close(self) -> None:
        self.closed = True
        self.on_ready()


class FakeStore:
    """`asked` has what was asked; answers are fixed, at revision 9."""

    revision = 9
    range = RangeResult(9, [KeyValue(b"k", b"v" * 1000, 2, 3, 2)], False, 1)

    def __init__(self, *, small: bool = True) -> None:
        self.small = small
        self.asked: list[Any] = []
        self.stream = FakeStream()
        self.chunks: Sequence[RangeResult] = ()

    def is_small(self, op: RangeOp) -> bool:
        return self.small

    def range_now(self, op: RangeOp) -> RangeResult:
        self.asked.append(op)
        return RangeResult(9, [KeyValue(b"k", b"v", 2, 3, 2)], True, 5)

    async def range_in_parts(
        self,
        op: RangeOp,
        use: Callable[[Sequence[KeyValue]], bytes],
        turn: Callable[[], Awaitable[None]],
    ) -> tuple[RangeResult, list[bytes]]:
        await turn()
        result = self.range_now(op)
        return result._replace(kvs=()), [use(result.kvs)]

    async def range_stream(self, op: RangeOp) -> AsyncIterator[RangeResult]:
        self.asked.append(op)
        for chunk in self.chunks:
            yield chunk

    def decide(self, txn: Txn, waiter: W, at_once: Callable[[TxnResult], None] | None = None) -> W:
        self.asked.append(txn)
        results = {
            PutOp: PutResult(9),
            DeleteRangeOp: DeleteRangeResult(9, 2),
            RangeOp: self.range,
            Txn: TxnResult(9, True, [self.range]),
        }
        responses = [results[type(op)] for op in txn.success]  # type: ignore[index]
        result = TxnResult(9, True, responses)
        if at_once is not None:
            at_once(result)
        waiter.set_result(result)
        return waiter

    async def compact(self, revision: int, *, physical: bool = False) -> CompactResult:
        self.asked.append((revision, physical))
        return CompactResult(9)

    async def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        return Lease(lease_id or 1234, max(ttl_s, 2), 9)

    async def lease_revoke(self, lease_id: int) -> int:
        if lease_id != 5:
            raise LeaseNotFound
        return 9

    async def lease_keep_alive(self, lease_id: int) -> Lease:
        self.revision += 1
        return Lease(lease_id, 60 if lease_id == 5 else 0, self.revision)

    async def lease_time_to_live(self, lease_id: int, *, keys: bool = False) -> LeaseStatus:
        if lease_id != 5:
            return LeaseStatus(lease_id, -1, 0, (), 9)
        return LeaseStatus(5, 30, 60, [b"a", b"b"] if keys else (), 9)

    async def lease_leases(self) -> list[int]:
        return [5, -6]

    def watch_session(
        self, on_ready: Callable[[], None], hold: Callable[[int], bool]
    ) -> FakeStream:
        self.stream.on_ready = on_ready
        return self.stream

    def status(self) -> StoreStatus:
        return StoreStatus(9, 2, 4096, 1024, 31, 4, 5, 6)


def call(store: FakeStore, path: str, request: Message, settings: Settings = SETTINGS) -> Any:
    async def run() -> Message:
        method = build_methods(store, HEADERS, settings)[path]  # type: ignore[arg-type]
        response = method.handler(request, Call())
        if not isinstance(response, (bytes, Message)):
            response = await response
        return decoded(method.response, response)

    return asyncio.run(run())


def decoded(kind: type[M], response: Response) -> M:
    return kind.FromString(serialized(response))


def collected(store: FakeStore, path: str, request: Any) -> list[Any]:
    async def run() -> list[Any]:
        method = build_methods(store, HEADERS, SETTINGS)[path]  # type: ignore[arg-type]
        responses = method.handler(request, Call())
        return [decoded(method.response, response) async for response in responses]

    return asyncio.run(run())


async def sent(*requests: T) -> AsyncIterator[T]:
    for request in requests:
        yield request


KV = "/etcdserverpb.KV/"


class TestKV:
    @pytest.mark.parametrize("small", [True, False])
    def test_range(self, small: bool) -> None:
        store = FakeStore(small=small)
        response = call(store, KV + "Range", rpc_pb2.RangeRequest(key=b"k"))
        assert [RangeOp(KeyRange(b"k"))] == store.asked
        assert HEADERS.message(9) == response.header
        assert (len(response.kvs), response.more, response.count) == (1, True, 5)

    def test_put_delete_and_txn(self) -> None:
        store = FakeStore()
        put = call(store, KV + "Put", rpc_pb2.PutRequest(key=b"k", value=b"v"))
        delete = call(store, KV + "DeleteRange", rpc_pb2.DeleteRangeRequest(key=b"k"))
        txn = call(store, KV + "Txn", rpc_pb2.TxnRequest())
        assert rpc_pb2.PutResponse(header=HEADERS.message(9)) == put
        assert rpc_pb2.DeleteRangeResponse(header=HEADERS.message(9), deleted=2) == delete
        assert rpc_pb2.TxnResponse(header=HEADERS.message(9), succeeded=True) == txn
        assert [(PutOp(b"k", b"v"),), (DeleteRangeOp(KeyRange(b"k")),), []] == [
            txn.success for txn in store.asked
        ]

    def test_what_a_transaction_has_read_is_counted_while_it_waits(self) -> None:
        """Also in one inside it."""
        method = build_methods(FakeStore(), HEADERS, SETTINGS)[KV + "Txn"]  # type: ignore[arg-type]
        read = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=b"k"))
        nested = rpc_pb2.RequestOp(request_txn=rpc_pb2.TxnRequest(success=[read]))
        held = [
            method.handler(rpc_pb2.TxnRequest(success=success), Call()).held_bytes
            for success in ([], [read], [nested], [read, nested])
        ]
        assert 1000 < held[1] < 2000
        assert held == [0, held[1], held[1], 2 * held[1]]

    def test_compact(self) -> None:
        store = FakeStore()
        request = rpc_pb2.CompactionRequest(revision=4, physical=True)
        response = call(store, KV + "Compact", request)
        assert HEADERS.message(9) == response.header
        assert store.asked == [(4, True)]


class TestRequestSize:
    def test_a_put_just_below_the_bound_passes(self) -> None:
        request = rpc_pb2.PutRequest(key=b"k", value=b"x" * 1_572_764)
        assert call(FakeStore(), KV + "Put", request).HasField("header")

    def test_a_put_at_the_bound_is_too_large(self) -> None:
        request = rpc_pb2.PutRequest(key=b"k", value=b"x" * 1_572_864)
        with pytest.raises(RequestTooLarge):
            call(FakeStore(), KV + "Put", request)

    def test_a_malformed_one_is_told_that_first(self) -> None:
        request = rpc_pb2.PutRequest(value=b"x" * 1_572_864)
        with pytest.raises(KeyNotProvided):
            call(FakeStore(), KV + "Put", request)
        request = rpc_pb2.PutRequest(key=b"x" * 1_572_864, lease=1, ignore_lease=True)
        with pytest.raises(LeaseProvided):
            call(FakeStore(), KV + "Put", request)

    def test_deletes_and_txns_are_measured(self) -> None:
        delete = rpc_pb2.DeleteRangeRequest(key=b"x" * 1_572_864)
        txn = rpc_pb2.TxnRequest(failure=[rpc_pb2.RequestOp(request_delete_range=delete)])
        for method, request in (("DeleteRange", delete), ("Txn", txn)):
            with pytest.raises(RequestTooLarge):
                call(FakeStore(), KV + method, request)

    def test_reads_are_not(self) -> None:
        request = rpc_pb2.RangeRequest(key=b"x" * 1_600_000)
        assert call(FakeStore(), KV + "Range", request).HasField("header")
        compare = rpc_pb2.Compare(key=b"x" * 1_600_000)
        txn = rpc_pb2.TxnRequest(compare=[compare])
        assert call(FakeStore(), KV + "Txn", txn).succeeded


class TestRangeStream:
    def test_only_the_last_message_has_header_and_count(self) -> None:
        store = FakeStore()
        kv = KeyValue(b"k", b"v", 2, 3, 2)
        store.chunks = [RangeResult(0, [kv], False, 0), RangeResult(9, [kv], True, 5)]
        request = rpc_pb2.RangeRequest(key=b"k", sort_target="MOD")
        first, last = (
            message.range_response for message in collected(store, KV + "RangeStream", request)
        )
        assert (
            first.HasField("header"),
            len(first.kvs),
            first.more,
            first.count,
        ) == (False, 1, False, 0)
        assert (HEADERS.message(9), True, 5) == (last.header, last.more, last.count)
        assert [RangeOp(KeyRange(b"k"))] == store.asked

    @pytest.mark.parametrize(
        "request_",
        [
            rpc_pb2.RangeRequest(key=b"k", sort_order="DESCEND"),
            rpc_pb2.RangeRequest(key=b"k", sort_order="ASCEND", sort_target="MOD"),
            rpc_pb2.RangeRequest(key=b"k", min_mod_revision=1),
            rpc_pb2.RangeRequest(key=b"k", max_create_revision=1),
        ],
    )
    def test_sorts_and_filters_are_refused(self, request_: rpc_pb2.RangeRequest) -> None:
        with pytest.raises(StatusError, match="RangeStream does not support"):
            collected(FakeStore(), KV + "RangeStream", request_)

    def test_an_empty_key_is_refused_first(self) -> None:
        with pytest.raises(KeyNotProvided):
            collected(FakeStore(), KV + "RangeStream", rpc_pb2.RangeRequest(sort_order="DESCEND"))


LEASE = "/etcdserverpb.Lease/Lease"


class TestLease:
    def test_grant_revoke_list(self) -> None:
        store = FakeStore()
        header = HEADERS.message(9)
        grant = call(store, LEASE + "Grant", rpc_pb2.LeaseGrantRequest(TTL=1))
        assert rpc_pb2.LeaseGrantResponse(header=header, ID=1234, TTL=2) == grant
        assert header == call(store, LEASE + "Revoke", rpc_pb2.LeaseRevokeRequest(ID=5)).header
        leases = call(store, LEASE + "Leases", rpc_pb2.LeaseLeasesRequest()).leases
        assert [lease.ID for lease in leases] == [5, -6]

    def test_time_to_live(self) -> None:
        request = rpc_pb2.LeaseTimeToLiveRequest(ID=5, keys=True)
        got = call(FakeStore(), LEASE + "TimeToLive", request)
        expected = rpc_pb2.LeaseTimeToLiveResponse(
            header=HEADERS.message(9), ID=5, TTL=30, grantedTTL=60, keys=[b"a", b"b"]
        )
        assert expected == got

    def test_keep_alive_answers_each_with_the_header_of_before(self) -> None:
        requests = sent(*(rpc_pb2.LeaseKeepAliveRequest(ID=lease_id) for lease_id in (5, 6)))
        first, second = collected(FakeStore(), LEASE + "KeepAlive", requests)
        assert (first.ID, first.TTL, first.header.revision) == (5, 60, 9)
        assert (second.ID, second.TTL, second.header.revision) == (6, 0, 10)


def create(key: bytes) -> rpc_pb2.WatchRequest:
    return rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=key))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


class TestWatch:
    def watch(self, store: FakeStore, requests: AsyncIterator[Any]) -> Any:
        methods = build_methods(store, HEADERS, SETTINGS)  # type: ignore[arg-type]
        return methods["/etcdserverpb.Watch/Watch"].handler(requests, Call())

    def test_requests_are_fed_and_events_go_on_after_the_last(self) -> None:
        async def test() -> None:
            store = FakeStore()
            stream = store.stream
            requests = sent(
                create(b"k"),
                rpc_pb2.WatchRequest(),
                rpc_pb2.WatchRequest(cancel_request=rpc_pb2.WatchCancelRequest(watch_id=3)),
                rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()),
            )
            responses = self.watch(store, requests)
            stream.say(WatchMessage(0, 9, created=True))
            first = decoded(rpc_pb2.WatchResponse, await anext(responses))
            assert (first.created, first.header.revision) == (True, 9)
            stream.say(WatchMessage(-1, 10))
            await asyncio.sleep(0)
            assert decoded(rpc_pb2.WatchResponse, await anext(responses)).watch_id == -1
            assert [WatchCreate(KeyRange(b"k")), 3, "progress"] == stream.asked
            await responses.aclose()
            assert stream.closed

        run(test())

    def test_an_unreadable_request_ends_the_call_with_its_error(self) -> None:
        async def broken() -> AsyncIterator[rpc_pb2.WatchRequest]:
            yield create(b"k")
            raise StatusError(13, "unreadable")  # type: ignore[arg-type]

        async def test() -> None:
            responses = self.watch(FakeStore(), broken())
            with pytest.raises(StatusError, match="unreadable"):
                await anext(responses)

        run(test())

    def test_a_closed_store_ends_the_call(self) -> None:
        async def test() -> None:
            store = FakeStore()
            store.stream.close()
            with pytest.raises(StoreClosed):
                await anext(self.watch(store, sent()))

        run(test())


class TestTheRest:
    def test_status(self) -> None:
        got = call(FakeStore(), "/etcdserverpb.Maintenance/Status", rpc_pb2.StatusRequest())
        expected = rpc_pb2.StatusResponse(
            header=HEADERS.message(9),
            version="3.7.1",
            dbSize=4096,
            leader=22,
            raftIndex=31,
            raftTerm=3,
            raftAppliedIndex=31,
            dbSizeInUse=1024,
            storageVersion="3.7.0",
            dbSizeQuota=77,
            downgradeInfo=rpc_pb2.DowngradeInfo(),
        )
        assert expected == got
        assert got.HasField("downgradeInfo")

    @pytest.mark.parametrize("kind", [0, 1, 2, 7])
    def test_the_list_of_alarms_of_whatever_kind_is_empty(self, kind: int) -> None:
        request = rpc_pb2.AlarmRequest(memberID=22, alarm=kind)  # type: ignore[arg-type]
        got = call(FakeStore(), "/etcdserverpb.Maintenance/Alarm", request)
        assert rpc_pb2.AlarmResponse(header=HEADERS.message(9)) == got

    @pytest.mark.parametrize("action", [1, 2, 7])
    def test_alarms_are_neither_raised_nor_cleared(self, action: int) -> None:
        request = rpc_pb2.AlarmRequest(action=action)  # type: ignore[arg-type]
        with pytest.raises(StatusError, match="unknown method Alarm for service") as refused:
            call(FakeStore(), "/etcdserverpb.Maintenance/Alarm", request)
        assert refused.value.code is Code.UNIMPLEMENTED

    def test_member_list_has_a_header_without_revision(self) -> None:
        got = call(FakeStore(), "/etcdserverpb.Cluster/MemberList", rpc_pb2.MemberListRequest())
        member = rpc_pb2.Member(ID=22, name="m", peerURLs=["http://p:1"], clientURLs=["http://c:2"])
        assert rpc_pb2.MemberListResponse(header=HEADERS.message(0), members=[member]) == got

    def test_health(self) -> None:
        path = "/grpc.health.v1.Health/"
        request = health_pb2.HealthCheckRequest
        assert call(FakeStore(), path + "Check", request()).status == 1
        listed = call(FakeStore(), path + "List", health_pb2.HealthListRequest()).statuses
        assert {name: status.status for name, status in listed.items()} == {"": 1}
        with pytest.raises(StatusError, match="unknown service"):
            call(FakeStore(), path + "Check", request(service="x"))

    @pytest.mark.parametrize(("service", "status"), [("", 1), ("x", 3)])
    def test_health_watch_says_the_status_at_once(self, service: str, status: int) -> None:
        async def test() -> None:
            methods = build_methods(FakeStore(), HEADERS, SETTINGS)  # type: ignore[arg-type]
            watch = methods["/grpc.health.v1.Health/Watch"].handler
            responses = watch(health_pb2.HealthCheckRequest(service=service), Call())
            assert status == (await anext(responses)).status
            await responses.aclose()

        run(test())
