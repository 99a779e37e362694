"""Follows a cluster at all its layers at once, and puts together what belongs together.

    with Layers(audit_log) as layers, Cluster(...) as cluster:
        layers.follow_store(cluster.etcd, revision)
        layers.follow_api(cluster.api, "/api/v1/namespaces", "/registry/namespaces/")
        layers.next_change(timeout_s)

The calls come from the audit log of the API server, the revisions from a watch on the store, the
events from watches at the API server. Leave the cluster first: the watches end with it.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

from examples.kubernetes.story.changes import Call, Change, Told, difference
from kvstore.client.grpc import GrpcStore, GrpcWatchStream
from kvstore.errors import StoreError
from kvstore.keys import KeyRange
from kvstore.types import Event, EventType, WatchCreate
from tests.kubernetes.api import ApiClient, Watch

__all__ = ["Layers", "NotSeen", "Tail"]

_PAUSE_S = 0.01
# Nothing is heard of a quiet collection; the watch ends with the API server.
_WATCH_TIMEOUT_S = 3600.0


class NotSeen(Exception):
    """What the story waits for did not come in time; the text says what was there."""


class Tail:
    """The lines that a program adds to a file, whole ones only."""

    def __init__(self, path: Path) -> None:
        self.path, self._offset = path, 0

    def lines(self) -> Iterator[str]:
        """Those that are new; none when there is no file yet."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield line.decode(errors="replace").rstrip()

    def until(self, pattern: str, timeout_s: float) -> str:
        """The first match of the pattern in the lines from here on. Raises NotSeen."""
        found: list[str] = []

        def probe() -> bool:
            for line in self.lines():
                if match := re.search(pattern, line):
                    found.append(match[0])
                    return True
            return False

        _await(probe, timeout_s, lambda: f"{self.path.name} does not say {pattern!r}")
        return found[0]


class Layers:
    """Changes of the followed collections, in the order of their revisions."""

    def __init__(self, audit_log: Path) -> None:
        self.revision = 0
        self._audit = Tail(audit_log)
        self._calls: list[Call] = []
        self._prefixes: dict[str, int] = {}
        self._store: GrpcStore | None = None
        self._stream: GrpcWatchStream | None = None
        self._stored: deque[Event] = deque()
        self._arrived: SimpleQueue[Told] = SimpleQueue()
        self._told: dict[int, Told] = {}
        self._objects: dict[str, dict[str, Any]] = {}
        self._watches: list[tuple[Watch, threading.Thread]] = []

    def follow_store(self, store: GrpcStore, revision: int) -> None:
        """All of its keys, after this revision, over restarts of the store."""
        self._store, self.revision = store, revision

    def follow_api(self, api: ApiClient, path: str, prefix: str) -> None:
        """The collection at `path`, which the API server keeps in the store under `prefix`."""
        version = api.get(path)["metadata"]["resourceVersion"]
        self._prefixes[prefix] = int(version)
        watch = api.watch(path, _WATCH_TIMEOUT_S, resourceVersion=version)
        reader = threading.Thread(target=self._read, args=(watch,), daemon=True)
        reader.start()
        self._watches.append((watch, reader))

    def next_change(self, timeout_s: float) -> Change:
        """The next change, once it was seen at every layer. Raises NotSeen."""
        found: list[Change] = []

        def probe() -> bool:
            self._gather()
            change = self._first()
            if change is not None:
                found.append(change)
            return change is not None

        _await(probe, timeout_s, self._missing)
        return found[0]

    def until_watched(self, user: str, part: str, timeout_s: float) -> Call:
        """The call with which `user` opened a watch of what has `part` in its path."""

        def probe() -> bool:
            self._gather()
            return any(map(is_it, self._calls))

        def is_it(call: Call) -> bool:
            return call.method == "GET" and call.user == user and part in call.path

        _await(probe, timeout_s, lambda: f"{user} does not watch {part}")
        call = next(filter(is_it, self._calls))
        self._calls.remove(call)
        return call

    def close(self) -> None:
        """The readers of the watches have ended when the API server has."""
        if self._stream is not None:
            self._stream.close()
        for watch, reader in self._watches:
            reader.join()
            watch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _gather(self) -> None:
        """Take in what has come at any layer, without waiting for it."""
        self._calls += [Call.of(json.loads(line)) for line in self._audit.lines()]
        while True:
            try:
                told = self._arrived.get_nowait()
            except Empty:
                break
            if told.type == "ERROR":
                raise NotSeen(f"the API server ended a watch: {told.object}")
            self._told[told.revision] = told
        self._gather_store()

    def _gather_store(self) -> None:
        assert self._store is not None
        try:
            if self._stream is None:
                self._stream = self._store.watch_stream()
                everything = KeyRange.prefix(b"/registry/")
                self._stream.create(WatchCreate(everything, self.revision + 1))
            while (message := self._stream.next(timeout_s=0)) is not None:
                for event in message.events:
                    self.revision = event.kv.mod_revision
                    if self._follows(event):
                        self._stored.append(event)
        except StoreError:
            # It was killed: the next watch goes on after the last revision that was seen.
            if self._stream is not None:
                self._stream.close()
            self._stream = None

    def _follows(self, event: Event) -> bool:
        """Whether the watches at the API server tell of it, too."""
        key, revision = event.kv.key.decode(), event.kv.mod_revision
        return any(
            key.startswith(prefix) and revision > since for prefix, since in self._prefixes.items()
        )

    def _first(self) -> Change | None:
        """The oldest change, taken out of what was gathered; None when a layer is behind."""
        if not self._stored:
            return None
        stored = self._stored[0]
        key, revision = stored.kv.key.decode(), stored.kv.mod_revision
        deleted = stored.type == EventType.DELETE
        calls = [
            call
            for call in self._calls
            if call.key == key and (call.removes if deleted else call.revision == revision)
        ]
        if not calls or revision not in self._told:
            return None
        self._stored.popleft()
        # A call that changed nothing, such as a pass of the GitOps loop, is never matched.
        self._calls = [
            call
            for call in self._calls
            if call is not calls[0] and _may_still_match(call, revision)
        ]
        told = self._told.pop(revision)
        before = self._objects.pop(key, {})
        details = () if deleted else tuple(difference(before, told.object))
        if not deleted:
            self._objects[key] = told.object
        change = Change(calls[0], stored, told, details)
        if not change.agrees():
            raise NotSeen(f"the store and the API server do not agree: {change}")
        return change

    def _missing(self) -> str:
        if not self._stored:
            return f"the store has no further change; it was seen up to revision {self.revision}"
        kv = self._stored[0].kv
        return f"revision {kv.mod_revision} of {kv.key.decode()} was not seen at the API server"

    def _read(self, watch: Watch) -> None:
        try:
            while (event := watch.next()) is not None:
                self._arrived.put(Told(event["type"], event["object"]))
        except (OSError, http.client.HTTPException):
            return


def _may_still_match(call: Call, revision: int) -> bool:
    """Whether it may have made a change after `revision`."""
    return call.method == "GET" or call.removes or (call.revision or 0) > revision


def _await(probe: Callable[[], bool], timeout_s: float, missing: Callable[[], str]) -> None:
    deadline_monotonic_s = time.monotonic() + timeout_s
    while not probe():
        if time.monotonic() > deadline_monotonic_s:
            raise NotSeen(f"not within {timeout_s:.0f} s: {missing()}")
        time.sleep(_PAUSE_S)
