"""RangeStream: chunks of one snapshot. Servers before 3.7 do not know the call."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from kvstore.client.grpc import GrpcStore, RemoteError
from kvstore.errors import Compacted, FutureRevision, KeyNotProvided
from kvstore.keys import KeyRange
from kvstore.store.interface import StoreProtocol
from kvstore.types import KeyValue, RangeOp, RangeResult
from tests.support.ops import ALL, delete, get, get_all, put, revision
from tests.support.sites import store_version

EVERYTHING = KeyRange(*ALL)


@pytest.fixture
def streaming(store: StoreProtocol) -> StoreProtocol | None:
    """The store, or None after it was seen that the version has no such call."""
    if store_version(store) >= (3, 7):
        return store
    with pytest.raises(RemoteError) as refused:
        list(store.range_stream(RangeOp(EVERYTHING)))
    assert refused.value.code == "UNIMPLEMENTED"
    assert refused.value.message == "unknown method RangeStream for service etcdserverpb.KV"
    return None


def fill(store: StoreProtocol, count: int, size_bytes: int = 1) -> None:
    for n in range(count):
        put(store, b"k%03d" % n, b"v" * size_bytes)


def of_small_window(target: str) -> GrpcStore:
    """A client that takes little ahead: else the library widens its window to the whole answer."""
    return GrpcStore(target, timeout_s=60, options=[("grpc.http2.bdp_probe", 0)])


def merged(chunks: list[RangeResult]) -> RangeResult:
    """All chunks as one result; the header fields may only be on the last."""
    for chunk in chunks[:-1]:
        assert (chunk.revision, chunk.more, chunk.count) == (0, False, 0)
        assert chunk.kvs
    kvs: list[KeyValue] = [kv for chunk in chunks for kv in chunk.kvs]
    return chunks[-1]._replace(kvs=kvs)


class TestChunks:
    @pytest.mark.parametrize("count", [1, 9, 10, 11, 25, 100])
    def test_merged_chunks_equal_the_range(
        self, streaming: StoreProtocol | None, count: int
    ) -> None:
        # behaviour 47
        if streaming is None:
            return
        fill(streaming, count)
        chunks = list(streaming.range_stream(RangeOp(EVERYTHING)))
        assert get_all(streaming) == merged(chunks)

    def test_first_chunk_has_ten_keys_and_the_next_more(
        self, streaming: StoreProtocol | None
    ) -> None:
        if streaming is None:
            return
        fill(streaming, 25)
        chunks = list(streaming.range_stream(RangeOp(EVERYTHING)))
        assert [len(chunk.kvs) for chunk in chunks] == [10, 15]

    def test_limit_below_the_total_says_more_and_counts_all(
        self, streaming: StoreProtocol | None
    ) -> None:
        # behaviours 48 and 49: 10 is the size of the first chunk
        if streaming is None:
            return
        fill(streaming, 25)
        for limit in (1, 5, 10, 11, 20, 24):
            result = merged(list(streaming.range_stream(RangeOp(EVERYTHING, limit=limit))))
            assert (limit, True, 25) == (len(result.kvs), result.more, result.count)
            assert get_all(streaming, limit=limit) == result

    def test_limit_equal_to_the_total_says_no_more(self, streaming: StoreProtocol | None) -> None:
        if streaming is None:
            return
        fill(streaming, 10)
        for limit in (10, 11):
            result = merged(list(streaming.range_stream(RangeOp(EVERYTHING, limit=limit))))
            assert (len(result.kvs), result.more, result.count) == (10, False, 10)

    def test_negative_limit_is_one_chunk(self, streaming: StoreProtocol | None) -> None:
        if streaming is None:
            return
        fill(streaming, 25)
        chunks = list(streaming.range_stream(RangeOp(EVERYTHING, limit=-1)))
        assert [len(chunk.kvs) for chunk in chunks] == [25]

    def test_count_only_is_one_chunk_without_kvs(self, streaming: StoreProtocol | None) -> None:
        if streaming is None:
            return
        fill(streaming, 25)
        chunks = list(streaming.range_stream(RangeOp(EVERYTHING, count_only=True)))
        assert [RangeResult(26, [], False, 25)] == [c._replace(kvs=list(c.kvs)) for c in chunks]

    def test_missing_key_is_one_empty_chunk(self, streaming: StoreProtocol | None) -> None:
        if streaming is None:
            return
        fill(streaming, 3)
        for where in (KeyRange(b"missing"), KeyRange(b"z", b"a")):
            chunks = list(streaming.range_stream(RangeOp(where)))
            assert [RangeResult(4, [], False, 0)] == [c._replace(kvs=list(c.kvs)) for c in chunks]

    def test_keys_only_streams_without_values(self, streaming: StoreProtocol | None) -> None:
        if streaming is None:
            return
        fill(streaming, 25)
        result = merged(list(streaming.range_stream(RangeOp(EVERYTHING, keys_only=True))))
        assert get_all(streaming, keys_only=True) == result

    def test_large_values_come_with_at_least_one_key_each(
        self, streaming: StoreProtocol | None
    ) -> None:
        # behaviour 52
        if streaming is None:
            return
        for n in range(14):
            put(streaming, b"k%03d" % n, b"v" * 700_000)
        chunks = list(streaming.range_stream(RangeOp(EVERYTHING)))
        assert sum(len(chunk.kvs) for chunk in chunks) == 14
        assert len(chunks) > 1
        assert get_all(streaming) == merged(chunks)


class TestOneSnapshot:
    def test_writes_between_chunks_are_not_seen(self, streaming: StoreProtocol | None) -> None:
        # behaviour 50
        if streaming is None:
            return
        fill(streaming, 60)
        before = get_all(streaming)
        chunks = streaming.range_stream(RangeOp(EVERYTHING))
        received = [next(chunks)]
        put(streaming, b"k0005", b"new")
        put(streaming, b"k059", b"changed")
        delete(streaming, b"k030", b"k040")
        received.extend(chunks)
        assert before == merged(received)

    def test_old_revision_is_streamed_as_it_was(self, streaming: StoreProtocol | None) -> None:
        if streaming is None:
            return
        fill(streaming, 30)
        at = revision(streaming)
        delete(streaming, *ALL)
        result = merged(list(streaming.range_stream(RangeOp(EVERYTHING, revision=at))))
        assert get_all(streaming, revision=at) == result
        assert result.count == 30

    @pytest.mark.slow
    def test_compaction_in_the_middle_ends_the_stream(
        self, streaming: StoreProtocol | None
    ) -> None:
        # behaviour 51: a server may have sent some chunks ahead, but not 16 megabytes
        if streaming is None:
            return
        fill(streaming, 64, size_bytes=256 * 1024)
        with ExitStack() as ended:
            if isinstance(streaming, GrpcStore):
                streaming = ended.enter_context(of_small_window(streaming.target))
            chunks = streaming.range_stream(RangeOp(EVERYTHING))
            received = [next(chunks)]
            streaming.compact(put(streaming, b"z").revision)
            with pytest.raises(Compacted):
                received.extend(chunks)
        got = [kv.key for chunk in received for kv in chunk.kvs]
        assert got == [b"k%03d" % n for n in range(len(got))]
        assert 10 <= len(got) < 64


class TestRefusals:
    def test_compacted_revision_is_refused_at_once(self, streaming: StoreProtocol | None) -> None:
        # behaviour 53
        if streaming is None:
            return
        fill(streaming, 5)
        streaming.compact(4)
        with pytest.raises(Compacted):
            next(streaming.range_stream(RangeOp(EVERYTHING, revision=3)))
        assert get(streaming, *ALL, revision=4).count == 3

    def test_future_revision_is_refused(self, streaming: StoreProtocol | None) -> None:
        if streaming is None:
            return
        with pytest.raises(FutureRevision):
            next(streaming.range_stream(RangeOp(EVERYTHING, revision=2)))

    def test_empty_key_is_refused(self, streaming: StoreProtocol | None) -> None:
        if streaming is None:
            return
        with pytest.raises(KeyNotProvided):
            next(streaming.range_stream(RangeOp(KeyRange(b""))))
