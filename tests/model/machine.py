"""The rules of the stateful tests: every request there is, done to a store and to the model.

A machine for one kind of store says how to do each request (`do_*`) and when what was decided
becomes durable. `head` is the model with every decision, `durable` the one that may be seen; for a
store that answers only when all is durable they are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from kvstore.errors import Compacted, FutureRevision, StoreError
from kvstore.types import (
    DeleteRangeResult,
    RangeOp,
    RangeResult,
    Txn,
    TxnResult,
    WatchCreate,
    WatchMessage,
)
from tests.model.model import Model
from tests.model.strategies import (
    LEASES,
    anchored,
    backs,
    range_ops,
    revision_of,
    txns,
    watches,
)
from tests.model.watch_record import WatchRecord

__all__ = ["StoreMachine", "StreamLog", "outcome", "plain"]

MAX_STREAMS = 3
MIN_TTL_S = 2

lease_ids = st.sampled_from(LEASES)
which = st.integers(0, MAX_STREAMS - 1)
"""One of the open streams; the number is taken modulo how many there are."""


def plain(result: Any) -> Any:
    """A result with plain tuples for its sequences, which a store may fill lazily."""
    match result:
        case RangeResult():
            return result._replace(kvs=tuple(result.kvs))
        case DeleteRangeResult():
            return result._replace(prev_kvs=tuple(result.prev_kvs))
        case TxnResult():
            return result._replace(responses=tuple(plain(one) for one in result.responses))
    return result


def outcome(call: Callable[[], Any]) -> Any:
    """What it returns, or the kind of error that it raises."""
    try:
        return plain(call())
    except Compacted as error:
        return Compacted, error.compact_revision
    except StoreError as error:
        return type(error)


class StreamLog:
    """One watch stream, who watches on it and what each was sent."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.asked: list[WatchCreate] = []
        """Creates not answered yet, in order."""
        self.taken: dict[int, WatchRecord] = {}
        """By watch id, while the id is not free again."""
        self.done: list[WatchRecord] = []
        self.canceling: list[int] = []
        self.free_id = 0

    @property
    def live(self) -> list[WatchRecord]:
        return [record for record in self.taken.values() if record.ended is None]

    def take(self, message: WatchMessage, durable: Model) -> None:
        """Judge one message on its own and file it."""
        message = message._replace(events=tuple(message.events))
        assert message.revision <= durable.revision, f"{message} is ahead of {durable.revision}"
        if message.created:
            self._answered(self.asked.pop(0), message, durable)
        elif message.watch_id == -1:
            assert not message.events, message
            assert not message.canceled, message
            for record in self.live:
                record.add(message, durable.compact_revision)
        elif message.canceled:
            self._ended(message, durable)
        else:
            record = self.taken[message.watch_id]
            assert message.events or record.request.progress_notify, message
            record.add(message, durable.compact_revision)

    def _answered(self, request: WatchCreate, message: WatchMessage, durable: Model) -> None:
        end = request.range.range_end
        inverted = bool(end) and end != b"\x00" and end <= request.range.key
        used = request.watch_id != 0 and request.watch_id in self.taken
        if inverted or used or request.start_revision < 0:
            assert message.canceled, message
            assert message.watch_id == -1, message
            assert message.cancel_reason, message
            return
        assert not message.canceled, f"{request} was refused: {message}"
        expected = request.watch_id
        if not expected:
            while self.free_id in self.taken:
                self.free_id += 1
            expected, self.free_id = self.free_id, self.free_id + 1
        assert message.watch_id == expected, f"{message} should have the id {expected}"
        self.taken[expected] = WatchRecord(request, expected, message.revision)

    def _ended(self, message: WatchMessage, durable: Model) -> None:
        record = self.taken[message.watch_id]
        if message.compact_revision:
            assert message.compact_revision == durable.compact_revision, message
            assert message.revision == 0, message
            assert not message.cancel_reason, message
            assert record.seen() + 1 < durable.compact_revision, (
                f"{record.request} has seen {record.seen()} and was ended by {message}"
            )
            record.add(message, durable.compact_revision)
            return
        assert message.watch_id in self.canceling, f"nobody asked for {message}"
        self.canceling.remove(message.watch_id)
        if record.ended is None:
            record.add(message, durable.compact_revision)
        self.done.append(self.taken.pop(message.watch_id))


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.head = self.durable = Model(min_lease_ttl_s=MIN_TTL_S)
        self.now_s = 1000.0
        self.compactions: set[int] = set()
        self.streams: list[StreamLog] = []

    # -- what a kind of store fills in

    def do_range(self, op: RangeOp) -> Any:
        raise NotImplementedError

    def do_txn(self, txn: Txn) -> Any:
        raise NotImplementedError

    def do_compact(self, revision: int) -> Any:
        """Returns the header revision."""
        raise NotImplementedError

    def do_grant(self, ttl_s: int, lease_id: int) -> Any:
        """Returns the real TTL."""
        raise NotImplementedError

    def do_revoke(self, lease_id: int) -> Any:
        """Returns the header revision."""
        raise NotImplementedError

    def do_keep_alive(self, lease_id: int) -> int:
        """Returns the TTL, 0 for a lease that is gone."""
        raise NotImplementedError

    def do_lease_keys(self, lease_id: int) -> tuple[int, tuple[bytes, ...]]:
        """The granted TTL (0: unknown) and the attached keys."""
        raise NotImplementedError

    def do_leases(self) -> list[int]:
        raise NotImplementedError

    def do_expire(self, limit: int) -> None:
        """Revoke what is due, at least `limit` leases of it if there are as many."""
        raise NotImplementedError

    def new_stream(self) -> Any:
        raise NotImplementedError

    def pull(self, log: StreamLog) -> WatchMessage | None:
        """The next message if there is one now."""
        raise NotImplementedError

    def drain(self, log: StreamLog) -> None:
        """Take messages until nothing more comes."""
        while (message := self.pull(log)) is not None:
            log.take(message, self.durable)

    def decided(self, model: Model) -> None:
        self.head = self.durable = model

    def settle(self) -> None:
        """Make all that was decided durable."""

    # -- requests

    def decide(self, in_model: Callable[[Model], Any], in_store: Callable[[], Any]) -> None:
        model = self.head.clone()
        expected, got = outcome(lambda: in_model(model)), outcome(in_store)
        assert got == expected, f"the store says {got}, the model {expected}"
        if not (
            isinstance(expected, type) or (isinstance(expected, tuple) and expected[0] is Compacted)
        ):
            self.decided(model)

    @rule(txn=txns())
    def txn(self, txn: Txn) -> None:
        anchored_txn = anchored(txn, self.head.revision)
        assert isinstance(anchored_txn, Txn)
        self.decide(lambda model: model.txn(anchored_txn), lambda: self.do_txn(anchored_txn))

    @rule(several=st.lists(txns(), min_size=2, max_size=5))
    def write_several(self, several: list[Txn]) -> None:
        """History enough for everything else to have something to look at."""
        for txn in several:
            self.txn(txn)
        self.settle()

    @rule(op=range_ops())
    def read(self, op: RangeOp) -> None:
        op = anchored(op, self.durable.revision)  # type: ignore[assignment]
        expected, got = outcome(lambda: self.durable.range(op)), outcome(lambda: self.do_range(op))
        assert got == expected, f"{op}: the store says {got}, the model {expected}"

    @rule(back=backs)
    def compact(self, back: int) -> None:
        revision = revision_of(back, self.durable.revision)
        top = self.durable.revision

        def in_model(model: Model) -> int:
            if revision > top and revision > model.compact_revision:
                raise FutureRevision  # decided, perhaps, and not there to be seen
            return model.compact(revision)

        self.decide(in_model, lambda: self.do_compact(revision))
        self.compactions |= {self.head.compact_revision} - {-1}

    # -- leases

    @rule(lease_id=lease_ids, ttl_s=st.sampled_from((0, 3, 5, 100)))
    def lease_grant(self, lease_id: int, ttl_s: int) -> None:
        self.decide(
            lambda model: model.lease_grant(ttl_s, lease_id, self.now_s).ttl_s,
            lambda: self.do_grant(ttl_s, lease_id),
        )

    @rule(lease_id=lease_ids)
    def lease_revoke(self, lease_id: int) -> None:
        self.decide(lambda model: model.lease_revoke(lease_id), lambda: self.do_revoke(lease_id))

    @rule(lease_id=lease_ids)
    def lease_keep_alive(self, lease_id: int) -> None:
        expected = self.head.lease_keep_alive(lease_id, self.now_s)
        got = self.do_keep_alive(lease_id)
        assert got == expected, f"the store says {got}, the model {expected}"

    @rule(lease_id=lease_ids)
    def lease_time_to_live(self, lease_id: int) -> None:
        lease = self.head.leases.get(lease_id)
        expected = (lease.ttl_s, tuple(self.head.lease_keys(lease_id))) if lease else (0, ())
        got = self.do_lease_keys(lease_id)
        assert got == expected, f"the store says {got}, the model {expected}"

    @rule()
    def lease_leases(self) -> None:
        leases = self.do_leases()
        assert sorted(leases) == sorted(self.head.leases), leases
        ends = [self.head.leases[lease_id].expires_at_s for lease_id in leases]
        assert ends == sorted(ends), f"{leases} end at {ends}"

    @rule(seconds=st.sampled_from((1, 3, 6)), limit=st.sampled_from((1, 500)))
    def let_time_pass(self, seconds: int, limit: int) -> None:
        self.now_s += seconds
        self.do_expire(limit)

    # -- watches

    @initialize(several=st.lists(txns(), max_size=6), first=watches(), second=watches())
    def begin(self, several: list[Txn], first: WatchCreate, second: WatchCreate) -> None:
        for lease_id in LEASES[:2]:
            self.lease_grant(lease_id, 5)
        self.open_stream(0)
        self.watch(0, first)
        self.write_several(several)
        self.watch(0, second)

    @rule(number=which)
    def open_stream(self, number: int) -> None:
        if len(self.streams) == MAX_STREAMS:
            self.finish(self.streams.pop(number)).stream.close()
        self.streams.append(StreamLog(self.new_stream()))

    @precondition(lambda self: self.streams)
    @rule(number=which, request=watches())
    def watch(self, number: int, request: WatchCreate) -> None:
        revision = revision_of(request.start_revision, self.durable.revision)
        request = request._replace(start_revision=revision)
        log = self.streams[number % len(self.streams)]
        log.asked.append(request)
        log.stream.create(request)

    @precondition(lambda self: self.streams)
    @rule(number=which, watch_id=st.sampled_from((0, 1, 2, 7)))
    def cancel(self, number: int, watch_id: int) -> None:
        log = self.streams[number % len(self.streams)]
        while log.asked:
            assert self.take_next(log), f"no answer to {log.asked}"
        if watch_id in log.taken and watch_id not in log.canceling:
            log.canceling.append(watch_id)
        log.stream.cancel(watch_id)
        while watch_id in log.canceling:
            assert self.take_next(log), f"no answer to the cancel of {watch_id}"

    def take_next(self, log: StreamLog) -> bool:
        message = self.pull(log)
        if message is not None:
            log.take(message, self.durable)
        return message is not None

    @precondition(lambda self: self.streams)
    @rule(number=which, count=st.integers(1, 4))
    def take_some(self, number: int, count: int) -> None:
        for _ in range(count):
            self.take_next(self.streams[number % len(self.streams)])

    @precondition(lambda self: self.streams)
    @rule(number=which)
    def request_progress(self, number: int) -> None:
        log = self.streams[number % len(self.streams)]
        log.stream.request_progress()

    @precondition(lambda self: self.streams)
    @rule(number=which)
    def take_all(self, number: int) -> None:
        self.finish(self.streams[number % len(self.streams)])

    def finish(self, log: StreamLog) -> StreamLog:
        """Take everything there is: each watcher must have got all that it was promised."""
        self.drain(log)
        found = []
        for record in log.taken.values():
            found += record.problems(self.durable, self.compactions, self.durable.revision)
        for record in log.done:
            found += record.problems(self.durable, self.compactions)
        assert not found, "\n".join(found)
        assert not log.asked, f"not answered: {log.asked}"
        return log

    def teardown(self) -> None:
        for log in self.streams:
            self.finish(log)
