"""An informer with the Python client of Kubernetes: a list, and then a watch from where it ended.

    with Informer(kubeconfig, "default", name_prefix="item-") as informer:
        eventually(lambda: informer.seen[-1:] == [...], "it has seen ...")

It keeps the resourceVersion of the last event or bookmark by itself and opens the next watch there,
however the one before ended, so it must see each change once. Only when that version is gone (410)
it lists again.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NamedTuple, Self

import urllib3
from kubernetes import client, config, watch
from kubernetes.client import ApiException

__all__ = ["Informer", "Seen"]

_GONE = 410
_PAUSE_S = 0.05


class Seen(NamedTuple):
    """An event: its type, the object's name, and `data["n"]` of the object."""

    type: str
    name: str
    n: str


class Informer:
    """Follows the ConfigMaps of a namespace in a thread of its own.

    Attributes:
        seen: the events so far, in the order in which they came, without those of other names.
        versions: their resourceVersions.
        cache: `data["n"]` of the objects that there are, by name.
        lists: how often it listed; 1 unless a version was gone.
        watches: how many watches it opened.
    """

    def __init__(self, kubeconfig: Path, namespace: str, name_prefix: str) -> None:
        self.seen: list[Seen] = []
        self.versions: list[int] = []
        self.cache: dict[str, str] = {}
        self.lists = self.watches = 0
        self.failure: BaseException | None = None
        self._core = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
        self._namespace, self._prefix = namespace, name_prefix
        self._ended = threading.Event()
        self._watch: watch.Watch | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __repr__(self) -> str:
        return f"<Informer {self._namespace} {len(self.seen)} seen, {self.watches} watches>"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ended.set()
        if self._watch is not None:
            self._watch.stop()
        self._thread.join(timeout=30)
        self._core.api_client.close()
        assert self.failure is None, self.failure
        assert not self._thread.is_alive(), "the informer hangs"

    def _run(self) -> None:
        try:
            version = None
            while not self._ended.is_set():
                version = self._list() if version is None else self._follow(version)
        except BaseException as failure:
            self.failure = failure

    def _list(self) -> str | None:
        """The version of a list of everything; None when there was no answer."""
        try:
            page = self._core.list_namespaced_config_map(self._namespace, _request_timeout=60)
        except (ApiException, urllib3.exceptions.HTTPError) as failure:
            self._wait_after(failure)
            return None
        self.lists += 1
        ours = [each for each in page.items if each.metadata.name.startswith(self._prefix)]
        self.cache = {each.metadata.name: each.data["n"] for each in ours}
        return str(page.metadata.resource_version)

    def _follow(self, version: str) -> str | None:
        """The version that a watch came to when it ended; None when its start was gone."""
        self._watch = stream = watch.Watch()
        stream.resource_version = version
        try:
            self.watches += 1
            # With a limit of time it neither opens the next watch by itself nor hides a 410.
            for event in stream.stream(
                self._core.list_namespaced_config_map,
                self._namespace,
                resource_version=version,
                allow_watch_bookmarks=True,
                timeout_seconds=600,
            ):
                self._take(event)
                if self._ended.is_set():
                    break
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as failure:
            if isinstance(failure, ApiException) and failure.status == _GONE:
                return None
            self._wait_after(failure)
        return stream.resource_version

    def _take(self, event: dict[str, Any]) -> None:
        found = event["raw_object"]
        if event["type"] == "BOOKMARK" or not found["metadata"]["name"].startswith(self._prefix):
            return
        seen = Seen(event["type"], found["metadata"]["name"], found["data"]["n"])
        if seen.type == "DELETED":
            del self.cache[seen.name]
        else:
            self.cache[seen.name] = seen.n
        self.versions.append(int(found["metadata"]["resourceVersion"]))
        self.seen.append(seen)

    def _wait_after(self, failure: Exception) -> None:
        """A moment, unless it is to end: the API server or its store is away."""
        self._ended.wait(_PAUSE_S)
