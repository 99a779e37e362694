"""What a watch promises, as pure functions over what was recorded and what is true.

A recording is the list of messages of ONE watcher in the order in which they came, together with
the request that made it; `History` is the ground truth: every event of the store, in order. Each
function returns sentences, one per violation, with the values; an empty list is good.

The promises and their names are those of etcd's robustness tests (tests/robustness/validate).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from kvstore.store.interface import StoreProtocol
from kvstore.types import Event, EventType, KeyValue, WatchCreate, WatchFilter, WatchMessage
from tests.support.ops import get_all

__all__ = [
    "ALL_GUARANTEES",
    "History",
    "Recording",
    "atomic",
    "bookmarkable",
    "filter_",
    "is_create",
    "ordered",
    "prev_kv",
    "reliable",
    "resumable",
    "unique",
    "violations",
]


class Recording(NamedTuple):
    """`complete_to` is the revision up to which every event must have come; 0: as far as seen."""

    request: WatchCreate
    messages: Sequence[WatchMessage]
    complete_to: int = 0

    @classmethod
    def of(
        cls,
        request: WatchCreate,
        messages: Sequence[WatchMessage],
        watch_id: int,
        complete_to: int = 0,
    ) -> Recording:
        """Pick the messages of one watcher and the progress messages of the whole stream."""
        mine = [each for each in messages if each.watch_id in (watch_id, -1)]
        return cls(request, mine, complete_to)

    @property
    def events(self) -> list[Event]:
        return [event for message in self.messages for event in message.events]

    @property
    def first_revision(self) -> int:
        """From where on events are due: the start revision, or what follows the created answer."""
        created = next((each for each in self.messages if each.created), None)
        current = created.revision if created is not None else 0
        start = self.request.start_revision
        return start if 0 < start <= current else max(start, current + 1)


class History:
    """Every event of a store, as (revision, sub-revision) order has them."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = list(events)
        self._states: dict[int, dict[bytes, KeyValue]] = {}
        state: dict[bytes, KeyValue] = {}
        for event in self.events:
            state = dict(state)
            if event.type == EventType.PUT:
                state[event.kv.key] = event.kv
            else:
                state.pop(event.kv.key, None)
            self._states[event.kv.mod_revision] = state
        self._revisions = sorted(self._states)

    @classmethod
    def read(cls, store: StoreProtocol, first: int = 1, last: int = 0) -> History:
        """Find the events by reading the store at each revision from `first` to `last`.

        Within a revision the order is that of the keys, which is right for deletes of an interval
        and for txns that write their keys in order. A key written twice in one revision shows
        only its end.
        """
        last = last or get_all(store).revision
        events: list[Event] = []
        before = {kv.key: kv for kv in get_all(store, revision=first).kvs}
        for revision in range(first + 1, last + 1):
            after = {kv.key: kv for kv in get_all(store, revision=revision).kvs}
            for key in sorted(before.keys() | after.keys()):
                if key not in after:
                    events.append(Event(EventType.DELETE, KeyValue(key, mod_revision=revision)))
                elif after[key].mod_revision == revision:
                    events.append(Event(EventType.PUT, after[key]))
            before = after
        return cls(events)

    def before(self, revision: int, key: bytes) -> KeyValue | None:
        """The KeyValue of the newest revision below, None when there was none."""
        at = bisect_left(self._revisions, revision)
        return self._states[self._revisions[at - 1]].get(key) if at else None


def filter_(recording: Recording, history: History) -> list[str]:
    """Every event lies in the interval and passes the filters of the request."""
    return [
        f"event {event} was not asked for by {recording.request}"
        for event in recording.events
        if not _wanted(recording.request, event)
    ]


def ordered(recording: Recording, history: History) -> list[str]:
    """Revisions never go down."""
    return [
        f"revision {after.kv.mod_revision} came after {before.kv.mod_revision}"
        for before, after in _pairs(recording.events)
        if after.kv.mod_revision < before.kv.mod_revision
    ]


def unique(recording: Recording, history: History) -> list[str]:
    """No event comes twice; a key may be in one revision several times only as in the history."""
    seen: dict[tuple[int, bytes, int], int] = {}
    known: dict[tuple[int, bytes, int], int] = {}
    for events, counts in ((recording.events, seen), (history.events, known)):
        for event in events:
            identity = (event.kv.mod_revision, event.kv.key, int(event.type))
            counts[identity] = counts.get(identity, 0) + 1
    return [
        f"{identity} came {count} times"
        for identity, count in seen.items()
        if count > max(1, known.get(identity, 0))
    ]


def atomic(recording: Recording, history: History) -> list[str]:
    """All events of one revision are in one message, fragments of one message counting as one."""
    found: list[str] = []
    last_revision, open_fragment = 0, False
    for message in recording.messages:
        if not message.events:
            continue
        first = message.events[0].kv.mod_revision
        if first == last_revision and not open_fragment:
            found.append(f"revision {first} was split between two messages")
        last_revision, open_fragment = message.events[-1].kv.mod_revision, message.fragment
    return found


def bookmarkable(recording: Recording, history: History) -> list[str]:
    """After progress to a revision only later events come; progress itself never goes down."""
    found: list[str] = []
    progress = last_event = 0
    for message in recording.messages:
        for event in message.events:
            if event.kv.mod_revision <= progress:
                found.append(f"event at {event.kv.mod_revision} after progress to {progress}")
            last_event = max(last_event, event.kv.mod_revision)
        if _is_progress(message):
            if message.revision < max(progress, last_event):
                found.append(
                    f"progress to {message.revision} after progress to {progress}"
                    f" and an event at {last_event}"
                )
            progress = max(progress, message.revision)
    return found


def resumable(recording: Recording, history: History) -> list[str]:
    """The first event is the first wanted one at or after the start revision."""
    if not recording.events:
        return []
    first = recording.events[0].kv
    expected = next(iter(_expected(recording, history)), None)
    if expected is None:
        return [f"{first} came, nothing was due"]
    if (expected.kv.mod_revision, expected.kv.key) == (first.mod_revision, first.key):
        return []
    return [f"first event {first} instead of {expected.kv}"]


def reliable(recording: Recording, history: History) -> list[str]:
    """From the first revision due to the last one seen exactly the wanted events came."""
    last = max(
        [recording.complete_to]
        + [event.kv.mod_revision for event in recording.events]
        + [each.revision for each in recording.messages if _is_progress(each)]
    )
    expected = [event for event in _expected(recording, history) if event.kv.mod_revision <= last]
    got = [event._replace(prev_kv=None) for event in recording.events]
    if expected == got:
        return []
    missing = [event for event in expected if event not in got]
    extra = [event for event in got if event not in expected]
    return [f"up to revision {last}: missing {missing}, not in the history {extra}, or disordered"]


def prev_kv(recording: Recording, history: History) -> list[str]:
    """A prev_kv is the state before; it is absent on creates, and when it was not asked for."""
    found: list[str] = []
    for event in recording.events:
        if event.prev_kv is None:
            continue
        expected = history.before(event.kv.mod_revision, event.kv.key)
        if not recording.request.prev_kv:
            found.append(f"{event} has a prev_kv that was not asked for")
        elif event.prev_kv != expected:
            found.append(f"{event} has another prev_kv than {expected}")
    return found


def is_create(recording: Recording, history: History) -> list[str]:
    """A put is a create exactly when the key did not exist before."""
    return [
        f"{event} is{'' if event.is_create else ' not'} a create against the history"
        for event in recording.events
        if event.type == EventType.PUT
        and event.is_create == (history.before(event.kv.mod_revision, event.kv.key) is not None)
    ]


ALL_GUARANTEES: tuple[Callable[[Recording, History], list[str]], ...] = (
    filter_,
    ordered,
    unique,
    atomic,
    bookmarkable,
    resumable,
    reliable,
    prev_kv,
    is_create,
)


def violations(recording: Recording, history: History) -> list[str]:
    """What all guarantees have to say, each sentence with the name of its guarantee."""
    return [
        f"{guarantee.__name__}: {sentence}"
        for guarantee in ALL_GUARANTEES
        for sentence in guarantee(recording, history)
    ]


def _wanted(request: WatchCreate, event: Event) -> bool:
    unwanted = {
        EventType.PUT: WatchFilter.NOPUT,
        EventType.DELETE: WatchFilter.NODELETE,
    }[event.type]
    key_range = request.range if request.range.key else request.range._replace(key=b"\x00")
    return event.kv.key in key_range and unwanted not in request.filters


def _expected(recording: Recording, history: History) -> Iterator[Event]:
    first = recording.first_revision
    return (
        event
        for event in history.events
        if event.kv.mod_revision >= first and _wanted(recording.request, event)
    )


def _is_progress(message: WatchMessage) -> bool:
    return not (message.events or message.created or message.canceled)


def _pairs(events: Sequence[Event]) -> Iterator[tuple[Event, Event]]:
    return pairwise(events)
