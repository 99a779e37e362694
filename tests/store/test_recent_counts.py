"""Counts in the recent past agree with a walk over the keys, and long histories come in order."""

from __future__ import annotations

import random

from kvstore.backend import open_backend
from kvstore.keys import ALL_KEYS, KeyRange
from kvstore.store.threads import ThreadStore
from kvstore.types import DeleteRangeOp, PutOp, RangeOp, Txn, WatchCreate


def test_a_count_at_each_old_revision_is_that_of_the_keys_there() -> None:
    store = ThreadStore.open(open_backend(":memory:"))
    chance = random.Random(5)
    for _ in range(300):
        key = b"%d" % chance.randrange(12)
        op = PutOp(key) if chance.random() < 0.6 else DeleteRangeOp(KeyRange(key, key + b"5"))
        store.txn(Txn(success=(op,)))
    for revision in range(1, store.revision + 1):
        for wanted in (ALL_KEYS, KeyRange(b"1", b"2"), KeyRange(b"5", b"\0")):
            found = store.range(RangeOp(wanted, revision=revision))
            page = store.range(RangeOp(wanted, revision=revision, limit=1))
            only = store.range(RangeOp(wanted, revision=revision, count_only=True))
            assert found.count == page.count == only.count == len(found.kvs)
    store.close()


def test_keys_with_long_histories_are_replayed_in_order_and_whole() -> None:
    store = ThreadStore.open(open_backend(":memory:"))
    for n in range(2600):
        store.txn(Txn(success=(PutOp(b"a"), PutOp(b"b")) if n % 3 == 0 else (PutOp(b"a"),)))
    stream = store.watch_stream()
    stream.create(WatchCreate(KeyRange(b"a", b"c"), start_revision=1))
    seen: list[tuple[int, bytes]] = []
    while (message := stream.next(0)) is not None:
        seen += [(event.kv.mod_revision, event.kv.key) for event in message.events]
        assert len({event.kv.mod_revision for event in message.events}) <= 1000
    expected = [
        (n + 2, key) for n in range(2600) for key in (b"a", b"b") if key == b"a" or n % 3 == 0
    ]
    assert seen == expected
    store.close()
