"""One change of one object, seen at three layers: the REST call, the store, the API server's watch.

A revision of the store is what ties them together. The API server answers a write with the object,
whose resourceVersion is the revision of the key that holds it, and a watch event carries the object
in the same way. The last call of a deletion answers with the object as it was, or with a Status;
it belongs to the next DELETE of the key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from kvstore.types import Event, EventType

__all__ = ["Call", "Change", "Told", "difference", "key_of"]

_REGISTRY = "/registry"
# Bookkeeping, and what the other lines of a change say.
_UNSAID = {
    "kind",
    "apiVersion",
    *(
        f"metadata.{name}"
        for name in (
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "generation",
            "resourceVersion",
            "managedFields",
            "annotations.kubectl.kubernetes.io/last-applied-configuration",
        )
    ),
}
_METHODS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE", "watch": "GET"}


class Call(NamedTuple):
    """A call that the API server answered, as its audit log has it."""

    user: str
    method: str
    path: str
    status: int
    key: str
    revision: int | None
    removes: bool

    @classmethod
    def of(cls, audited: dict[str, Any]) -> Self:
        subject, answer = audited.get("objectRef", {}), audited.get("responseObject", {})
        metadata = answer.get("metadata", {})
        version = metadata.get("resourceVersion")
        status = audited["responseStatus"]["code"]
        gone = "deletionTimestamp" in metadata and not metadata.get("finalizers")
        deleted = audited["verb"] == "delete" and answer.get("kind") == "Status"
        return cls(
            user=audited["user"]["username"].rpartition(":")[2],
            method=_METHODS[audited["verb"]],
            path=audited["requestURI"].partition("?")[0],
            status=status,
            key=key_of(
                subject["resource"],
                subject.get("apiGroup", ""),
                subject.get("namespace", ""),
                subject.get("name") or metadata.get("name", ""),
            ),
            revision=int(version) if version else None,
            removes=status < 300 and (gone or deleted),
        )


class Told(NamedTuple):
    """An event of a watch at the API server."""

    type: str
    object: dict[str, Any]

    @property
    def revision(self) -> int:
        return int(self.object["metadata"]["resourceVersion"])


class Change(NamedTuple):
    """What one revision did to one key: the call that asked for it and the event that followed."""

    call: Call
    stored: Event
    told: Told
    details: tuple[str, ...]
    """`field = value` for each field that differs from the revision before; empty for DELETE."""

    @property
    def key(self) -> str:
        return self.stored.kv.key.decode()

    @property
    def revision(self) -> int:
        return self.stored.kv.mod_revision

    def agrees(self) -> bool:
        """Whether the store and the watch say the same."""
        if self.stored.type == EventType.DELETE:
            event = "DELETED"
        else:
            event = "ADDED" if self.stored.is_create else "MODIFIED"
        return event == self.told.type and self.revision == self.told.revision


def key_of(resource: str, group: str, namespace: str, name: str) -> str:
    """Where the API server keeps an object, for the resources that this story is about."""
    return "/".join(part for part in (_REGISTRY, group, resource, namespace, name) if part)


def difference(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """`field = value` of what is new in `after`, fields of fields with dots; what is gone last."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    for path, value in new.items():
        if value != old.get(path):
            yield f"{path} = {json.dumps(value, ensure_ascii=False)}"
    yield from (f"{path} is gone" for path in old if path not in new)


def _leaves(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        here = f"{path}{name}"
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{here}.")
        elif here not in _UNSAID:
            yield here, inner
