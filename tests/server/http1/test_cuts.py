"""Clients that leave in the middle of what they say: at every byte, with a farewell and without.

Nothing may be left of it: no coroutine that nobody awaited, no exception that nobody retrieved, no
connection, no watcher.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kvstore.server.config import parse_config
from tests.support.http_site import HttpSite, get, post

pytestmark = pytest.mark.slow

KEYS = 1200
"""More than are read in one turn: their range is a task."""
CONVERSATION = b"".join(
    [
        post("/v3/kv/put", '{"key":"YQ==","value":"MQ=="}'),
        post("/v3/lease/grant", '{"ID":"0","TTL":"60"}'),
        get("/livez?verbose"),
        post("/v3/kv/range", '{"key":'),
        get("/v3/lease/keepalive", "Transfer-Encoding: chunked", method="POST"),
        b'8\r\n{"ID":"5\r\n3\r\n"}{\r\n6\r\n"ID":"\r\n3\r\n6"}\r\n0\r\n\r\n',
        post("/v3/lease/timetolive", '{"ID":"5"}'),
        post("/v3/kv/range", '{"key":"AA==","range_end":"AA=="}'),
        get("/v3/watch", "Transfer-Encoding: chunked", method="POST"),
        b'21\r\n{"create_request":{"key":"YQ=="}}\r\n0\r\n\r\n',
    ]
)
_RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What would be printed about things left behind."""
    found: list[str] = []
    before = sys.unraisablehook

    def note(unraisable: Any) -> None:
        found.append(f"{unraisable.exc_value!r} {unraisable.object!r}")

    sys.unraisablehook = note
    yield found
    sys.unraisablehook = before


class Loud(logging.Handler):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(record.getMessage())


@pytest.mark.parametrize(("way", "step"), [("reset", 1), ("close", 7)])
def test_a_client_may_leave_at_any_byte(way: str, step: int, complaints: list[str]) -> None:
    loop_log = Loud(complaints)
    logging.getLogger("asyncio").addHandler(loop_log)
    site = HttpSite(parse_config([]))
    try:
        fill(site)
        for end in range(1, len(CONVERSATION) + 1, step):
            leave(site, CONVERSATION[:end], way)
        until(lambda: not site.connections)
        until(lambda: site.call(lambda: site.store.status().watchers) == 0)
        site.call(gc.collect)
        site.run(asyncio.sleep(0))
    finally:
        site.close()
        logging.getLogger("asyncio").removeHandler(loop_log)
    gc.collect()
    assert complaints == []
    assert threading.active_count() < 10


def fill(site: HttpSite) -> None:
    for start in range(0, KEYS, 100):
        puts = [
            f'{{"request_put":{{"key":"{number:08d}","value":"MQ=="}}}}'
            for number in range(start, start + 100)
        ]
        head, _ = site.ask(post("/v3/kv/txn", f'{{"success":[{",".join(puts)}]}}'))
        assert head.startswith(b"HTTP/1.1 200")


def leave(site: HttpSite, said: bytes, way: str) -> None:
    with socket.create_connection(("127.0.0.1", site.port), 10) as client:
        if way == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        client.sendall(said)


def until(is_so: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline_monotonic_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_monotonic_s
        time.sleep(0.005)
