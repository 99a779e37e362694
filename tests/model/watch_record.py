"""What one watcher was sent, and whether it may have been, judged by the model's history."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from kvstore.types import Event, EventType, WatchCreate, WatchMessage
from tests.model.model import Model
from tests.support.watch_guarantees import History, Recording, violations

__all__ = ["Received", "WatchRecord"]


class Received(NamedTuple):
    """A message, and the compact revision of the store when it was taken off the stream."""

    message: WatchMessage
    compact_revision: int


class WatchRecord:
    """Every message of one watch id, from its created answer on."""

    def __init__(self, request: WatchCreate, watch_id: int, created_at: int) -> None:
        self.request, self.watch_id, self.created_at = request, watch_id, created_at
        self.first = request.start_revision or created_at + 1
        self.received: list[Received] = []
        self.ended: WatchMessage | None = None

    def add(self, message: WatchMessage, compact_revision: int) -> None:
        assert self.ended is None, f"{message} after the watch ended with {self.ended}"
        if message.canceled:
            self.ended = message
        self.received.append(Received(message, compact_revision))

    @property
    def events(self) -> list[Event]:
        return [event for received in self.received for event in received.message.events]

    def seen(self) -> int:
        """The last revision of which this watcher must have been told everything."""
        seen = self.first - 1
        for message, _ in self.received:
            if message.events:
                seen = max(seen, message.events[-1].kv.mod_revision)
            elif not message.canceled:
                seen = max(seen, message.revision)
        return seen

    def problems(
        self, model: Model, compactions: Collection[int], upto: int | None = None
    ) -> list[str]:
        """Sentences about every broken guarantee; `upto`: everything to there must have come."""
        found = [*self._ordered(), *self._bookmarks()]
        for received in self.received:
            found += self._prev_kvs(received, model)
        expected = self._expected(model, self.seen() if upto is None or self.ended else upto)
        got = [event._replace(prev_kv=None) for event in self.events]
        for revision in compactions:
            expected, got = _newest_only(expected, revision), _newest_only(got, revision)
        if got != expected:
            found.append(f"{self.request} was sent {got}, and the history has {expected}")
        if not compactions and not _rewrites(model):
            recording = Recording(self.request, [*self._messages()])
            history = [event for events in model.events.values() for event in events]
            plain = [event._replace(prev_kv=None) for event in history]
            found += violations(recording, History(plain))
        return found

    def _messages(self) -> Iterable[WatchMessage]:
        """As a client records them, with the created answer before all others."""
        yield WatchMessage(self.watch_id, self.created_at, created=True)
        yield from (received.message for received in self.received)

    def _expected(self, model: Model, last: int) -> list[Event]:
        history = model.watch(self.request.range, self.first, self.request.filters)
        return [e._replace(prev_kv=None) for e in history if e.kv.mod_revision <= last]

    def _ordered(self) -> Iterable[str]:
        """Revisions never fall, none is in two messages, a header is never behind its events."""
        last = 0
        for message, _ in self.received:
            revisions = [event.kv.mod_revision for event in message.events]
            if revisions != sorted(revisions):
                yield f"events out of order: {message}"
            if revisions and revisions[0] <= last:
                yield f"revision {revisions[0]} after {last}: {message}"
            if revisions and message.revision < revisions[-1]:
                yield f"a header behind its events: {message}"
            last = revisions[-1] if revisions else last

    def _bookmarks(self) -> Iterable[str]:
        """After a progress message at R nothing at or below R comes, and progress never falls."""
        bookmark = last = 0
        for message, _ in self.received:
            for event in message.events:
                last = event.kv.mod_revision
                if last <= bookmark:
                    yield f"{event} after progress at {bookmark}"
            if not message.events and not message.canceled:
                if message.revision < max(bookmark, last):
                    yield f"progress fell to {message.revision} from {max(bookmark, last)}"
                bookmark = message.revision

    def _prev_kvs(self, received: Received, model: Model) -> Iterable[str]:
        """The state one revision before, unless not asked for; compacted, it may be missing."""
        for event in received.message.events:
            revision = event.kv.mod_revision
            truth = model.states[revision - 1].get(event.kv.key) if self.request.prev_kv else None
            if event.is_create:
                truth = None
            missing = event.prev_kv is None and revision - 1 < received.compact_revision
            if event.prev_kv != truth and not missing:
                yield f"prev_kv of {event} should be {truth}"
            if event.type == EventType.DELETE and event.kv != (
                event.kv.key,
                b"",
                0,
                revision,
                0,
                0,
            ):
                yield f"a DELETE event with more than key and revision: {event}"


def _rewrites(model: Model) -> bool:
    """Has any revision two events of one key? What is a create is then not seen from outside."""
    return any(
        len({event.kv.key for event in events}) < len(events) for events in model.events.values()
    )


def _newest_only(events: list[Event], revision: int) -> list[Event]:
    """Without the events of `revision` that a later one of the same key and revision covers.

    A compaction at a revision may drop them: it keeps the newest row of each key.
    """
    last = {e.kv.key: i for i, e in enumerate(events) if e.kv.mod_revision == revision}
    return [
        event
        for i, event in enumerate(events)
        if event.kv.mod_revision != revision or last[event.kv.key] == i
    ]
