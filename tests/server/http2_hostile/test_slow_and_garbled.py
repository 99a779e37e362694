"""Peers that begin and do not go on, and peers that speak something else."""

from __future__ import annotations

import contextlib
import random
import socket

import pytest

from tests.server.http2_hostile.conftest import Open
from tests.support.h2 import frames
from tests.support.h2.calls import assert_serves
from tests.support.h2.connection import Closed, Connection, Silent, connect
from tests.support.h2.grpc import KV, request
from tests.support.h2.peers import Bystander
from tests.support.h2.servers import WireServer

pytestmark = pytest.mark.slow

RANGE = request(KV + "Range")


class TestWhoBeginsAndDoesNotGoOn:
    """Slow-loris: as many as there are cost some memory and nothing else."""

    @pytest.mark.parametrize(
        "start",
        [
            b"",
            frames.PREFACE[:3],
            frames.PREFACE,
            frames.PREFACE + frames.settings()[:5],
            frames.PREFACE + frames.settings() + frames.headers(1, b"\x83", end_headers=False),
            frames.PREFACE + frames.settings() + frames.data(1, bytes(1000))[:500],
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx",
            b"GET / HTTP/1.1\r\nX-Header: ",
        ],
        ids=[
            "nothing",
            "preface-begun",
            "no-settings",
            "settings-begun",
            "header-block-begun",
            "data-begun",
            "http1-body-begun",
            "http1-header-begun",
        ],
    )
    def test_five_hundred_connections(
        self, server: WireServer, bystander: Bystander, start: bytes
    ) -> None:
        with contextlib.ExitStack() as opened:
            for _ in range(500):
                raw = opened.enter_context(connect(server.target))
                raw.sendall(start)
            with Connection(server.target) as newcomer:
                assert_serves(newcomer)

            bystander.check()

    def test_a_preface_and_a_call_byte_by_byte_on_many_connections(
        self, server: WireServer, bystander: Bystander
    ) -> None:
        with contextlib.ExitStack() as opened:
            sockets = [opened.enter_context(connect(server.target)) for _ in range(100)]
            everything = frames.PREFACE + frames.settings() + frames.ping(b"was slow")
            for byte in everything:
                for each in sockets:
                    each.sendall(bytes([byte]))
            for each in sockets:
                answered = b""
                while b"was slow" not in answered:
                    part = each.recv(4096)
                    assert part, "closed although it only was slow"
                    answered += part

        bystander.check()

    def test_connections_that_come_and_go(self, server: WireServer, bystander: Bystander) -> None:
        """2000, most of which end with a reset instead of an end."""
        for at in range(2000):
            with connect(server.target) as raw:
                raw.sendall(frames.PREFACE + frames.settings() if at % 2 else b"PRI")
                if at % 4:
                    linger = b"\1\0\0\0\0\0\0\0"
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        bystander.check()


class TestWhoSpeaksSomethingElse:
    """He is closed, or answered in HTTP/1.1; nothing more happens."""

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x00" * 1000,
            b"\xff" * 1000,
            random.Random(0).randbytes(100_000),
            b"\n" * 100_000,
            b"GET" + b" " * 100_000,
            b"NONSENSE\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"G\x00T / HTTP/1.1\r\n\r\n",
            b"GET /" + b"a" * 1_000_000,
            b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 100_000,
            b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
            b"\x16\x03\x01",
            b"SSH-2.0-OpenSSH_9.2\r\n",
        ],
        ids=[
            "zeros",
            "ones",
            "random",
            "newlines",
            "spaces",
            "nonsense",
            "http-9.9",
            "nul-in-method",
            "endless-path",
            "endless-headers",
            "negative-length",
            "chunk-too-large",
            "tls-hello-truncated",
            "tls-hello-begun",
            "ssh",
        ],
    )
    def test_garbage_instead_of_a_preface(
        self, server: WireServer, bystander: Bystander, garbage: bytes
    ) -> None:
        """What could still become a request may wait; once the peer has ended it is closed."""
        with connect(server.target) as raw:
            with contextlib.suppress(OSError):
                raw.sendall(garbage)
                raw.shutdown(socket.SHUT_WR)
            assert_ends(raw)

        bystander.check()

    @pytest.mark.parametrize("seed", range(20))
    def test_garbage_after_the_preface(
        self, server: WireServer, bystander: Bystander, seed: int
    ) -> None:
        with connect(server.target) as raw:
            with contextlib.suppress(OSError):
                raw.sendall(frames.PREFACE + frames.settings())
                raw.sendall(random.Random(seed).randbytes(200_000))
                raw.shutdown(socket.SHUT_WR)
            assert_ends(raw)

        bystander.check()

    @pytest.mark.parametrize("seed", range(100))
    def test_frames_of_any_kind_in_any_order(
        self, server: WireServer, attacker: Open, bystander: Bystander, seed: int
    ) -> None:
        """Well-formed heads, random types, flags, streams and payloads: no answer is wrong."""
        chance = random.Random(seed)
        connection = attacker()
        with contextlib.suppress(Closed, Silent):
            for _ in range(200):
                connection.send(random_frame(chance, connection))
            connection.socket.shutdown(socket.SHUT_WR)
            connection.read_until_closed()
        with Connection(server.target) as newcomer:
            assert_serves(newcomer)

        bystander.check()


def random_frame(chance: random.Random, connection: Connection) -> bytes:
    """Mostly what a client would send, with something wrong now and then."""
    stream_id = chance.choice([0, 1, 1, 3, 3, 5, 7, 9, 2, 2**31 - 1])
    kind = chance.random()
    if kind < 0.3:
        return frames.headers(
            connection.new_stream(), connection.encode(RANGE), end_stream=chance.random() < 0.2
        )
    if kind < 0.5:
        return frames.data(stream_id, chance.randbytes(chance.randrange(50)))
    if kind < 0.7:
        return frames.window_update(stream_id, chance.choice([1, 100, 65_535, 2**30]))
    if kind < 0.8:
        return frames.settings({chance.randrange(1, 8): chance.choice([0, 1, 16_384, 65_535])})
    if kind < 0.9:
        return frames.rst_stream(stream_id, chance.randrange(14))
    return frames.frame(
        chance.randrange(12),
        chance.randrange(256),
        stream_id,
        chance.randbytes(chance.choice([0, 1, 4, 5, 6, 8, 9, 100])),
    )


def assert_ends(raw: socket.socket) -> None:
    """The server ends the connection, whatever it says before."""
    with contextlib.suppress(ConnectionError):
        while raw.recv(1 << 16):
            pass
