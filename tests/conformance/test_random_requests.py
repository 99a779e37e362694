"""Random requests, over gRPC and as JSON, are told the same as by a real etcd 3.7.1.

`KVSTORE_FUZZ_ROUNDS` makes more of them, `KVSTORE_FUZZ_SEED` others.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from kvstore.server.gateway.routes import ROUTES
from kvstore.server.method import Kind
from tests.conformance.test_extremes import METHODS, Outcome, Side
from tests.support.etcd import EtcdServer, EtcdVersion
from tests.support.kvserver import KvServer
from tests.support.mutations import documents, messages

pytestmark = pytest.mark.slow

MESSAGES: Final = 150
DOCUMENTS: Final = 150
PATHS: Final = [
    path
    for path, method in METHODS.items()
    if method.kind is Kind.UNARY and path.partition(".")[2].startswith(("KV/", "Lease/"))
]
OF_ANY: Final = {
    "/etcdserverpb.Lease/LeaseGrant": "ID",
    "/etcdserverpb.Lease/LeaseLeases": "leases",
}
"""What depends on the names that a server gave to leases."""
OVERLONG: Final = re.compile(rb"[\x80-\xff]{9}[\x02-\xff]")
"""A number of more than 64 bits."""


def is_taken_by_us(raw: bytes) -> bool:
    """May there be what our protobuf library takes and Go's does not: long numbers, fields 0?

    Bodies are looked into whether they are messages or not: a few requests too many are left out.
    """
    return bool(OVERLONG.search(raw)) or _has_field_0(raw)


def _has_field_0(raw: bytes) -> bool:
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        if tag >> 3 == 0:
            return True
        size = 0
        if tag & 7 == 0:
            _, at = _varint(raw, at)
        elif tag & 7 == 2:
            size, at = _varint(raw, at)
            if _has_field_0(raw[at : at + size]):
                return True
        at += {1: 8, 5: 4}.get(tag & 7, size)
    return False


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw):
        value |= (raw[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if raw[at - 1] < 0x80:
            break
    return value, at


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    directory: Path = tmp_path_factory.mktemp("sides")
    ticks = ["--election-timeout", "100", "--heartbeat-interval", "10"]  # those of the other one
    ours = KvServer(directory / "ours", ticks)
    try:
        etcd = EtcdServer(EtcdVersion.ETCD_37, directory / "etcd")
        both = Side(ours), Side(etcd)
        for side in both:
            side.fill()
        yield both
        for side in both:
            side.channel.close()
        etcd.kill()
    finally:
        ours.kill()


@pytest.mark.parametrize("path", PATHS)
def test_messages(sides: tuple[Side, Side], path: str) -> None:
    method = METHODS[path]
    differences = []
    for raw in messages(method.request, MESSAGES):
        if is_taken_by_us(raw):
            continue
        ours, etcd = (side.call(method, raw) for side in sides)
        for outcome in (ours, etcd):
            outcome.answer.pop(OF_ANY.get(path, ""), None)
        etcd = etcd._replace(text=etcd.text.replace("\u00a0", " "))
        if ours != etcd:
            differences.append((raw.hex(), ours, etcd))
    assert differences == []


@pytest.mark.parametrize("path", PATHS)
def test_documents(sides: tuple[Side, Side], path: str) -> None:
    url = next(url for url, route in ROUTES.items() if route == path)
    differences = []
    for body in documents(METHODS[path].request, DOCUMENTS):
        ours, etcd = (post(side, url, body) for side in sides)
        for outcome in (ours, etcd):
            outcome.answer.pop(OF_ANY.get(path, ""), None)
        if "invalid UTF-8" in ours.text + etcd.text or not body.lstrip().startswith(b"{"):
            # One of two faults, whichever is seen first; and documents that are no objects.
            ours, etcd = ours._replace(text=""), etcd._replace(text="")
        if ours != etcd:
            differences.append((body, ours, etcd))
    assert differences == []


def post(side: Side, path: str, body: bytes) -> Outcome:
    request = urllib.request.Request(f"http://{side.server.target}{path}", body)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            status, text = response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            status, text = error.code, error.read()
    # Go writes either of two spaces behind "proto:", so that nobody depends on the text.
    answer: dict[str, Any] = json.loads(text.decode(errors="replace").replace("\u00a0", " "))
    message = re.sub(r":? \(line \d+:\d+\):", ":", answer.pop("message", ""))
    answer.pop("error", None)
    if "header" in answer:
        answer["header"] = answer["header"].get("revision")
    return Outcome(str(status), message, answer)
