"""Unlimited lists in chunks, which the API server asks for since 1.37 and which 3.7 answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kvstore.proto import rpc_pb2
from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.conftest import Server
from tests.kubernetes_contract.refusals import COMPACTED, FUTURE, NO_RANGE_STREAM, refusal
from tests.kubernetes_contract.storage import Storage
from tests.kubernetes_contract.targets import has_range_stream

FIRST_CHUNK = 10


def merged(chunks: list[rpc_pb2.RangeStreamResponse]) -> rpc_pb2.RangeResponse:
    """All chunks as the one answer that they are pieces of; only the last may tell of the whole."""
    whole = rpc_pb2.RangeResponse()
    for chunk in chunks:
        is_last = chunk is chunks[-1]
        piece = chunk.range_response
        assert piece.HasField("header") == is_last
        assert piece.kvs or len(chunks) == 1
        if not is_last:
            assert (piece.more, piece.count) == (False, 0)
        whole.MergeFrom(piece)
    return whole


def streamed(storage: Storage, request: rpc_pb2.RangeRequest) -> list[rpc_pb2.RangeStreamResponse]:
    return list(storage.range_stream(request))


class TestServersWithoutIt:
    def test_they_say_so_in_these_words(self, storage: Storage, prefix: bytes) -> None:
        # By the code the API server goes back to pages, and asks again ten minutes later.
        request = shapes.range_stream(prefix)
        if storage.is_before_3_5:
            assert refusal(streamed, storage, request) == NO_RANGE_STREAM
        else:
            assert merged(streamed(storage, request)).count == 0


@has_range_stream
class TestChunks:
    @pytest.mark.parametrize("size", [1, 9, 10, 11, 75])
    def test_together_they_are_the_list(self, storage: Storage, prefix: bytes, size: int) -> None:
        storage.fill(prefix, size)
        storage.create(prefix.rstrip(b"/") + b"0")  # where the interval ends
        chunks = streamed(storage, shapes.range_stream(prefix))
        assert min(size, FIRST_CHUNK) == len(chunks[0].range_response.kvs)
        assert storage.range(shapes.list_page(prefix)) == merged(chunks)
        assert (size, False) == (
            chunks[-1].range_response.count,
            chunks[-1].range_response.more,
        )

    def test_nothing_is_one_message_with_a_header(self, storage: Storage, prefix: bytes) -> None:
        written = storage.create(prefix.rstrip(b"/"))
        (only,) = streamed(storage, shapes.range_stream(prefix))
        assert rpc_pb2.RangeResponse(header=only.range_response.header) == only.range_response
        assert written == only.range_response.header.revision

    @pytest.mark.parametrize("limit", [1, 10, 11, 24, 25, 26])
    def test_limit_ends_it_and_more_and_count_are_of_all(
        self, storage: Storage, prefix: bytes, limit: int
    ) -> None:
        storage.fill(prefix, 25)
        whole = merged(streamed(storage, shapes.range_stream(prefix, limit=limit)))
        assert (min(limit, 25), limit < 25, 25) == (len(whole.kvs), whole.more, whole.count)
        assert storage.range(shapes.list_page(prefix, limit=limit)) == whole

    def test_keys_come_without_values(self, storage: Storage, prefix: bytes) -> None:
        storage.fill(prefix, 25, b"large" * 100)
        whole = merged(streamed(storage, shapes.keys(prefix)))
        assert storage.range(shapes.keys(prefix)) == whole
        assert {b""} == {kv.value for kv in whole.kvs}

    def test_count_is_one_message_without_objects(self, storage: Storage, prefix: bytes) -> None:
        storage.fill(prefix, 25)
        (only,) = streamed(storage, shapes.count(prefix))
        assert storage.range(shapes.count(prefix)) == only.range_response
        assert (len(only.range_response.kvs), only.range_response.count) == (0, 25)

    def test_large_objects_come_in_several_chunks(self, storage: Storage, prefix: bytes) -> None:
        revisions = storage.fill(prefix, 24, b"v" * 400_000)
        chunks = streamed(storage, shapes.range_stream(prefix))
        assert len(chunks) > 1
        whole = merged(chunks)
        assert storage.range(shapes.list_page(prefix)) == whole
        assert revisions == [kv.mod_revision for kv in whole.kvs]
        for n, revision in enumerate(revisions):
            storage.delete(prefix + b"%04d" % n, revision)


@has_range_stream
class TestOneRevision:
    def test_pinned_one_is_as_it_was_with_the_header_of_now(
        self, storage: Storage, prefix: bytes
    ) -> None:
        revisions = storage.fill(prefix, 25)
        storage.delete(prefix + b"0003", revisions[3])
        storage.update(prefix + b"0012", b"changed", revisions[12])
        now = storage.create(prefix + b"0012-new")
        whole = merged(streamed(storage, shapes.range_stream(prefix, revision=revisions[-1])))
        assert storage.range(shapes.list_page(prefix, revision=revisions[-1])) == whole
        assert revisions == [kv.mod_revision for kv in whole.kvs]
        assert (now, 25) == (whole.header.revision, whole.count)

    @pytest.mark.parametrize("is_pinned", [False, True], ids=["newest", "pinned"])
    def test_writes_after_the_first_chunk_are_not_seen(
        self, storage: Storage, prefix: bytes, is_pinned: bool
    ) -> None:
        revisions = storage.fill(prefix, 40, b"v" * 100_000)
        before = storage.range(shapes.list_page(prefix))
        pinned = revisions[-1] if is_pinned else 0
        stream = storage.range_stream(shapes.range_stream(prefix, revision=pinned))
        chunks = [next(iter(stream))]
        storage.create(prefix + b"0005-new")
        storage.update(prefix + b"0038", b"changed", revisions[38])
        storage.delete(prefix + b"0039", revisions[39])
        chunks.extend(stream)
        # Its header too is of when it began: a watch goes on from there.
        assert before == merged(chunks)


@has_range_stream
class TestRefusals:
    @pytest.fixture
    def slow(self, server: Server) -> Iterator[Storage]:
        """Its window stays small: left alone gRPC widens it until all of a list fits."""
        slow = Storage(server.target, [("grpc.http2.bdp_probe", 0)])
        yield slow
        slow.close()

    def test_compacted_and_future_revisions_are_refused_as_in_a_list(
        self, storage: Storage, prefix: bytes
    ) -> None:
        revisions = storage.fill(prefix, 25)
        storage.compact(shapes.compact(revisions[20]))
        for revision, expected in ((revisions[19], COMPACTED), (revisions[-1] + 1, FUTURE)):
            request = shapes.range_stream(prefix, revision=revision)
            assert refusal(streamed, storage, request) == expected
        request = shapes.range_stream(prefix, revision=revisions[20])
        assert merged(streamed(storage, request)).count == 21

    def test_compaction_meanwhile_ends_it_with_that_status(
        self, storage: Storage, prefix: bytes, slow: Storage
    ) -> None:
        # A server may have sent some chunks ahead, but not all of 16 MB.
        revisions = storage.fill(prefix, 64, b"v" * 256 * 1024)
        stream = slow.range_stream(shapes.range_stream(prefix))
        received = [next(iter(stream))]
        storage.compact(shapes.compact(storage.create(prefix + b"z")))
        assert refusal(received.extend, stream) == COMPACTED
        assert not any(chunk.range_response.HasField("header") for chunk in received)
        got = [kv.mod_revision for chunk in received for kv in chunk.range_response.kvs]
        assert revisions[: len(got)] == got
        assert FIRST_CHUNK <= len(got) < 64
        for n, revision in enumerate(revisions):
            storage.delete(prefix + b"%04d" % n, revision)
