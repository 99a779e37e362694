"""Reads of one object, of the current revision, of a count and of keys."""

from __future__ import annotations

import pytest

from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.conftest import Server
from tests.kubernetes_contract.storage import Storage

PROTOBUF = b'k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12\x00\x1a\x00"\x00'
JSON = '{"kind":"Räuber","spec":{"a":null}}'.encode()


class TestGet:
    def test_answer_has_the_object_and_the_current_revision(
        self, storage: Storage, prefix: bytes
    ) -> None:
        created = storage.create(prefix + b"a", b"1")
        updated = storage.update(prefix + b"a", b"2", created)
        other = storage.create(prefix + b"b")
        response = storage.range(shapes.get(prefix + b"a"))
        assert other == response.header.revision
        (kv,) = response.kvs
        assert (prefix + b"a", b"2") == (kv.key, kv.value)
        assert (created, updated, 2) == (kv.create_revision, kv.mod_revision, kv.version)
        assert (kv.lease, response.count, response.more) == (0, 1, False)

    def test_absent_object_is_no_error_and_tells_the_revision(
        self, storage: Storage, prefix: bytes
    ) -> None:
        written = storage.create(prefix + b"a")
        response = storage.range(shapes.get(prefix + b"missing"))
        assert (written, 0, 0) == (response.header.revision, len(response.kvs), response.count)

    @pytest.mark.parametrize("value", [PROTOBUF, JSON, bytes(range(256)), b""])
    def test_value_comes_back_byte_for_byte(
        self, storage: Storage, prefix: bytes, value: bytes
    ) -> None:
        storage.create(prefix + b"a", value)
        assert value == storage.range(shapes.get(prefix + b"a")).kvs[0].value

    def test_longer_key_is_another_object(self, storage: Storage, prefix: bytes) -> None:
        storage.create(prefix + b"a/b")
        assert not storage.range(shapes.get(prefix + b"a")).kvs

    def test_health_probe_of_a_key_that_is_not_there_succeeds(self, storage: Storage) -> None:
        assert not storage.range(shapes.health_probe(), timeout_s=2.0).kvs


class TestCurrentRevision:
    def test_empty_store_is_at_revision_1(self, server: Server) -> None:
        assert server.first_revision == 1

    @pytest.mark.parametrize("shape", [shapes.current_revision, shapes.current_revision_by_list])
    def test_each_shape_tells_the_revision_of_the_last_write(
        self, storage: Storage, prefix: bytes, shape: shapes.CurrentRevision
    ) -> None:
        for name in (b"a", b"b"):
            written = storage.create(prefix + name)
            assert written == storage.range(shape(prefix)).header.revision

    @pytest.mark.parametrize("shape", [shapes.current_revision, shapes.current_revision_by_list])
    def test_reading_leaves_it_as_it_is(
        self, storage: Storage, prefix: bytes, shape: shapes.CurrentRevision
    ) -> None:
        written = storage.create(prefix + b"a")
        assert {written} == {storage.range(shape(prefix)).header.revision for _ in range(5)}

    def test_write_of_one_connection_is_seen_by_another_at_once(
        self, server: Server, storage: Storage, prefix: bytes
    ) -> None:
        other = Storage(server.target)
        try:
            for n in range(20):
                written = storage.create(prefix + b"%d" % n)
                assert written == other.range(shapes.current_revision(prefix)).header.revision
        finally:
            other.close()


class TestCountAndKeys:
    def test_count_has_no_objects_and_leaves_out_the_neighbours(
        self, storage: Storage, prefix: bytes
    ) -> None:
        storage.fill(prefix, 12)
        storage.create(prefix.rstrip(b"/"))
        storage.create(prefix.rstrip(b"/") + b"-more/a")
        response = storage.range(shapes.count(prefix))
        assert (response.count, len(response.kvs), response.more) == (12, 0, False)

    def test_count_of_nothing_is_0(self, storage: Storage, prefix: bytes) -> None:
        assert storage.range(shapes.count(prefix)).count == 0

    def test_keys_come_in_order_without_values(self, storage: Storage, prefix: bytes) -> None:
        revisions = storage.fill(prefix, 3, b"large" * 100)
        response = storage.range(shapes.keys(prefix))
        assert [prefix + b"%04d" % n for n in range(3)] == [kv.key for kv in response.kvs]
        assert {b""} == {kv.value for kv in response.kvs}
        assert revisions == [kv.mod_revision for kv in response.kvs]
        assert (response.count, response.more) == (3, False)
