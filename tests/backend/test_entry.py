"""An entry of the journal is read back whole or not at all."""

from __future__ import annotations

import msgpack
import pytest

from kvstore.backend.interface import BackendError, Table, WriteBatch
from kvstore.backend.journal.entry import decode, encode_body, padded, seal
from kvstore.errors import CorruptStore

SALT = b"saltsalt"
BATCH = WriteBatch(
    (((1).to_bytes(12, "big"), b"one"), ((2).to_bytes(12, "big"), b"")),
    [(Table.LEASE, b"lease", b"7"), (Table.META, b"meta", b"x")],
    [(Table.LOG, b"old"), (Table.LEASE, b"gone")],
)


def sealed(batch: WriteBatch = BATCH, sequence: int = 9) -> bytes:
    return seal(encode_body(batch), SALT, sequence)


def rows_of(batch: WriteBatch) -> tuple[object, ...]:
    return batch.appends, batch.puts, batch.deletes


class TestEntry:
    @pytest.mark.parametrize("size", [0, 1, 7, 8, 4096, 5000, 150_000])
    def test_what_was_sealed_is_read_back(self, size: int) -> None:
        batch = WriteBatch(((b"k" * 12, bytes(size)),), [], [])
        entry = decode(memoryview(b"before.." + sealed(batch)), 8, SALT)
        assert entry is not None
        assert (entry.sequence, rows_of(entry.batch)) == (9, rows_of(batch))
        assert entry.end == 8 + len(sealed(batch)) == 8 + padded(len(encode_body(batch)))
        assert entry.end % 8 == 0

    def test_all_kinds_of_rows_are_read_back(self) -> None:
        entry = decode(memoryview(sealed()), 0, SALT)
        assert entry is not None
        assert rows_of(entry.batch) == rows_of(BATCH)

    def test_a_torn_entry_is_none_wherever_it_was_torn(self) -> None:
        whole = sealed()
        body_end = 24 + len(encode_body(BATCH))
        for size in range(body_end):
            assert decode(memoryview(whole[:size]), 0, SALT) is None
            zeroed = whole[:size] + bytes(len(whole) - size)
            if zeroed != whole:
                assert decode(memoryview(zeroed), 0, SALT) is None

    def test_a_flipped_bit_makes_it_invalid_wherever_it_is(self) -> None:
        whole = bytearray(sealed())
        for bit in range(8 * (24 + len(encode_body(BATCH)))):
            whole[bit // 8] ^= 1 << bit % 8
            assert decode(memoryview(whole), 0, SALT) is None
            whole[bit // 8] ^= 1 << bit % 8

    def test_an_entry_of_an_earlier_use_of_the_file_is_none(self) -> None:
        assert decode(memoryview(sealed()), 0, b"newsalt!") is None

    def test_rows_of_the_log_cannot_be_put(self) -> None:
        with pytest.raises(BackendError):
            encode_body(WriteBatch(puts=[(Table.LOG, b"k", b"v")]))

    def test_a_valid_entry_that_makes_no_sense_is_corrupt(self) -> None:
        with pytest.raises(CorruptStore, match="journal entry 3 cannot be read"):
            decode(memoryview(seal(b"\xc1", SALT, 3)), 0, SALT)

    @pytest.mark.parametrize(("code", "name"), [(3, "'user'"), (6, "'sample'"), (99, "99")])
    def test_a_table_of_a_later_version_is_refused_by_name(self, code: int, name: str) -> None:
        for body in ([(), [(code, b"k", b"v")], ()], [(), (), [(code, b"k")]]):
            with pytest.raises(CorruptStore, match=f"rows of the table {name}, which this"):
                decode(memoryview(seal(msgpack.packb(body), SALT, 3)), 0, SALT)
