"""A server of HTTP/2 that does what a test tells it, on a loop of its own in a thread.

It sends its header blocks as grpc-go does: with a table that changes when something new is said.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hpack import Decoder, Encoder

__all__ = ["Answer", "FakeConnection", "FakeServer", "serving"]

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = (len(payload) << 8 | kind).to_bytes(4, "big") + bytes((flags,))
    return head + stream.to_bytes(4, "big") + payload


class FakeConnection(asyncio.Protocol):
    """One connection; `server.answer` is called with each whole request."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.received = b""
        self.encoder, self.decoder = Encoder(), Decoder()
        self.paths: dict[int, str] = {}
        self.bodies: dict[int, bytes] = {}
        self.windows: dict[int, int] = {}
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.initial_window = self.window = 65_535
        self.unsent: list[tuple[int, bytes]] = []
        self.transport: asyncio.Transport | None = None
        self.has_preface = False
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.append(self)
        settings = b"".join(struct.pack(">HI", *each) for each in self.server.settings.items())
        self.send(frame(SETTINGS, 0, 0, settings))

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.gone.set()

    def send(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.has_preface:
            if len(self.received) < 24:
                return
            self.received, self.has_preface = self.received[24:], True
        while len(self.received) >= 9:
            word, flags, stream = struct.unpack_from(">IBI", self.received)
            end = 9 + (word >> 8)
            if len(self.received) < end:
                return
            payload, self.received = self.received[9:end], self.received[end:]
            self.take(word & 0xFF, flags, stream, payload)

    def take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.frames.append((kind, flags, stream, payload))
        if kind == HEADERS:
            fields = dict(self.decoder.decode(payload))
            self.paths[stream] = str(fields[":path"])
            self.server.fields.append({str(k): str(v) for k, v in fields.items()})
            self.windows[stream] = self.initial_window
        elif kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, b"") + payload
            if flags & 1:
                self.credit(stream)
                self.server.requests += 1
                self.server.answer(self, stream)
        elif kind == SETTINGS and not flags & 1:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == 4:
                    self.initial_window = value
            self.send(frame(SETTINGS, 1, 0))
        elif kind == PING and not flags & 1:
            self.send(frame(PING, 1, 0, payload))
        elif kind == WINDOW_UPDATE:
            (increment,) = struct.unpack(">I", payload)
            if stream:
                self.windows[stream] = self.windows.get(stream, 0) + increment
            else:
                self.window += increment
            self.send_unsent()

    def credit(self, stream: int) -> None:
        """Give back the window that a whole request took."""
        size = len(self.bodies[stream])
        self.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", size)))

    # --- what an answer is made of

    def headers(self, stream: int, fields: list[tuple[str, str]], *, last: bool = False) -> None:
        block = self.encoder.encode(fields, huffman=False)
        self.send(frame(HEADERS, 5 if last else 4, stream, block))

    def data(self, stream: int, message: bytes) -> None:
        """A message, in frames and within the windows of the client."""
        body = struct.pack(">BI", 0, len(message)) + message
        self.unsent += [(stream, body[at : at + 16_384]) for at in range(0, len(body), 16_384)]
        self.send_unsent()

    def send_unsent(self) -> None:
        while self.unsent:
            stream, part = self.unsent[0]
            if part and len(part) > min(self.window, self.windows[stream]):
                return
            self.unsent.pop(0)
            if not part:
                self.headers(stream, [("grpc-status", "0"), ("grpc-message", "")], last=True)
                continue
            self.window -= len(part)
            self.windows[stream] -= len(part)
            self.send(frame(DATA, 0, stream, part))

    def ok(self, stream: int, message: bytes = b"") -> None:
        self.headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        self.data(stream, message)
        self.unsent.append((stream, b""))
        self.send_unsent()

    def error(self, stream: int, code: int, text: str) -> None:
        fields = [(":status", "200"), ("content-type", "application/grpc")]
        fields += [("grpc-status", str(code)), ("grpc-message", text)]
        self.headers(stream, fields, last=True)

    def reset(self, stream: int, code: int) -> None:
        self.send(frame(RST_STREAM, 0, stream, struct.pack(">I", code)))

    def goaway(self, last: int, code: int, text: bytes = b"") -> None:
        self.send(frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + text))

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


Answer = Callable[[FakeConnection, int], None]


class FakeServer:
    """Counts what came; `answer` may be changed while it serves."""

    def __init__(self, answer: Answer, settings: dict[int, int] | None = None) -> None:
        self.answer = answer
        self.settings = settings or {}
        self.connections: list[FakeConnection] = []
        self.fields: list[dict[str, str]] = []
        self.requests = 0
        self.port = 0
        self.listening: asyncio.Server | None = None

    def vanish(self) -> None:
        """Take no connection any more and end those that there are; from within `answer`."""
        assert self.listening is not None
        self.listening.close()
        for connection in self.connections:
            connection.close()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def serving(
    answer: Answer,
    settings: dict[int, int] | None = None,
    tls: ssl.SSLContext | None = None,
    connection: type[FakeConnection] = FakeConnection,
) -> Iterator[FakeServer]:
    """Serve on a free port of the loopback until the block ends."""
    server = FakeServer(answer, settings)
    loop = asyncio.new_event_loop()
    started = threading.Event()
    ending = asyncio.Event()

    async def serve() -> None:
        listening = await loop.create_server(lambda: connection(server), "127.0.0.1", 0, ssl=tls)
        server.listening = listening
        server.port = listening.sockets[0].getsockname()[1]
        started.set()
        await ending.wait()
        listening.close()
        for each in server.connections:
            if each.transport is not None:
                each.transport.abort()
            await each.gone.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(10)
        loop.close()
