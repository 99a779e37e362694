"""Pages: a request in, the whole reply out. Bodies of requests are of no interest to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from kvstore.server.recording import CallRecord
from kvstore.server.services.maintenance import API_VERSION, STORAGE_VERSION
from kvstore.server.transports.web.messages import Fields, Request

__all__ = [
    "TEXT",
    "Page",
    "Reply",
    "calls_page",
    "error",
    "get_only",
    "metrics_page",
    "not_found",
    "version_page",
]


class Reply(NamedTuple):
    status: int
    fields: Fields
    body: bytes


Page: TypeAlias = Callable[[Request], Reply]

TEXT: Final[Fields] = (
    ("Content-Type", "text/plain; charset=utf-8"),
    ("X-Content-Type-Options", "nosniff"),
)


def error(status: int, text: str, fields: Fields = ()) -> Reply:
    return Reply(status, (*fields, *TEXT), text.encode() + b"\n")


def not_found(request: Request) -> Reply:
    return error(404, "404 page not found")


def get_only(page: Page) -> Page:
    """HEAD is refused, too."""

    def checked(request: Request) -> Reply:
        if request.method != "GET":
            return error(405, "Method Not Allowed", [("Allow", "GET")])
        return page(request)

    return checked


def version_page(own_version: str) -> Page:
    """The versions of etcd are bare numbers that clients parse; ours stands beside them."""
    versions = {
        "etcdserver": API_VERSION,
        "etcdcluster": STORAGE_VERSION,
        "storage": STORAGE_VERSION,
        "kvstore": own_version,
    }
    body = json.dumps(versions, separators=(",", ":")).encode()
    return get_only(lambda request: Reply(200, [("Content-Type", "application/json")], body))


def calls_page(record: CallRecord) -> Page:
    """How often each shape was seen, in their order."""

    def page(request: Request) -> Reply:
        body = json.dumps(record.counts, sort_keys=True, indent=1).encode() + b"\n"
        return Reply(200, [("Content-Type", "application/json")], body)

    return get_only(page)


def metrics_page(render: Callable[[str], tuple[str, bytes]]) -> Page:
    """`render` makes the type and the text for an Accept. Any method will do, as in etcd."""

    def page(request: Request) -> Reply:
        content_type, body = render(request.field("accept"))
        return Reply(200, [("Content-Type", content_type)], body)

    return page
