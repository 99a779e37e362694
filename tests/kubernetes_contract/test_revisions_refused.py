"""Revisions that are compacted or not there yet, asked of each call that takes one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvstore.proto import rpc_pb2
from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.refusals import COMPACTED, FUTURE, refusal
from tests.kubernetes_contract.storage import Storage
from tests.kubernetes_contract.targets import has_safe_progress


def write_and_read(prefix: bytes, revision: int) -> rpc_pb2.TxnRequest:
    put = rpc_pb2.PutRequest(key=prefix + b"new", value=b"v")
    read = shapes.list_page(prefix, revision=revision)
    return rpc_pb2.TxnRequest(
        success=[rpc_pb2.RequestOp(request_put=put), rpc_pb2.RequestOp(request_range=read)]
    )


@pytest.fixture
def compacted(storage: Storage, prefix: bytes) -> int:
    """Where the store is compacted; three more revisions are above."""
    revisions = storage.fill(prefix, 6)
    storage.compact(shapes.compact(revisions[2]))
    return revisions[2]


class TestRange:
    SHAPES: tuple[Callable[[bytes, int], rpc_pb2.RangeRequest], ...] = (
        lambda prefix, at: shapes.list_page(prefix, revision=at),
        lambda prefix, at: shapes.list_page(prefix, limit=1, revision=at),
        lambda prefix, at: shapes.get(prefix + b"0000", at),
        lambda prefix, at: shapes.get(prefix + b"missing", at),
    )

    @pytest.mark.parametrize("shape", SHAPES, ids=["list", "page", "get", "absent"])
    def test_both_are_refused_and_those_between_are_not(
        self,
        storage: Storage,
        prefix: bytes,
        compacted: int,
        shape: Callable[[bytes, int], rpc_pb2.RangeRequest],
    ) -> None:
        head = storage.revision()
        assert refusal(storage.range, shape(prefix, compacted - 1)) == COMPACTED
        assert refusal(storage.range, shape(prefix, 1)) == COMPACTED
        assert refusal(storage.range, shape(prefix, head + 1)) == FUTURE
        for at in range(compacted, head + 1):
            assert head == storage.range(shape(prefix, at)).header.revision


class TestTxn:
    def test_both_are_refused_and_nothing_of_it_is_written(
        self, storage: Storage, prefix: bytes, compacted: int
    ) -> None:
        head = storage.revision()
        assert refusal(storage.txn, write_and_read(prefix, compacted - 1)) == COMPACTED
        # The put of the transaction itself does not make the revision that its read asks for.
        assert refusal(storage.txn, write_and_read(prefix, head + 2)) == FUTURE
        assert head == storage.revision()
        assert not storage.range(shapes.get(prefix + b"new")).kvs

    def test_those_between_are_read(self, storage: Storage, prefix: bytes, compacted: int) -> None:
        response = storage.txn(write_and_read(prefix, compacted))
        assert [kv.key for kv in response.responses[1].response_range.kvs] == [
            prefix + b"%04d" % n for n in range(3)
        ]


class TestCompact:
    def test_both_are_refused(self, storage: Storage, compacted: int) -> None:
        head = storage.revision()
        assert refusal(storage.compact, shapes.compact(compacted)) == COMPACTED
        assert refusal(storage.compact, shapes.compact(head + 1)) == FUTURE
        assert head == storage.compact(shapes.compact(head)).header.revision


class TestWatch:
    def test_compacted_start_is_told_by_its_number_and_not_by_a_text(
        self, storage: Storage, prefix: bytes, compacted: int
    ) -> None:
        call = storage.watch_call()
        for start in (1, compacted - 1):
            created = call.create(shapes.watch(prefix, start - 1))
            canceled = call.next()
            assert (created.watch_id, True, compacted, "") == (
                canceled.watch_id,
                canceled.canceled,
                canceled.compact_revision,
                canceled.cancel_reason,
            )

    @has_safe_progress
    def test_negative_start_is_refused_by_a_text_and_the_call_goes_on(
        self, storage: Storage, prefix: bytes
    ) -> None:
        call = storage.watch_call()
        refused = call.create(shapes.watch(prefix, -4))
        assert (-1, True, True, 0, COMPACTED.text) == (
            refused.watch_id,
            refused.created,
            refused.canceled,
            refused.compact_revision,
            refused.cancel_reason,
        )
        watch_id = call.create(shapes.watch(prefix, storage.revision())).watch_id
        written = storage.create(prefix + b"a")
        assert written == call.events(1, watch_id)[0].kv.mod_revision

    def test_compaction_does_not_cancel_a_watch_that_waits_for_the_future(
        self, storage: Storage, prefix: bytes
    ) -> None:
        call, head = storage.watch_call(), storage.revision()
        call.create(shapes.watch(prefix, head + 2))
        *_, compacted, last = storage.fill(prefix, 4)
        storage.compact(shapes.compact(last))
        assert [compacted, last] == [event.kv.mod_revision for event in call.events(2)]
