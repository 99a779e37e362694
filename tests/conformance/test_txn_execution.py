"""What a txn does: branches, one revision, order of its ops, all or nothing."""

from __future__ import annotations

import threading

import pytest

from kvstore.errors import (
    Compacted,
    FutureRevision,
    KeyNotFound,
    LeaseNotFound,
)
from kvstore.keys import FROM_KEY, KeyRange
from kvstore.store.interface import StoreProtocol
from kvstore.types import (
    CompareResult,
    CompareTarget,
    DeleteRangeOp,
    DeleteRangeResult,
    Op,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    SortOrder,
    SortTarget,
    Txn,
    TxnResult,
)
from tests.support.ops import (
    ALL,
    Watching,
    commit,
    compare,
    delete,
    event_keys,
    get,
    get_all,
    keys,
    put,
    revision,
    values,
)

TRUE = compare(CompareTarget.VERSION, b"never written", CompareResult.EQUAL, 0)
FALSE = compare(CompareTarget.VERSION, b"never written", CompareResult.GREATER, 0)


def range_of(result: object) -> RangeResult:
    assert isinstance(result, RangeResult)
    return result


class TestBranches:
    def test_failing_compare_runs_the_failure_branch(self, store: StoreProtocol) -> None:
        # behaviour 66
        result = commit(
            store, [PutOp(b"then", b"1")], compares=[FALSE], failure=[PutOp(b"else", b"2")]
        )
        assert (result.succeeded, result.revision) == (False, 2)
        assert values(get_all(store)) == {b"else": b"2"}

    def test_holding_compare_runs_the_success_branch(self, store: StoreProtocol) -> None:
        # behaviour 67
        result = commit(
            store, [PutOp(b"then", b"1")], compares=[TRUE], failure=[PutOp(b"else", b"2")]
        )
        assert (result.succeeded, result.revision) == (True, 2)
        assert values(get_all(store)) == {b"then": b"1"}

    def test_empty_txn_succeeds_and_changes_nothing(self, store: StoreProtocol) -> None:
        put(store, b"k")
        assert TxnResult(2, True, []) == commit(store)._replace(responses=[])
        assert revision(store) == 2


class TestRevision:
    def test_txn_that_only_reads_leaves_the_revision(self, store: StoreProtocol) -> None:
        # behaviour 59
        put(store, b"k", b"v")
        result = commit(store, [RangeOp(KeyRange(b"k")), RangeOp(KeyRange(*ALL))])
        assert (result.revision, revision(store)) == (2, 2)
        assert [range_of(each).revision for each in result.responses] == [2, 2]

    def test_txn_with_a_put_takes_the_next_revision(self, store: StoreProtocol) -> None:
        # behaviour 60
        result = commit(store, [RangeOp(KeyRange(b"k")), PutOp(b"k", b"v")])
        assert (result.revision, revision(store)) == (2, 2)

    def test_txn_whose_delete_finds_nothing_leaves_the_revision(self, store: StoreProtocol) -> None:
        result = commit(store, [DeleteRangeOp(KeyRange(b"a")), DeleteRangeOp(KeyRange(b"b", b"c"))])
        assert (result.revision, revision(store)) == (1, 1)
        assert [each.revision for each in result.responses] == [1, 1]

    def test_all_puts_share_one_revision_and_keep_their_order_for_watchers(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 71
        watching.create(*ALL)
        result = commit(store, [PutOp(b"c"), PutOp(b"a"), PutOp(b"b")])
        assert {result.revision} == {kv.mod_revision for kv in get_all(store).kvs}
        events = watching.next().events
        assert [event.kv.key for event in events] == [b"c", b"a", b"b"]
        assert {result.revision} == {event.kv.mod_revision for event in events}

    def test_outcome_of_compares_agrees_with_the_order_of_revisions(
        self, store: StoreProtocol
    ) -> None:
        # behaviour 61
        rounds = 30
        put_revisions: list[int] = []

        def write() -> None:
            put_revisions.extend(put(store, b"k").revision for _ in range(rounds))

        writer = threading.Thread(target=write)
        writer.start()
        outcomes: list[tuple[int, TxnResult]] = []
        for n in range(rounds):
            guard = compare(CompareTarget.VERSION, b"k", CompareResult.GREATER, n)
            outcomes.append((n, commit(store, [PutOp(b"log")], compares=[guard])))
        writer.join()
        for n, outcome in outcomes:
            # version > n held exactly when the put number n + 1 came before the txn
            assert outcome.succeeded == (put_revisions[n] <= outcome.revision)


class TestSequence:
    def test_range_after_puts_sees_them_at_the_new_revision(self, store: StoreProtocol) -> None:
        # behaviour 70
        put(store, b"a", b"old")
        result = commit(
            store,
            [
                RangeOp(KeyRange(*ALL)),
                PutOp(b"a", b"new"),
                RangeOp(KeyRange(*ALL)),
                PutOp(b"b", b"new"),
                RangeOp(KeyRange(*ALL)),
            ],
        )
        first, _, second, _, third = result.responses
        assert (values(range_of(first)), first.revision) == ({b"a": b"old"}, 2)
        assert (values(range_of(second)), second.revision) == ({b"a": b"new"}, 3)
        assert (values(range_of(third)), third.revision) == ({b"a": b"new", b"b": b"new"}, 3)

    def test_range_at_an_old_revision_does_not_see_them(self, store: StoreProtocol) -> None:
        put(store, b"a", b"old")
        result = commit(store, [PutOp(b"a", b"new"), RangeOp(KeyRange(b"a"), revision=2)])
        assert values(range_of(result.responses[1])) == {b"a": b"old"}

    def test_range_after_a_delete_finds_nothing(self, store: StoreProtocol) -> None:
        put(store, b"a")
        put(store, b"b")
        result = commit(store, [DeleteRangeOp(KeyRange(b"a", b"c")), RangeOp(KeyRange(*ALL))])
        assert (keys(range_of(result.responses[1])), range_of(result.responses[1]).count) == ([], 0)

    def test_ranges_inside_honour_limit_order_and_counts(self, store: StoreProtocol) -> None:
        for key in (b"a", b"b", b"c"):
            put(store, key, b"v")
        result = commit(
            store,
            [
                RangeOp(KeyRange(*ALL), limit=2),
                RangeOp(KeyRange(*ALL), sort_order=SortOrder.DESCEND, sort_target=SortTarget.KEY),
                RangeOp(KeyRange(*ALL), count_only=True),
                RangeOp(KeyRange(*ALL), keys_only=True),
            ],
        )
        limited, sorted_, counted, short = map(range_of, result.responses)
        assert (keys(limited), limited.more, limited.count) == ([b"a", b"b"], True, 3)
        assert keys(sorted_) == [b"c", b"b", b"a"]
        assert (keys(counted), counted.count) == ([], 3)
        assert {b""} == set(values(short).values())

    def test_prev_kv_inside_a_txn_is_what_the_op_found(self, store: StoreProtocol) -> None:
        put(store, b"a", b"1")
        result = commit(store, [PutOp(b"a", b"2", prev_kv=True), PutOp(b"b", prev_kv=True)])
        first, second = result.responses
        assert isinstance(first, PutResult)
        assert isinstance(second, PutResult)
        assert first.prev_kv is not None
        assert (first.prev_kv.value, second.prev_kv) == (b"1", None)

    def test_revision_of_a_range_or_delete_rises_only_after_a_write(
        self, store: StoreProtocol
    ) -> None:
        # behaviour 70
        put(store, b"a")
        result = commit(
            store,
            [
                RangeOp(KeyRange(b"a")),
                DeleteRangeOp(KeyRange(b"missing")),
                DeleteRangeOp(KeyRange(b"a")),
                DeleteRangeOp(KeyRange(b"missing")),
                RangeOp(KeyRange(b"a")),
            ],
        )
        assert [each.revision for each in result.responses] == [2, 2, 3, 3, 3]

    def test_delete_from_a_key_on_does_not_hide_a_later_put(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        # behaviour 76: an open interval escapes the check for duplicates
        for key in (b"a", b"z"):
            put(store, key, b"old")
        watching.create(*ALL)
        result = commit(store, [DeleteRangeOp(KeyRange(b"a", FROM_KEY)), PutOp(b"z", b"new")])
        message = watching.next()
        assert event_keys(message.events) == [("DELETE", b"a"), ("DELETE", b"z"), ("PUT", b"z")]
        assert {result.revision} == {event.kv.mod_revision for event in message.events}
        kv = get(store, b"z").kvs[0]
        assert (b"new", 1, result.revision) == (kv.value, kv.version, kv.create_revision)
        assert keys(get_all(store)) == [b"z"]


class TestAllOrNothing:
    def test_future_range_aborts_the_puts(self, store: StoreProtocol) -> None:
        # behaviour 64
        put(store, b"k", b"1")
        with pytest.raises(FutureRevision):
            commit(store, [PutOp(b"k", b"2"), RangeOp(KeyRange(b"k"), revision=100)])
        assert (values(get_all(store)), revision(store)) == ({b"k": b"1"}, 2)

    def test_range_at_the_revision_the_txn_will_get_is_in_the_future(
        self, store: StoreProtocol
    ) -> None:
        # behaviour 64
        with pytest.raises(FutureRevision):
            commit(store, [PutOp(b"k", b"2"), RangeOp(KeyRange(b"k"), revision=2)])
        assert revision(store) == 1

    def test_compacted_range_aborts_the_puts(self, store: StoreProtocol) -> None:
        # behaviour 65
        for n in range(4):
            put(store, b"k", b"%d" % n)
        store.compact(4)
        orders: tuple[list[Op], ...] = (
            [PutOp(b"k", b"new"), RangeOp(KeyRange(b"k"), revision=3)],
            [RangeOp(KeyRange(b"k"), revision=3), PutOp(b"k", b"new")],
        )
        for ops in orders:
            with pytest.raises(Compacted):
                commit(store, ops)
        assert (values(get_all(store)), revision(store)) == ({b"k": b"3"}, 5)
        result = commit(store, [PutOp(b"l"), RangeOp(KeyRange(b"k"), revision=4)])
        assert values(range_of(result.responses[1])) == {b"k": b"2"}

    def test_negative_revision_is_taken_literally_inside_a_txn(self, store: StoreProtocol) -> None:
        for n in range(3):
            put(store, b"k", b"%d" % n)
        ops: list[Op] = [PutOp(b"other"), RangeOp(KeyRange(b"k"), revision=-1)]
        store.compact(3)
        with pytest.raises(Compacted):
            commit(store, ops)
        assert revision(store) == 4

    def test_unknown_lease_in_the_taken_branch_aborts_everything(
        self, store: StoreProtocol
    ) -> None:
        # behaviours 69 and 72
        with pytest.raises(LeaseNotFound):
            commit(store, [PutOp(b"a"), PutOp(b"b", lease=99), PutOp(b"c")], compares=[TRUE])
        assert (revision(store), get_all(store).count) == (1, 0)

    def test_unknown_lease_in_the_other_branch_is_not_looked_at(self, store: StoreProtocol) -> None:
        # behaviour 69
        assert commit(
            store, [PutOp(b"a")], compares=[TRUE], failure=[PutOp(b"b", lease=99)]
        ).succeeded
        assert not commit(
            store, [PutOp(b"b", lease=99)], compares=[FALSE], failure=[PutOp(b"c")]
        ).succeeded
        assert keys(get_all(store)) == [b"a", b"c"]

    def test_first_failing_op_names_the_error(self, store: StoreProtocol) -> None:
        with pytest.raises(LeaseNotFound):
            commit(store, [PutOp(b"a", lease=99), PutOp(b"missing", ignore_value=True)])
        with pytest.raises(KeyNotFound):
            commit(store, [PutOp(b"missing", ignore_value=True), PutOp(b"a", lease=99)])


class TestNested:
    def test_path_of_outcomes_mirrors_the_request(self, store: StoreProtocol) -> None:
        # behaviour 63
        outcomes = [True, False, False, True, False]
        txn = Txn((), (PutOp(b"leaf", b"v"),), ())
        for outcome in reversed(outcomes):
            guards = (TRUE if outcome else FALSE,)
            txn = Txn(guards, (txn,), ()) if outcome else Txn(guards, (), (txn,))
        result = store.txn(txn)
        assert (result.revision, revision(store)) == (2, 2)
        found = []
        while isinstance(result, TxnResult) and isinstance(result.responses[0], TxnResult):
            found.append(result.succeeded)
            (result,) = result.responses  # type: ignore[assignment]
            assert result.revision == 0
        assert outcomes == found
        (leaf,) = result.responses
        assert isinstance(leaf, PutResult)
        assert leaf.revision == 2

    def test_nested_compares_see_the_state_before_the_txn(self, store: StoreProtocol) -> None:
        put(store, b"k", b"old")
        inner = Txn(
            (compare(CompareTarget.VALUE, b"k", CompareResult.EQUAL, b"old"),),
            (PutOp(b"seen", b"old"),),
            (PutOp(b"seen", b"new"),),
        )
        commit(store, [PutOp(b"k", b"new"), inner])
        assert values(get_all(store)) == {b"k": b"new", b"seen": b"old"}

    def test_all_levels_share_one_revision(self, store: StoreProtocol, watching: Watching) -> None:
        watching.create(*ALL)
        inner = Txn((), (PutOp(b"b"), Txn((), (PutOp(b"c"),), ()), PutOp(b"d")), ())
        result = commit(store, [PutOp(b"a"), inner, PutOp(b"e")])
        message = watching.next()
        assert [event.kv.key for event in message.events] == [b"a", b"b", b"c", b"d", b"e"]
        assert {result.revision} == {event.kv.mod_revision for event in message.events}

    def test_ranges_of_nested_txns_see_earlier_writes(self, store: StoreProtocol) -> None:
        inner = Txn((), (RangeOp(KeyRange(b"a")), PutOp(b"b", b"2")), ())
        result = commit(store, [PutOp(b"a", b"1"), inner, RangeOp(KeyRange(*ALL))])
        nested = result.responses[1]
        assert isinstance(nested, TxnResult)
        assert values(range_of(nested.responses[0])) == {b"a": b"1"}
        assert values(range_of(result.responses[2])) == {b"a": b"1", b"b": b"2"}

    def test_put_then_delete_in_later_nested_txn_is_accepted(
        self, store: StoreProtocol, watching: Watching
    ) -> None:
        watching.create(*ALL)
        put_first = Txn((), (PutOp(b"k", b"v"),), ())
        delete_then = Txn((), (DeleteRangeOp(KeyRange(b"k")),), ())
        result = commit(store, [put_first, delete_then])
        message = watching.next()
        assert event_keys(message.events) == [("PUT", b"k"), ("DELETE", b"k")]
        assert {result.revision} == {event.kv.mod_revision for event in message.events}
        assert get(store, b"k").count == 0

    def test_failing_op_deep_inside_aborts_everything(self, store: StoreProtocol) -> None:
        deep = Txn((), (Txn((), (PutOp(b"b", lease=99),), ()),), ())
        with pytest.raises(LeaseNotFound):
            commit(store, [PutOp(b"a"), deep])
        assert revision(store) == 1


class TestConcurrency:
    def test_counters_with_optimistic_retry_lose_no_update(self, store: StoreProtocol) -> None:
        # behaviour 78
        put(store, b"counter", b"0")
        threads, rounds = 3, 10

        def count() -> None:
            for _ in range(rounds):
                while True:
                    kv = get(store, b"counter").kvs[0]
                    guard = compare(
                        CompareTarget.MOD, b"counter", CompareResult.EQUAL, kv.mod_revision
                    )
                    op = PutOp(b"counter", b"%d" % (int(kv.value) + 1))
                    if commit(store, [op], compares=[guard]).succeeded:
                        break

        workers = [threading.Thread(target=count) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        kv = get(store, b"counter").kvs[0]
        assert (b"%d" % (threads * rounds), threads * rounds + 1) == (kv.value, kv.version)

    def test_deletes_and_puts_of_many_threads_get_distinct_revisions(
        self, store: StoreProtocol
    ) -> None:
        found: list[int] = []

        def write(name: bytes) -> None:
            for _ in range(10):
                found.append(put(store, name).revision)
                gone = delete(store, name)
                assert isinstance(gone, DeleteRangeResult)
                found.append(gone.revision)

        workers = [threading.Thread(target=write, args=(b"k%d" % n,)) for n in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert list(range(2, 62)) == sorted(found)
