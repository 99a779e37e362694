"""Create, update and delete: one compare of the mod revision, and what a loser is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from kvstore.proto import rpc_pb2
from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.storage import Storage


def failure_read(response: rpc_pb2.TxnResponse) -> rpc_pb2.RangeResponse:
    """The read of the failure branch, which is answered whether or not the key is there."""
    assert not response.succeeded
    (only,) = response.responses
    assert only.WhichOneof("response") == "response_range"
    return only.response_range


class TestCreate:
    def test_revision_of_the_answer_is_that_of_the_object(
        self, storage: Storage, prefix: bytes
    ) -> None:
        before = storage.revision()
        response = storage.txn(shapes.optimistic_put(prefix + b"a", b"v", 0))
        assert (True, before + 1) == (response.succeeded, response.header.revision)
        (only,) = response.responses
        assert only.WhichOneof("response") == "response_put"
        kv = storage.range(shapes.get(prefix + b"a")).kvs[0]
        assert (before + 1, before + 1, 1) == (kv.create_revision, kv.mod_revision, kv.version)

    def test_object_that_is_there_fails_it_without_any_response(
        self, storage: Storage, prefix: bytes
    ) -> None:
        created = storage.create(prefix + b"a", b"1")
        response = storage.txn(shapes.optimistic_put(prefix + b"a", b"2", 0))
        assert (response.succeeded, len(response.responses)) == (False, 0)
        assert created == response.header.revision == storage.revision()
        assert storage.range(shapes.get(prefix + b"a")).kvs[0].value == b"1"

    def test_object_that_was_deleted_can_be_created_again(
        self, storage: Storage, prefix: bytes
    ) -> None:
        deleted = storage.delete(prefix + b"a", storage.create(prefix + b"a"))
        created = storage.create(prefix + b"a", b"2")
        kv = storage.range(shapes.get(prefix + b"a")).kvs[0]
        assert (deleted + 1, created, 1) == (created, kv.create_revision, kv.version)

    def test_one_of_many_at_once_wins(self, storage: Storage, prefix: bytes) -> None:
        requests = [shapes.optimistic_put(prefix + b"a", b"%d" % n, 0) for n in range(16)]
        won = [n for n, each in enumerate(storage.txns(requests)) if each.succeeded]
        assert len(won) == 1
        assert b"%d" % won[0] == storage.range(shapes.get(prefix + b"a")).kvs[0].value


class TestUpdate:
    def test_expected_revision_moves_on(self, storage: Storage, prefix: bytes) -> None:
        created = storage.create(prefix + b"a", b"1")
        response = storage.txn(shapes.optimistic_put(prefix + b"a", b"2", created))
        assert (True, created + 1) == (response.succeeded, response.header.revision)
        kv = storage.range(shapes.get(prefix + b"a")).kvs[0]
        assert (b"2", created, created + 1, 2) == (
            kv.value,
            kv.create_revision,
            kv.mod_revision,
            kv.version,
        )

    def test_loser_is_told_the_object_as_it_is(self, storage: Storage, prefix: bytes) -> None:
        created = storage.create(prefix + b"a", b"1")
        updated = storage.update(prefix + b"a", b"2", created)
        later = storage.create(prefix + b"b")
        response = storage.txn(shapes.optimistic_put(prefix + b"a", b"3", created))
        (kv,) = failure_read(response).kvs
        assert (b"2", updated, created, 2) == (
            kv.value,
            kv.mod_revision,
            kv.create_revision,
            kv.version,
        )
        assert later == response.header.revision == storage.revision()

    def test_absent_object_is_told_by_an_empty_read(self, storage: Storage, prefix: bytes) -> None:
        deleted = storage.delete(prefix + b"a", storage.create(prefix + b"a"))
        for key in (prefix + b"a", prefix + b"never"):
            response = storage.txn(shapes.optimistic_put(key, b"v", deleted))
            read = failure_read(response)
            assert (len(read.kvs), read.count, read.more) == (0, 0, False)
            assert deleted == response.header.revision

    def test_losers_that_go_on_from_the_answer_lose_no_update(
        self, storage: Storage, prefix: bytes
    ) -> None:
        writers, rounds = 4, 10
        created = storage.create(prefix + b"a", b"0")

        def count_up(_: int) -> None:
            value, revision = 0, created
            for _ in range(rounds):
                while True:
                    request = shapes.optimistic_put(prefix + b"a", b"%d" % (value + 1), revision)
                    response = storage.txn(request)
                    if response.succeeded:
                        value, revision = value + 1, response.header.revision
                        break
                    kv = failure_read(response).kvs[0]
                    value, revision = int(kv.value), kv.mod_revision

        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(count_up, range(writers)))
        kv = storage.range(shapes.get(prefix + b"a")).kvs[0]
        assert (b"%d" % (writers * rounds), writers * rounds + 1) == (kv.value, kv.version)


class TestDelete:
    def test_expected_revision_is_deleted(self, storage: Storage, prefix: bytes) -> None:
        created = storage.create(prefix + b"a")
        response = storage.txn(shapes.optimistic_delete(prefix + b"a", created))
        assert (True, created + 1) == (response.succeeded, response.header.revision)
        (only,) = response.responses
        assert (
            only.response_delete_range.deleted,
            len(only.response_delete_range.prev_kvs),
        ) == (1, 0)
        assert not storage.range(shapes.get(prefix + b"a")).kvs

    def test_loser_is_told_the_object_as_it_is(self, storage: Storage, prefix: bytes) -> None:
        created = storage.create(prefix + b"a", b"1")
        updated = storage.update(prefix + b"a", b"2", created)
        response = storage.txn(shapes.optimistic_delete(prefix + b"a", created))
        (kv,) = failure_read(response).kvs
        assert (b"2", updated) == (kv.value, kv.mod_revision)
        assert updated == response.header.revision

    def test_absent_object_is_told_by_an_empty_read(self, storage: Storage, prefix: bytes) -> None:
        created = storage.create(prefix + b"a")
        deleted = storage.delete(prefix + b"a", created)
        response = storage.txn(shapes.optimistic_delete(prefix + b"a", created))
        assert not failure_read(response).kvs
        assert deleted == response.header.revision

    def test_neighbours_with_the_key_as_prefix_stay(self, storage: Storage, prefix: bytes) -> None:
        longer = storage.create(prefix + b"a-longer")
        storage.delete(prefix + b"a", storage.create(prefix + b"a"))
        assert longer == storage.range(shapes.get(prefix + b"a-longer")).kvs[0].mod_revision
