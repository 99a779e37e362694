"""What only shows on the wire: headers, statuses, metadata, limits of the transport."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from kvstore.client import messages
from kvstore.client.grpc import GrpcStore, RemoteError
from kvstore.errors import NoSpace, StoreError
from kvstore.keys import KeyRange
from kvstore.proto import rpc_pb2
from kvstore.store.interface import StoreProtocol
from kvstore.types import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeOp,
    PutOp,
    RangeOp,
    Txn,
    WatchCreate,
)
from tests.support.ops import ALL, Watching, commit, delete, get, get_all, put, revision
from tests.support.sites import open_site, store_version

C = grpc.StatusCode


def header(store: GrpcStore) -> rpc_pb2.ResponseHeader:
    assert store.last_header is not None
    return store.last_header


class TestHeader:
    def test_every_answer_names_the_same_member_and_term(self, remote: GrpcStore) -> None:
        seen = set()
        lease = remote.lease_grant(3600)
        calls: list[Callable[[], object]] = [
            lambda: put(remote, b"k"),
            lambda: get(remote, b"k"),
            lambda: delete(remote, b"k"),
            lambda: commit(remote, [PutOp(b"a"), PutOp(b"b")]),
            lambda: remote.compact(2),
            lambda: remote.lease_keep_alive(lease.id),
            lambda: remote.lease_time_to_live(lease.id),
            remote.lease_leases,
            lambda: remote.lease_revoke(lease.id),
            remote.server_version,
        ]
        for call in calls:
            call()
            seen.add(
                (header(remote).cluster_id, header(remote).member_id, header(remote).raft_term)
            )
        assert len(seen) == 1
        assert all(value > 0 for value in seen.pop())

    def test_answers_have_the_current_revision(self, remote: GrpcStore) -> None:
        revisions = []
        lease = remote.lease_grant(3600)
        put(remote, b"k", lease=lease.id)
        revisions.append(header(remote).revision)
        put(remote, b"k", lease=lease.id)
        remote.compact(2)
        revisions.append(header(remote).revision)
        remote.lease_time_to_live(lease.id)
        revisions.append(header(remote).revision)
        remote.lease_leases()
        revisions.append(header(remote).revision)
        remote.lease_revoke(lease.id)
        revisions.append(header(remote).revision)
        remote.server_version()
        revisions.append(header(remote).revision)
        assert revisions == [2, 3, 3, 3, 4, 4]

    def test_ops_of_a_txn_have_a_header_with_the_revision_only(self, remote: GrpcStore) -> None:
        # behaviour 75
        inner = Txn((), (PutOp(b"b"),), ())
        ops = (
            RangeOp(KeyRange(b"a")),
            PutOp(b"a"),
            DeleteRangeOp(KeyRange(b"missing")),
            RangeOp(KeyRange(b"a")),
            inner,
        )
        response = remote.unary(
            "/etcdserverpb.KV/Txn",
            messages.txn_request(Txn((), ops, ())),
            rpc_pb2.TxnResponse,
        )
        assert (response.header.revision, response.header.member_id != 0) == (2, True)
        first, second, third, fourth, nested = response.responses
        headers = (
            first.response_range.header,
            second.response_put.header,
            third.response_delete_range.header,
            fourth.response_range.header,
            nested.response_txn.responses[0].response_put.header,
        )
        expected = [rpc_pb2.ResponseHeader(revision=at) for at in (1, 2, 2, 2, 2)]
        assert expected == list(headers)
        assert nested.response_txn.HasField("header")
        assert rpc_pb2.ResponseHeader() == nested.response_txn.header

    def test_only_the_last_message_of_a_range_stream_has_a_header(self, remote: GrpcStore) -> None:
        if store_version(remote) < (3, 7):
            with pytest.raises(RemoteError, match="RangeStream"):
                list(remote.range_stream(RangeOp(KeyRange(*ALL))))
            return
        for n in range(25):
            put(remote, b"k%02d" % n)
        chunks = list(remote.range_stream(RangeOp(KeyRange(*ALL))))
        assert [chunk.revision for chunk in chunks] == [0, 26]


class TestStatus:
    @pytest.mark.parametrize(
        ("code", "text", "call"),
        [
            (C.INVALID_ARGUMENT, "key is not provided", lambda s: get(s, b"")),
            (C.INVALID_ARGUMENT, "key is not provided", lambda s: put(s, b"")),
            (C.INVALID_ARGUMENT, "key is not provided", lambda s: delete(s, b"")),
            (C.INVALID_ARGUMENT, "key not found", lambda s: put(s, b"k", ignore_value=True)),
            (C.INVALID_ARGUMENT, "key not found", lambda s: commit(s, [None])),
            (
                C.INVALID_ARGUMENT,
                "value is provided",
                lambda s: put(s, b"k", b"v", ignore_value=True),
            ),
            (
                C.INVALID_ARGUMENT,
                "lease is provided",
                lambda s: put(s, b"k", lease=1, ignore_lease=True),
            ),
            (C.INVALID_ARGUMENT, "request is too large", lambda s: put(s, b"k", b"v" * 1_572_864)),
            (
                C.INVALID_ARGUMENT,
                "too many operations in txn request",
                lambda s: commit(s, [RangeOp(KeyRange(b"k"))] * 129),
            ),
            (
                C.INVALID_ARGUMENT,
                "duplicate key given in txn request",
                lambda s: commit(s, [PutOp(b"k"), PutOp(b"k")]),
            ),
            (C.NOT_FOUND, "requested lease not found", lambda s: put(s, b"k", lease=9)),
            (C.NOT_FOUND, "requested lease not found", lambda s: s.lease_revoke(9)),
            (
                C.OUT_OF_RANGE,
                "mvcc: required revision is a future revision",
                lambda s: get(s, b"k", revision=99),
            ),
            (
                C.OUT_OF_RANGE,
                "mvcc: required revision is a future revision",
                lambda s: s.compact(99),
            ),
            (
                C.OUT_OF_RANGE,
                "mvcc: required revision has been compacted",
                lambda s: s.compact(-1),
            ),
            (C.OUT_OF_RANGE, "too large lease TTL", lambda s: s.lease_grant(9_000_000_001)),
            (
                C.FAILED_PRECONDITION,
                "lease already exists",
                lambda s: (s.lease_grant(9, 7), s.lease_grant(9, 7)),
            ),
        ],
    )
    def test_code_and_text_are_these(
        self,
        remote: GrpcStore,
        code: grpc.StatusCode,
        text: str,
        call: Callable[[GrpcStore], object],
    ) -> None:
        # behaviours 9, 10, 14, 15, 18, 19, 37, 73, 74, 146, 148 and 151
        with pytest.raises(StoreError) as refused:
            call(remote)
        cause = refused.value.__cause__
        assert isinstance(cause, grpc.Call)
        assert (code, f"etcdserver: {text}") == (cause.code(), cause.details())
        assert not isinstance(refused.value, RemoteError)

    def test_unknown_sort_option(self, remote: GrpcStore) -> None:
        # behaviour 34; 3.4.23 takes no notice
        if store_version(remote) < (3, 5):
            assert get(remote, b"k", sort_order=9).count == 0
            return
        with pytest.raises(StoreError) as refused:
            get(remote, b"k", sort_order=9)
        cause = refused.value.__cause__
        assert isinstance(cause, grpc.Call)
        assert (
            cause.code(),
            cause.details(),
        ) == (C.INVALID_ARGUMENT, "etcdserver: invalid sort option")

    def test_message_over_the_transport_limit_is_refused_unread(self, remote: GrpcStore) -> None:
        # behaviour 11; libraries word it differently
        with pytest.raises(RemoteError) as refused:
            put(remote, b"k", b"v" * 2_200_000)
        assert refused.value.code == "RESOURCE_EXHAUSTED"
        assert "received message larger than max" in refused.value.message.lower()
        assert revision(remote) == 1

    def test_large_reads_are_not_limited(self, remote: GrpcStore) -> None:
        for n in range(4):
            put(remote, b"k%d" % n, b"v" * 1_500_000)
        assert sum(len(kv.value) for kv in get_all(remote).kvs) == 6_000_000
        assert get(remote, b"k" * 1_600_000).count == 0

    @pytest.mark.parametrize(
        ("op", "text"),
        [
            (
                RangeOp(KeyRange(*ALL), sort_order=2),
                "RangeStream does not support custom sort orders",
            ),
            (
                RangeOp(KeyRange(*ALL), sort_order=1, sort_target=3),
                "RangeStream does not support custom sort orders",
            ),
            (
                RangeOp(KeyRange(*ALL), min_mod_revision=1),
                "RangeStream does not support revision filters",
            ),
        ],
    )
    def test_range_stream_neither_sorts_nor_filters(
        self, remote: GrpcStore, op: RangeOp, text: str
    ) -> None:
        # 3.4 has no such call at all
        if store_version(remote) < (3, 7):
            text = "unknown method RangeStream for service etcdserverpb.KV"
        with pytest.raises(RemoteError) as refused:
            list(remote.range_stream(op))
        assert ("UNIMPLEMENTED", text) == (refused.value.code, refused.value.message)


class TestMetadata:
    def test_leader_demanded_of_a_single_node_is_there(self, remote: GrpcStore) -> None:
        # behaviours 21 and 139
        with GrpcStore(remote.target, metadata=[("hasleader", "true")]) as strict:
            watching = Watching(strict)
            watching.create(b"k")
            assert put(strict, b"k").revision == 2
            assert len(watching.events(1)) == 1
            watching.close()


def _fill_up(store: StoreProtocol) -> None:
    """Write until it is refused; a server may look at its size only every 100 ms."""
    for n in range(100):
        put(store, b"k%d" % n, b"v" * 700_000)


class TestQuota:
    # Only the real ones: ours takes the flag and does not enforce it yet (docs/compatibility.md).
    @pytest.mark.parametrize("target", ["etcd34", "etcd37"])
    def test_full_store_refuses_puts_and_grants_but_not_deletes(
        self, target: str, tmp_path: Path
    ) -> None:
        # behaviour 12
        site = open_site(target, tmp_path, [f"--quota-backend-bytes={2 * 1024 * 1024}"])
        store = site.store
        try:
            with pytest.raises(NoSpace) as refused:
                _fill_up(store)
            cause = refused.value.__cause__
            assert isinstance(cause, grpc.Call)
            assert cause.code() == C.RESOURCE_EXHAUSTED
            before = revision(store)
            guard = Compare(KeyRange(b"k"), CompareTarget.VERSION, CompareResult.GREATER, 0)
            for refused_call in (
                lambda: put(store, b"small"),
                lambda: commit(store, failure=[PutOp(b"small")], compares=[guard]),
                lambda: store.lease_grant(3600),
            ):
                with pytest.raises(NoSpace):
                    refused_call()
            assert before == revision(store)
            assert before == commit(store, [RangeOp(KeyRange(b"k0"))]).revision
            assert (before + 1, 1) == delete(store, b"k0")[:2]
        finally:
            site.close()


class TestFragments:
    @staticmethod
    def _written(store: GrpcStore) -> None:
        """One revision, 6, whose four deletes carry 3.6 MB of previous values."""
        for n in range(4):
            put(store, b"k%d" % n, b"v" * 900_000)
        delete(store, b"k", b"l")

    def test_large_message_comes_in_parts_when_asked_for(self, remote: GrpcStore) -> None:
        # behaviour 134
        self._written(remote)
        watching = Watching(remote)
        watching.create(b"k", b"l", start_revision=6, prev_kv=True, fragment=True)
        parts = [watching.next()]
        while parts[-1].fragment:
            parts.append(watching.next())
        assert len(parts) > 1
        assert [e.kv.key for part in parts for e in part.events] == [b"k0", b"k1", b"k2", b"k3"]
        assert {6} == {part.revision for part in parts}
        assert all(part.events for part in parts)
        watching.close()

    def test_large_message_comes_whole_otherwise(self, remote: GrpcStore) -> None:
        # behaviour 133
        self._written(remote)
        watching = Watching(remote)
        watching.create(b"k", b"l", start_revision=6, prev_kv=True)
        message = watching.next()
        assert (len(message.events), message.fragment) == (4, False)
        watching.close()

    def test_small_message_is_never_a_fragment(self, remote: GrpcStore) -> None:
        # behaviour 134
        watching = Watching(remote)
        watching.create(b"k", fragment=True)
        put(remote, b"k")
        message = watching.next()
        assert (len(message.events), message.fragment) == (1, False)
        watching.close()


class TestWatchCall:
    def test_events_go_on_after_the_client_closed_its_side(self, remote: GrpcStore) -> None:
        # behaviour 144
        stream = remote.watch_stream()
        stream.create(WatchCreate(KeyRange(b"k")))
        assert stream.next(10)
        stream.half_close()
        put(remote, b"k")
        put(remote, b"k")
        messages_ = [stream.next(10), stream.next(10)]
        assert [each.events[0].kv.mod_revision for each in messages_ if each] == [2, 3]
        stream.close()

    def test_header_of_every_watch_message_names_the_member(self, remote: GrpcStore) -> None:
        # behaviour 143: all but the revision, also in the cancel by compaction
        for _ in range(4):
            put(remote, b"k")
        remote.compact(4)
        requests = [
            messages.watch_create_request(WatchCreate(KeyRange(b"k"), 2)),
            messages.watch_create_request(WatchCreate(KeyRange(b"k"))),
        ]
        with grpc.insecure_channel(remote.target) as channel:
            call = channel.stream_stream(
                "/etcdserverpb.Watch/Watch",
                request_serializer=rpc_pb2.WatchRequest.SerializeToString,
                response_deserializer=rpc_pb2.WatchResponse.FromString,
            )(iter([rpc_pb2.WatchRequest(), *requests]))
            received = [next(call) for _ in range(3)]
            call.cancel()
        get(remote, b"k")
        for message in received:
            assert header(remote).member_id == message.header.member_id
            assert header(remote).raft_term == message.header.raft_term
        assert next(each for each in received if each.compact_revision).header.revision == 0

    def test_server_that_goes_away_ends_the_stream(self, tmp_path: Path) -> None:
        site = open_site("etcd37", tmp_path)
        stream = site.store.watch_stream()
        stream.create(WatchCreate(KeyRange(b"k")))
        assert stream.next(10)
        assert site.server is not None
        site.server.kill()
        for _ in range(2):
            with pytest.raises(StoreError):
                stream.next(10)
        site.close()
