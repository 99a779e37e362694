"""A cache of one resource type, kept as the API server keeps its own: list, watch, list again.

    list    page by page, all at the revision of the first; from the start when that is compacted
    watch   from that revision + 1; a lost call is opened again after the last revision seen,
            and when that is compacted the watch is canceled, which leads back to the list

Everything that came is kept, so that it can be held to what was written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from kvstore.proto import kv_pb2, rpc_pb2
from tests.kubernetes_contract import shapes
from tests.kubernetes_contract.refusals import COMPACTED
from tests.kubernetes_contract.storage import Storage, WatchCall

__all__ = ["Episode", "Reflector"]

PAGE = 5


@dataclass
class Episode:
    """A list and all that its watches told, until the next list."""

    revision: int
    listed: dict[bytes, kv_pb2.KeyValue]
    messages: list[rpc_pb2.WatchResponse] = field(default_factory=list)


class Reflector:
    """`run` ends when the cache has `last_key`.

    `between_pages(revision)` and `before_resume(seen)` are called where a compaction hurts: when
    more pages of a list are due, and when a watch was left after `leave_after` events. What was
    compacted away is counted in `lists_lost` and `watches_lost`; `watches_killed` has the revisions
    of events that came without the object before, after which it lists again as well.
    """

    def __init__(
        self,
        storage: Storage,
        prefix: bytes,
        last_key: bytes,
        *,
        leave_after: int = 0,
        between_pages: Callable[[int], None] = lambda _: None,
        before_resume: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._storage, self._prefix, self._last_key = storage, prefix, last_key
        self._leave_after = leave_after
        self._between_pages, self._before_resume = between_pages, before_resume
        self.cache: dict[bytes, kv_pb2.KeyValue] = {}
        self.seen = 0
        """All up to this revision is in the cache."""
        self.episodes: list[Episode] = []
        self.lists_lost = self.watches_lost = 0
        self.watches_killed: list[int] = []

    def run(self) -> None:
        while self._last_key not in self.cache:
            self._list()
            while self._last_key not in self.cache and self._watch():
                self._before_resume(self.seen)

    def _list(self) -> None:
        while (found := self._pages()) is None:
            self.lists_lost += 1
        self.seen, self.cache = found
        self.episodes.append(Episode(self.seen, dict(self.cache)))

    def _pages(self) -> tuple[int, dict[bytes, kv_pb2.KeyValue]] | None:
        """A revision and all that was there; None when it was compacted meanwhile."""
        page = self._storage.range(shapes.list_page(self._prefix, limit=PAGE))
        revision, count, kvs = page.header.revision, page.count, list(page.kvs)
        while page.more:
            self._between_pages(revision)
            at = shapes.continue_key(kvs[-1].key)
            request = shapes.list_page(self._prefix, limit=PAGE, revision=revision, continue_at=at)
            try:
                page = self._storage.range(request)
            except grpc.RpcError as refused:
                if (refused.code(), refused.details()) == COMPACTED:
                    return None
                raise
            kvs.extend(page.kvs)
        assert count == len(kvs)
        return revision, {kv.key: kv for kv in kvs}

    def _watch(self) -> bool:
        """Whether the watch may be resumed: it was left, and not canceled."""
        call = self._storage.watch_call()
        try:
            call.send(shapes.watch(self._prefix, self.seen))
            return self._take(call)
        finally:
            call.close()

    def _take(self, call: WatchCall) -> bool:
        taken = 0
        while self._last_key not in self.cache:
            message = call.next()
            if message.canceled:
                assert message.compact_revision > self.seen + 1
                self.watches_lost += 1
                return False
            lacking = [event.kv.mod_revision for event in message.events if lacks_prev_kv(event)]
            if lacking:
                self.watches_killed.append(lacking[0])
                return False
            self.episodes[-1].messages.append(message)
            for event in message.events:
                self._apply(event)
            taken += len(message.events)
            if self._leave_after and taken >= self._leave_after:
                return True
        return True

    def _apply(self, event: kv_pb2.Event) -> None:
        self.seen = event.kv.mod_revision
        if event.type == kv_pb2.Event.PUT:
            self.cache[event.kv.key] = event.kv
        else:
            self.cache.pop(event.kv.key, None)


def lacks_prev_kv(event: kv_pb2.Event) -> bool:
    """Whether the API server has no use for it, and so for the watch that brought it."""
    is_create = event.kv.create_revision == event.kv.mod_revision
    return not is_create and not event.HasField("prev_kv")
