"""Clients of HTTP/2 that leave in the middle of what they say leave nothing behind."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import hpack
import pytest

from tests.server.http.places import Farm, Place
from tests.support.h2 import frames
from tests.support.web_client import Where, ask

pytestmark = pytest.mark.slow

PLACE = Place("client", is_secure=True, protocol="h2")
STEP = 5
_RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"
REQUESTS = [
    ("POST", "/v3/kv/put", '{"key":"YQ==","value":"MQ=="}'),
    ("POST", "/v3/lease/grant", '{"TTL":"60"}'),
    ("GET", "/readyz?verbose", ""),
    ("POST", "/v3/lease/keepalive", '{"ID":"5"}{"ID":"6"}'),
    ("POST", "/v3/watch", '{"create_request":{"key":"YQ=="}}'),
    ("POST", "/v3/lease/timetolive", '{"ID":"5"}'),
]


def conversation() -> bytes:
    """Each body in two pieces; the watch is reset in the end, and a call before it is answered."""
    encoder, said = hpack.Encoder(), frames.PREFACE + frames.settings({})
    for number, (method, path, body) in enumerate(REQUESTS):
        stream_id = 2 * number + 1
        head = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "x")]
        said += frames.headers(stream_id, encoder.encode(head), end_stream=not body)
        if body:
            half = len(body) // 2
            said += frames.data(stream_id, body[:half].encode())
            said += frames.data(stream_id, body[half:].encode(), end_stream=True)
    return said + frames.rst_stream(9, frames.ErrorCode.CANCEL) + frames.rst_stream(11, 8)


def test_a_client_may_leave_anywhere(tmp_path: Path) -> None:
    farm = Farm(tmp_path)
    try:
        where = farm.where("ours", PLACE)
        said = conversation()
        for end in [*range(1, len(said), STEP), len(said)]:
            leave(where, said[:end])
        deadline_monotonic_s = time.monotonic() + 30
        while watchers(where):
            assert time.monotonic() < deadline_monotonic_s
            time.sleep(0.01)
    finally:
        (log,) = farm.close()
    assert "never" not in log
    assert "Traceback" not in log
    assert "Warning" not in log


def leave(where: Where, said: bytes) -> None:
    tls = where.offered()
    assert tls is not None
    with socket.create_connection(("127.0.0.1", where.port), 10) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        with tls.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
            secure.sendall(said)


def watchers(where: Where) -> float:
    page = ask(where, "GET", "/metrics").body.decode()
    found = re.search(r"^etcd_debugging_mvcc_watcher_total (\S+)$", page, re.MULTILINE)
    assert found is not None
    return float(found[1])
