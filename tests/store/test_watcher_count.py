"""The number of watchers is exact: created, canceled by the client, by compaction, by a close."""

from __future__ import annotations

from kvstore.backend import open_backend
from kvstore.keys import ALL_KEYS, KeyRange
from kvstore.store.threads import ThreadStore
from kvstore.types import PutOp, Txn, WatchCreate


def test_every_way_a_watcher_comes_and_goes_is_counted() -> None:
    # behaviours 140 and 141
    store = ThreadStore.open(open_backend(":memory:"))
    for _ in range(3):
        store.txn(Txn(success=(PutOp(b"k"),)))
    first, second = store.watch_stream(), store.watch_stream()
    for stream in (first, second):
        stream.create(WatchCreate(ALL_KEYS))
        stream.create(WatchCreate(KeyRange(b"k"), start_revision=2))
    first.create(WatchCreate(KeyRange(b"b", b"a")))  # refused
    assert store.status().watchers == 4
    first.cancel(0)
    first.cancel(99)
    assert store.status().watchers == 3
    store.compact(4)
    while (message := second.next(0)) is not None:
        last = message
    assert last.compact_revision == 4
    assert store.status().watchers == 2
    second.cancel(last.watch_id)
    assert store.status().watchers == 2
    second.close()
    assert store.status().watchers == 1
    first.close()
    assert store.status().watchers == 0
    store.close()
