"""A record is read back as it was written, and told from one that was not."""

from __future__ import annotations

import pytest

from kvstore.core.mvcc import record as records
from kvstore.proto import kv_pb2
from kvstore.types import KeyValue

VALUES = [b"", b"v", b"*" * 127, b"x" * 128, bytes(range(256)) * 70, bytes(200_000)]


def encoded(kv: KeyValue) -> bytes:
    return records.encode(*kv)


@pytest.mark.parametrize("value", VALUES, ids=len)
@pytest.mark.parametrize("lease", [0, 5, -7])
@pytest.mark.parametrize("key", [b"k", b"\xff" * 300], ids=len)
class TestRecord:
    def test_it_is_read_back(self, key: bytes, value: bytes, lease: int) -> None:
        kv = KeyValue(key, value, 3, 2**40, 300, lease)
        record = encoded(kv)
        assert records.decode(record) == kv
        assert records.key_of(record) == key
        assert kv_pb2.KeyValue.FromString(records.wire(record)) == kv_pb2.KeyValue(
            key=key, value=value, create_revision=3, mod_revision=2**40, version=300, lease=lease
        )
        (key_only,) = records.KeyRecords([record])
        assert key_only == kv._replace(value=b"", lease=0)

    def test_it_is_whole_until_any_byte_of_it_changes(
        self, key: bytes, value: bytes, lease: int
    ) -> None:
        record = encoded(KeyValue(key, value, 3, 7, 300, lease))
        assert records.is_whole(record)
        assert records.are_whole([record, record])
        for at in {*range(40), len(record) // 2, *range(len(record) - 40, len(record))}:
            changed = bytearray(record)
            changed[at] ^= 16
            assert not records.is_whole(bytes(changed))
            assert not records.are_whole([record, bytes(changed), record])
        assert not records.is_whole(record[:-1])


def test_a_tombstone_is_whole() -> None:
    record = records.encode_tombstone(b"k", 9)
    assert records.is_whole(record)
    assert records.decode(record) == KeyValue(b"k", b"", 0, 9, 0, 0)


def test_an_empty_value_is_told_from_a_checksum_that_looks_like_its_tag() -> None:
    """The byte behind the version is the checksum's own when there is no value."""
    starts = 0
    for revision in range(2, 3000):
        record = records.encode(b"k", b"", revision, revision, 1, 0)
        starts += record[-4] == 0x2A
        assert records.decode(record).value == b""
    assert starts
