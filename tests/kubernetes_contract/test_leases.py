"""Leases that are granted, attached by the put of a transaction and left to expire.

The API server never renews or revokes one. Events share a lease, for a minute or 1000 objects;
masterleases get a new one with each refresh, so that the old one must not take their key along.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import pytest

from kvstore.proto import kv_pb2, rpc_pb2
from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.conftest import Server, Servers
from tests.kubernetes_contract.refusals import LEASE_NOT_FOUND, refusal
from tests.kubernetes_contract.storage import Storage
from tests.kubernetes_contract.targets import TARGETS

EVENT_TTL_S = 3660
"""An hour and the time for which one lease is given to new Events."""
MASTER_TTL_S = 15
SHORT_TTL_S = 4
"""Long enough to attach everything while all servers are busy."""
SHARED_BY = 200


class Expired(NamedTuple):
    """What became of the objects of a lease after its time."""

    lease: int
    ttl_s: float
    waited_s: float
    before: dict[bytes, kv_pb2.KeyValue]
    """The objects that were still attached."""
    deletes: list[kv_pb2.Event]
    messages: list[rpc_pb2.WatchResponse]
    left: dict[bytes, kv_pb2.KeyValue]
    moved_to: int
    revision: int


def by_name(storage: Storage, prefix: bytes) -> dict[bytes, kv_pb2.KeyValue]:
    kvs = storage.range(shapes.list_page(prefix)).kvs
    return {kv.key.removeprefix(prefix): kv for kv in kvs}


def let_expire(server: Server) -> Expired:
    """Attach many objects to one lease, take some away again and wait for its end."""
    storage, prefix = Storage(server.target), b"/registry/expiring/"
    try:
        call = storage.watch_call()
        other = storage.lease_grant(shapes.lease_grant(EVENT_TTL_S)).ID
        granted = storage.lease_grant(shapes.lease_grant(SHORT_TTL_S))
        granted_monotonic_s = time.monotonic()

        def attached(name: bytes) -> int:
            return storage.create(prefix + name, b"1", lease=granted.ID)

        storage.update(prefix + b"moved", b"2", attached(b"moved"), lease=other)
        storage.update(prefix + b"detached", b"2", attached(b"detached"))
        storage.delete(prefix + b"again", attached(b"again"))
        storage.create(prefix + b"again", b"2")
        storage.delete(prefix + b"gone", attached(b"gone"))
        names = [b"%04d" % n for n in range(SHARED_BY)]
        storage.txns(
            [shapes.optimistic_put(prefix + name, b"1", 0, lease=granted.ID) for name in names]
        )
        before = by_name(storage, prefix)
        call.create(shapes.watch(prefix, storage.revision()))
        deletes = call.events(SHARED_BY)
        waited_s = time.monotonic() - granted_monotonic_s
        return Expired(
            lease=granted.ID,
            ttl_s=granted.TTL,
            waited_s=waited_s,
            before={name: before[name] for name in names},
            deletes=deletes,
            messages=[each for each in call.messages if each.events],
            left=by_name(storage, prefix),
            moved_to=other,
            revision=storage.revision(),
        )
    finally:
        storage.close()


@pytest.fixture(scope="session")
def expiring(servers: Servers) -> dict[str, Future[Expired]]:
    """On all servers at once, since it takes some seconds; over before another test begins."""
    with ThreadPoolExecutor(len(TARGETS)) as pool:
        return {
            kind: pool.submit(lambda kind: let_expire(servers.get(kind)), kind) for kind in TARGETS
        }


@pytest.fixture
def expired(server: Server, expiring: dict[str, Future[Expired]]) -> Expired:
    return expiring[server.kind].result()


class TestGrant:
    def test_server_picks_a_new_id_each_time_and_makes_no_revision(self, storage: Storage) -> None:
        before = storage.revision()
        answers = [storage.lease_grant(shapes.lease_grant(MASTER_TTL_S)) for _ in range(5)]
        assert {(MASTER_TTL_S, before, "")} == {
            (each.TTL, each.header.revision, each.error) for each in answers
        }
        assert len({each.ID for each in answers}) == 5
        assert min(each.ID for each in answers) > 0
        assert before == storage.revision()

    def test_ttl_of_events_is_granted_as_it_is(self, storage: Storage) -> None:
        assert EVENT_TTL_S == storage.lease_grant(shapes.lease_grant(EVENT_TTL_S)).TTL


class TestAttach:
    def test_objects_and_their_events_tell_the_lease(self, storage: Storage, prefix: bytes) -> None:
        call = storage.watch_call()
        call.create(shapes.watch(prefix, storage.revision()))
        lease = storage.lease_grant(shapes.lease_grant(EVENT_TTL_S)).ID
        for name in (b"a", b"b"):
            storage.create(prefix + name, lease=lease)
        found = storage.range(shapes.list_page(prefix)).kvs
        assert [lease, lease] == [kv.lease for kv in found]
        assert list(found) == [event.kv for event in call.events(2)]

    def test_refresh_moves_the_object_to_its_new_lease(
        self, storage: Storage, prefix: bytes
    ) -> None:
        call = storage.watch_call()
        call.create(shapes.watch(prefix, storage.revision()))
        at, leases = 0, []
        for n in range(4):
            leases.append(storage.lease_grant(shapes.lease_grant(MASTER_TTL_S)).ID)
            at = storage.update(prefix + b"10.0.0.1", b"%d" % n, at, lease=leases[-1])
            kv = storage.range(shapes.get(prefix + b"10.0.0.1")).kvs[0]
            assert (leases[-1], n + 1) == (kv.lease, kv.version)
        events = call.events(4)
        assert leases == [event.kv.lease for event in events]
        assert leases[:-1] == [event.prev_kv.lease for event in events[1:]]
        storage.delete(prefix + b"10.0.0.1", at)  # or it expires in the middle of another test

    def test_update_without_a_lease_leaves_none(self, storage: Storage, prefix: bytes) -> None:
        lease = storage.lease_grant(shapes.lease_grant(MASTER_TTL_S)).ID
        storage.update(prefix + b"a", b"2", storage.create(prefix + b"a", lease=lease))
        assert storage.range(shapes.get(prefix + b"a")).kvs[0].lease == 0

    def test_unknown_lease_is_refused_in_these_words_and_leaves_no_trace(
        self, storage: Storage, prefix: bytes
    ) -> None:
        created = storage.create(prefix + b"a", b"1")
        for key, expected in ((prefix + b"a", created), (prefix + b"b", 0)):
            request = shapes.optimistic_put(key, b"2", expected, lease=4711)
            assert refusal(storage.txn, request) == LEASE_NOT_FOUND
        assert created == storage.revision()
        assert [kv.value for kv in storage.range(shapes.list_page(prefix)).kvs] == [b"1"]

    def test_loser_is_not_asked_for_its_lease(self, storage: Storage, prefix: bytes) -> None:
        created = storage.create(prefix + b"a")
        response = storage.txn(shapes.optimistic_put(prefix + b"a", b"2", created - 1, lease=4711))
        assert not response.succeeded
        assert created == response.responses[0].response_range.kvs[0].mod_revision


class TestExpiry:
    def test_objects_stay_for_their_whole_time(self, expired: Expired) -> None:
        assert expired.ttl_s == SHORT_TTL_S
        assert expired.waited_s >= expired.ttl_s - 0.1

    def test_each_object_is_deleted_once_by_an_ordinary_event(self, expired: Expired) -> None:
        assert len(expired.before) == SHARED_BY
        assert {expired.lease} == {kv.lease for kv in expired.before.values()}
        previous = [event.prev_kv for event in expired.deletes]
        assert sorted(previous, key=lambda kv: kv.key) == list(expired.before.values())
        for event in expired.deletes:
            bare = kv_pb2.KeyValue(key=event.prev_kv.key, mod_revision=expired.revision)
            assert (kv_pb2.Event.DELETE, bare) == (event.type, event.kv)

    def test_all_of_them_in_one_revision_and_one_message(self, expired: Expired) -> None:
        assert [len(each.events) for each in expired.messages] == [SHARED_BY]
        last = max(kv.mod_revision for kv in expired.before.values())
        assert {last + 1} == {event.kv.mod_revision for event in expired.deletes}

    def test_objects_that_left_the_lease_are_left(self, expired: Expired) -> None:
        assert {name: (kv.value, kv.lease) for name, kv in expired.left.items()} == {
            b"moved": (b"2", expired.moved_to),
            b"detached": (b"2", 0),
            b"again": (b"2", 0),
        }

    def test_expired_lease_takes_no_more_objects(
        self, expired: Expired, storage: Storage, prefix: bytes
    ) -> None:
        request = shapes.optimistic_put(prefix + b"a", b"v", 0, lease=expired.lease)
        assert refusal(storage.txn, request) == LEASE_NOT_FOUND
