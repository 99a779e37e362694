"""Everything a client can see of a store, as JSON.

content.py DIRECTORY     prints it, with the code that is on PYTHONPATH
"""

from __future__ import annotations

import json
import sys
from typing import Any

from kvstore.backend import open_backend
from kvstore.keys import ALL_KEYS
from kvstore.store.threads import ThreadStore
from kvstore.types import KeyValue, RangeOp, WatchCreate

__all__ = ["content_of"]


def content_of(store: ThreadStore) -> dict[str, Any]:
    """Keys, the whole history that is left, leases; bytes in hexadecimal."""
    return {
        "revision": store.revision,
        "compact_revision": store.compact_revision,
        "keys": [_plain(kv) for kv in store.range(RangeOp(ALL_KEYS)).kvs],
        "history": _history(store),
        "leases": [_lease(store, lease_id) for lease_id in sorted(store.lease_leases())],
        "write_index": store.status().write_index,
    }


def _plain(kv: KeyValue) -> list[object]:
    return [kv.key.hex(), kv.value.hex(), *kv[2:]]


def _lease(store: ThreadStore, lease_id: int) -> list[object]:
    status = store.lease_time_to_live(lease_id, keys=True)
    return [lease_id, status.granted_ttl_s, sorted(key.hex() for key in status.keys)]


def _history(store: ThreadStore) -> list[object]:
    stream = store.watch_stream()
    stream.create(
        WatchCreate(ALL_KEYS, start_revision=max(1, store.compact_revision + 1), prev_kv=True)
    )
    events: list[Any] = []
    while not events or events[-1][1][3] < store.revision:
        message = stream.next(5)
        assert message is not None, "the history ends below the revision of the store"
        events += [
            [event.type.name, _plain(event.kv), event.prev_kv and _plain(event.prev_kv)]
            for event in message.events
        ]
    stream.close()
    return events


if __name__ == "__main__":
    opened = ThreadStore.open(open_backend(sys.argv[1]))
    json.dump(content_of(opened), sys.stdout, indent=1)
    opened.close()
