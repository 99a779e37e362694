"""Lists: page by page at one revision, at an exact past one, and what is said of the rest."""

from __future__ import annotations

import pytest

from kvstore.proto import kv_pb2, rpc_pb2
from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.refusals import COMPACTED, FUTURE, refusal
from tests.kubernetes_contract.storage import Storage


def pages(
    storage: Storage, prefix: bytes, limit: int, revision: int = 0
) -> list[rpc_pb2.RangeResponse]:
    """Page by page as the API server goes on: pinned to the revision of the first page."""
    found = [storage.range(shapes.list_page(prefix, limit=limit, revision=revision))]
    pinned = revision or found[0].header.revision
    while len(found[-1].kvs) < found[-1].count:
        last = found[-1].kvs[-1].key
        request = shapes.list_page(
            prefix, limit=limit, revision=pinned, continue_at=shapes.continue_key(last)
        )
        found.append(storage.range(request))
    return found


def objects(found: list[rpc_pb2.RangeResponse]) -> list[kv_pb2.KeyValue]:
    return [kv for page in found for kv in page.kvs]


class TestPages:
    @pytest.mark.parametrize(
        ("limit", "sizes"),
        [(1, [1] * 7), (3, [3, 3, 1]), (6, [6, 1]), (7, [7]), (8, [7]), (0, [7])],
    )
    def test_count_is_of_all_that_is_left_and_more_agrees(
        self, storage: Storage, prefix: bytes, limit: int, sizes: list[int]
    ) -> None:
        storage.fill(prefix, 7)
        storage.create(prefix.rstrip(b"/") + b"0")  # where the interval ends
        found = pages(storage, prefix, limit)
        left = 7
        for page, size in zip(found, sizes, strict=True):
            assert (size, left, size < left) == (len(page.kvs), page.count, page.more)
            left -= size
        assert [prefix + b"%04d" % n for n in range(7)] == [kv.key for kv in objects(found)]

    def test_empty_prefix_is_one_empty_page(self, storage: Storage, prefix: bytes) -> None:
        (page,) = pages(storage, prefix, 500)
        assert (len(page.kvs), page.count, page.more) == (0, 0, False)
        assert page.header.revision > 0

    def test_later_pages_show_the_revision_of_the_first(
        self, storage: Storage, prefix: bytes
    ) -> None:
        revisions = storage.fill(prefix, 9)
        first = storage.range(shapes.list_page(prefix, limit=3))
        pinned = first.header.revision
        storage.create(prefix + b"0004-new")
        storage.update(prefix + b"0005", b"changed", revisions[5])
        storage.delete(prefix + b"0006", revisions[6])
        now = storage.create(prefix + b"zzz")
        found, left = [first], 6
        while found[-1].more:
            at = shapes.continue_key(found[-1].kvs[-1].key)
            request = shapes.list_page(prefix, limit=3, revision=pinned, continue_at=at)
            found.append(storage.range(request))
            # The header is of now, the objects and their number are of then.
            assert (now, left) == (found[-1].header.revision, found[-1].count)
            left -= 3
        assert revisions == [kv.mod_revision for kv in objects(found)]
        assert {b"v"} == {kv.value for kv in objects(found)}

    def test_limit_may_double_from_page_to_page(self, storage: Storage, prefix: bytes) -> None:
        # What a selector drops has the API server ask for larger pages.
        storage.fill(prefix, 30)
        limit, at, pinned, sizes = 2, b"", 0, []
        while True:
            page = storage.range(
                shapes.list_page(prefix, limit=limit, revision=pinned, continue_at=at)
            )
            sizes.append((len(page.kvs), page.count))
            if not page.more:
                break
            pinned = pinned or page.header.revision
            at, limit = shapes.continue_key(page.kvs[-1].key), min(limit * 2, shapes.PAGE_LIMIT)
        assert sizes == [(2, 30), (4, 28), (8, 24), (16, 16)]

    def test_continue_key_of_an_object_that_is_gone_still_works(
        self, storage: Storage, prefix: bytes
    ) -> None:
        revisions = storage.fill(prefix, 4)
        first = storage.range(shapes.list_page(prefix, limit=2))
        storage.delete(prefix + b"0001", revisions[1])
        at = shapes.continue_key(first.kvs[-1].key)
        for revision in (first.header.revision, 0):
            page = storage.range(
                shapes.list_page(prefix, limit=2, revision=revision, continue_at=at)
            )
            assert [prefix + b"0002", prefix + b"0003"] == [kv.key for kv in page.kvs]
            assert (page.count, page.more) == (2, False)

    def test_first_read_of_a_watch_cache_has_the_largest_limit(
        self, storage: Storage, prefix: bytes
    ) -> None:
        storage.fill(prefix, 20)
        page = storage.range(shapes.list_page(prefix, limit=shapes.PAGE_LIMIT))
        assert (len(page.kvs), page.count, page.more) == (20, 20, False)


class TestExactRevision:
    def test_each_past_revision_is_listed_as_it_was(self, storage: Storage, prefix: bytes) -> None:
        # This is what the check of the watch cache against the store does every few minutes.
        state: dict[bytes, tuple[bytes, int]] = {}
        history = {}
        for n in range(24):
            key = prefix + b"%d" % (n % 5)
            if key in state and n % 4 == 3:
                at = storage.delete(key, state.pop(key)[1])
            else:
                value = b"%d" % n
                at = storage.update(key, value, state[key][1] if key in state else 0)
                state[key] = (value, at)
            history[at] = dict(state)
        for at, then in history.items():
            found = pages(storage, prefix, 2, at)
            assert then == {kv.key: (kv.value, kv.mod_revision) for kv in objects(found)}
            assert len(then) == found[0].count

    def test_single_object_of_the_past(self, storage: Storage, prefix: bytes) -> None:
        created = storage.create(prefix + b"a", b"1")
        updated = storage.update(prefix + b"a", b"2", created)
        deleted = storage.delete(prefix + b"a", updated)
        found = [
            [kv.value for kv in storage.range(shapes.get(prefix + b"a", at)).kvs]
            for at in (created - 1, created, updated, deleted)
        ]
        assert found == [[], [b"1"], [b"2"], []]

    def test_future_revision_is_refused_in_these_words(
        self, storage: Storage, prefix: bytes
    ) -> None:
        at = storage.create(prefix + b"a") + 1000
        for request in (shapes.list_page(prefix, revision=at), shapes.get(prefix + b"a", at)):
            assert refusal(storage.range, request) == FUTURE

    def test_page_after_a_compaction_is_refused_in_these_words(
        self, storage: Storage, prefix: bytes
    ) -> None:
        revisions = storage.fill(prefix, 6)
        first = storage.range(shapes.list_page(prefix, limit=2))
        compacted = storage.update(prefix + b"0005", b"2", revisions[5])
        storage.compact(shapes.compact(compacted))
        at = shapes.continue_key(first.kvs[-1].key)
        request = shapes.list_page(prefix, limit=2, revision=first.header.revision, continue_at=at)
        assert refusal(storage.range, request) == COMPACTED
        # What the API server does then: it goes on without a revision.
        page = storage.range(shapes.list_page(prefix, limit=2, continue_at=at))
        assert (len(page.kvs), page.count, page.more) == (2, 4, True)

    def test_compacted_revision_itself_is_listed(self, storage: Storage, prefix: bytes) -> None:
        revisions = storage.fill(prefix, 5)
        deleted = storage.delete(prefix + b"0000", revisions[0])
        storage.compact(shapes.compact(deleted))
        storage.delete(prefix + b"0001", revisions[1])
        found = pages(storage, prefix, 2, deleted)
        assert revisions[1:] == [kv.mod_revision for kv in objects(found)]
