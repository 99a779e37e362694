"""The start of an API server: each resource type opens its own connection, all of them at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.conftest import Server
from tests.kubernetes_contract.storage import PATIENCE_S, Storage

CONNECTIONS = 100
"""A connection may wait 20 s for its server."""


@pytest.fixture
def all_open() -> Iterator[threading.Barrier]:
    """Passed by everyone at once; broken, and so a failure for all, when one is too late."""
    barrier = threading.Barrier(CONNECTIONS, timeout=PATIENCE_S)
    yield barrier
    barrier.abort()


def test_each_of_them_is_answered_in_time_and_watches_its_own_objects(
    server: Server, storage: Storage, prefix: bytes, all_open: threading.Barrier
) -> None:
    def start(number: int) -> tuple[list[bytes], int]:
        """The names that the watch of one resource type saw, and at which revision the last."""
        kind = prefix + b"%02d/" % number
        all_open.wait()
        own = Storage(server.target)
        try:
            listed = own.range(shapes.list_page(kind))
            call = own.watch_call()
            created = call.create(shapes.watch(kind, listed.header.revision))
            assert (listed.count, created.canceled) == (0, False)
            all_open.wait()  # from here on there are as many watches
            first = own.create(kind + b"a")
            assert first == own.range(shapes.get(kind + b"a")).kvs[0].mod_revision
            events = call.events(1)
            all_open.wait()
            last = own.create(kind + b"b")
            events += call.events(1)
            assert [first, last] == [event.kv.mod_revision for event in events]
            return [event.kv.key.removeprefix(kind) for event in events], last
        except BaseException:
            all_open.abort()
            raise
        finally:
            own.close()

    before = storage.revision()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        seen = list(pool.map(start, range(CONNECTIONS)))
    assert [names for names, _ in seen] == [[b"a", b"b"]] * CONNECTIONS
    assert before + 2 * CONNECTIONS == storage.revision() == max(last for _, last in seen)
    assert storage.range(shapes.count(prefix)).count == 2 * CONNECTIONS
