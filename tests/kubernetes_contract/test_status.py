"""Status: the version that features are switched on by, and the size that is told as a metric."""

from __future__ import annotations

import time

import pytest

from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.conftest import Server
from tests.kubernetes_contract.refusals import NO_RANGE_STREAM, refusal
from tests.kubernetes_contract.storage import PATIENCE_S, Storage

MONITOR_TIMEOUT_S = 1.0
MIB = 1024 * 1024
QUOTA_BYTES = 2 * 1024 * MIB
"""What is told when none was asked for."""


@pytest.fixture
def version(storage: Storage) -> tuple[int, ...]:
    """As the API server reads it: three numbers, what cannot be read has no features."""
    major, minor, patch = storage.status(shapes.status()).version.split(".")
    return int(major), int(minor), int(patch)


def has_progress_requests(version: tuple[int, ...]) -> bool:
    """Whether the API server trusts this version with them; without, the watch cache is slow."""
    return not (version < (3, 4, 31) or (3, 5, 0) <= version < (3, 5, 13))


class TestVersion:
    def test_progress_requests_are_on_where_they_are_safe(
        self, server: Server, version: tuple[int, ...]
    ) -> None:
        assert has_progress_requests(version) == (server.kind != "etcd34")

    def test_it_is_3_7_exactly_where_there_is_range_stream(
        self, storage: Storage, prefix: bytes, version: tuple[int, ...]
    ) -> None:
        request = shapes.range_stream(prefix)
        if version >= (3, 7, 0):
            assert len(list(storage.range_stream(request))) == 1
        else:
            assert refusal(lambda: list(storage.range_stream(request))) == NO_RANGE_STREAM

    def test_each_connection_is_told_the_same(
        self, server: Server, storage: Storage, version: tuple[int, ...]
    ) -> None:
        other = Storage(server.target)
        try:
            told = other.status(shapes.status()).version
        finally:
            other.close()
        assert told == ".".join(map(str, version))


class TestMember:
    def test_it_is_the_leader_and_well(self, storage: Storage) -> None:
        status = storage.status(shapes.status())
        assert (status.leader, False, []) == (
            status.header.member_id,
            status.isLearner,
            list(status.errors),
        )
        assert status.leader
        assert status.header.raft_term == status.raftTerm > 0

    def test_header_has_the_revision_and_asking_makes_none(
        self, storage: Storage, prefix: bytes
    ) -> None:
        written = storage.create(prefix + b"a")
        told = {storage.status(shapes.status()).header.revision for _ in range(3)}
        assert {written} == told == {storage.revision()}

    def test_fields_of_3_7_are_there_from_then_on(
        self, storage: Storage, version: tuple[int, ...]
    ) -> None:
        status = storage.status(shapes.status())
        fields = status.dbSizeQuota, status.HasField("downgradeInfo")
        assert fields == ((QUOTA_BYTES, True) if version >= (3, 7, 0) else (0, False))


class TestSize:
    def test_answer_is_there_within_the_time_of_a_metric(self, storage: Storage) -> None:
        status = storage.status(shapes.status(), timeout_s=MONITOR_TIMEOUT_S)
        assert status.dbSize >= status.dbSizeInUse > 0

    def test_it_grows_with_what_is_stored(self, notifying: Storage, prefix: bytes) -> None:
        # In a store that hardly anything was deleted from: what is reclaimed would hide it.
        due = notifying.status(shapes.status()).dbSizeInUse + 7 * MIB
        notifying.fill(prefix, 8, b"v" * MIB)
        deadline_monotonic_s = time.monotonic() + PATIENCE_S
        while (status := notifying.status(shapes.status())).dbSizeInUse < due:
            # etcd counts what it has committed to its file, which it does each 100 ms.
            assert time.monotonic() < deadline_monotonic_s, f"{status} is below {due}"
        assert status.dbSize >= status.dbSizeInUse
