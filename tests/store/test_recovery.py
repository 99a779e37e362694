"""What a scan of the log refuses."""

from __future__ import annotations

import pytest

from kvstore.backend.interface import WriteBatch
from kvstore.backend.memory import MemoryBackend
from kvstore.core.mvcc.record import encode, encode_tombstone
from kvstore.core.mvcc.revision import pack, to_bytes
from kvstore.errors import CorruptStore
from kvstore.store.format import check_format
from kvstore.store.recovery import recover


@pytest.mark.parametrize("is_deletion", [True, False])
def test_a_row_that_says_of_its_record_what_it_is_not(is_deletion: bool) -> None:
    """One bit of the row's key says whether it is a deletion; the record's checksum is right."""
    backend = MemoryBackend()
    check_format(backend)
    record = encode_tombstone(b"k", 2) if is_deletion else encode(b"k", b"v", 2, 2, 1, 0)
    row = to_bytes(pack(2, 0, tombstone=not is_deletion))
    backend.commit(WriteBatch(appends=[(row, record)]))
    with pytest.raises(CorruptStore, match=r"revision 2\.0"):
        recover(backend)
