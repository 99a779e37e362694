"""One HTTP/2 connection of a test: it sends bytes as told and keeps what the server may expect.

`receive` reads one frame and does what a peer must: it acknowledges SETTINGS and PING, counts the
windows of both sides, decodes header blocks in their order, and (unless `open_windows` is off)
gives back the window that DATA took. All that was received is in `received`.

Nothing waits longer than `timeout_s`: then a Silent is raised with what came until then.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import hpack

from tests.support.h2 import frames
from tests.support.h2.frames import Flag, Frame, FrameType, Setting

__all__ = ["Closed", "Connection", "Fields", "Silent", "connect"]

Fields = Sequence[tuple[str, str]]

_DEFAULT_WINDOW = 65_535
_LARGE_WINDOW = 2**31 - 1


class Silent(AssertionError):
    """Nothing that was waited for came in time."""


class Closed(Exception):
    """The server closed the connection, or reset it."""


def connect(
    target: str,
    *,
    timeout_s: float = 10.0,
    receive_buffer: int = 0,
    tls: ssl.SSLContext | None = None,
) -> socket.socket:
    """A socket to `host:port`; `receive_buffer` bytes of kernel memory for it when not 0."""
    host, port = target.rsplit(":", 1)
    raw = socket.socket()
    if receive_buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.settimeout(timeout_s)
    try:
        raw.connect((host, int(port)))
    except OSError:
        raw.close()
        raise
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is None:
        return raw
    try:
        return tls.wrap_socket(raw, server_hostname=host)
    except OSError:
        raw.close()
        raise


class Connection:
    """A connection to `target`, with the prefaces exchanged unless `handshake` is off.

    `settings` are ours. With `open_windows` off the windows of the server stay as they are and the
    test opens them. `acknowledge` off leaves SETTINGS and PING of the server unanswered. `tls` has
    to offer h2 by ALPN.
    """

    def __init__(
        self,
        target: str,
        settings: Mapping[int, int] | None = None,
        *,
        open_windows: bool = True,
        acknowledge: bool = True,
        handshake: bool = True,
        timeout_s: float = 10.0,
        receive_buffer: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.target, self.timeout_s = target, timeout_s
        self.open_windows, self.acknowledge = open_windows, acknowledge
        self.socket = connect(target, timeout_s=timeout_s, receive_buffer=receive_buffer, tls=tls)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.decoder.max_header_list_size = 2**24
        self.received: list[Frame] = []
        self.fields: dict[int, list[list[tuple[str, str]]]] = {}
        self.server_settings: dict[int, int] = {}
        self._buffer = bytearray()
        self._next_stream_id = 1
        self._send_window = _DEFAULT_WINDOW
        self._stream_windows: dict[int, int] = {}
        self._header_block = bytearray()
        if handshake:
            try:
                self.handshake(settings)
            except BaseException:
                self.close()
                raise

    def __repr__(self) -> str:
        return f"<Connection {self.target} {len(self.received)} frames received>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def handshake(self, settings: Mapping[int, int] | None = None) -> None:
        """Send the preface and `settings`; wait for the server's SETTINGS and for its ack."""
        self.send(frames.PREFACE + frames.settings(settings))
        self.expect(FrameType.SETTINGS, lambda each: not each.has(Flag.ACK))
        self.expect(FrameType.SETTINGS, lambda each: each.has(Flag.ACK))

    # Sending

    def new_stream(self) -> int:
        """The next stream identifier of a client."""
        stream_id = self._next_stream_id
        self._next_stream_id += 2
        return stream_id

    def encode(self, fields: Fields) -> bytes:
        """A header block as `hpack` codes it."""
        return self.encoder.encode(list(fields))

    def send(self, raw: bytes) -> None:
        """Send bytes. Raises Closed when the server is gone, Silent when it does not read."""
        self.socket.settimeout(self.timeout_s)
        try:
            self.socket.sendall(raw)
        except TimeoutError as error:
            raise Silent("the server does not read") from error
        except OSError as error:
            raise Closed(str(error)) from error

    def send_headers(self, fields: Fields, *, end_stream: bool = False, stream_id: int = 0) -> int:
        """A HEADERS frame on a new stream, or on `stream_id`; returns the stream."""
        stream_id = stream_id or self.new_stream()
        self.send(frames.headers(stream_id, self.encode(fields), end_stream=end_stream))
        return stream_id

    def send_data(self, stream_id: int, payload: bytes, *, end_stream: bool = False) -> None:
        """`payload` in frames as large as the server allows, waiting for its windows.

        It stops when the server has ended the stream, which it may do before it has all of it.
        """
        limit = self.server_settings.get(Setting.MAX_FRAME_SIZE, 16_384)
        while True:
            window = self.window(stream_id)
            if payload and window <= 0:
                got = self.receive()
                ended = got.end_stream or got.type == FrameType.RST_STREAM
                if ended and got.stream_id == stream_id:
                    return
                continue
            part = payload[: max(0, min(limit, window))]
            payload = payload[len(part) :]
            self.spend(stream_id, len(part))
            self.send(frames.data(stream_id, part, end_stream=end_stream and not payload))
            if not payload:
                return

    def window(self, stream_id: int) -> int:
        """How many bytes the server lets us send on a stream now."""
        # What happened to the stream is kept apart from the initial size, which changes for all.
        initial = self.server_settings.get(Setting.INITIAL_WINDOW_SIZE, _DEFAULT_WINDOW)
        return min(self._send_window, initial + self._stream_windows.get(stream_id, 0))

    def spend(self, stream_id: int, size: int) -> None:
        """Count bytes of DATA that were sent with `send`."""
        self._send_window -= size
        self._stream_windows[stream_id] = self._stream_windows.get(stream_id, 0) - size

    # Receiving

    def receive(self, timeout_s: float | None = None) -> Frame:
        """The next frame. Raises Silent or Closed."""
        head = self._read(9, timeout_s)
        length = int.from_bytes(head[:3], "big")
        stream_id = int.from_bytes(head[5:9], "big") & 0x7FFF_FFFF
        got = Frame(head[3], head[4], stream_id, self._read(length, timeout_s))
        self.received.append(got)
        self._take(got)
        return got

    def expect(
        self, type_: int, wanted: Callable[[Frame], bool] = lambda each: True, stream_id: int = -1
    ) -> Frame:
        """Read until a frame of this type comes that is `wanted`; what comes before is kept."""
        deadline_monotonic_s = time.monotonic() + self.timeout_s
        while True:
            got = self.receive(deadline_monotonic_s - time.monotonic())
            if got.type == type_ and stream_id in (-1, got.stream_id) and wanted(got):
                return got

    def expect_end_of(self, stream_id: int) -> Frame:
        """Read until the stream is over: END_STREAM, RST_STREAM, or GOAWAY for all."""
        deadline_monotonic_s = time.monotonic() + self.timeout_s
        while True:
            got = self.receive(deadline_monotonic_s - time.monotonic())
            over = got.end_stream or got.type == FrameType.RST_STREAM
            if (over and got.stream_id == stream_id) or got.type == FrameType.GOAWAY:
                return got

    def read_until_closed(self) -> list[Frame]:
        """All frames until the server closes. Raises Silent when it does not in time."""
        before = len(self.received)
        deadline_monotonic_s = time.monotonic() + self.timeout_s
        try:
            while True:
                self.receive(deadline_monotonic_s - time.monotonic())
        except Closed:
            return self.received[before:]

    def change_settings(self, values: Mapping[int, int]) -> list[Frame]:
        """Send SETTINGS and read until they are acknowledged; returns what came before that."""
        before = len(self.received)
        self.send(frames.settings(values))
        self.expect(FrameType.SETTINGS, lambda each: each.has(Flag.ACK))
        return self.received[before:-1]

    def settle(self) -> list[Frame]:
        """Read until the server has taken all that was sent; returns what came.

        SETTINGS are acknowledged in the order of the frames, so what earlier frames had the server
        say at once is among these. A PING would do too, but pings are counted.
        """
        return self.change_settings({})

    @property
    def in_header_block(self) -> bool:
        """A header block has begun, and CONTINUATION frames are due."""
        return bool(self._header_block)

    def _read(self, count: int, timeout_s: float | None) -> bytes:
        deadline_monotonic_s = time.monotonic() + (
            self.timeout_s if timeout_s is None else timeout_s
        )
        while len(self._buffer) < count:
            left_s = deadline_monotonic_s - time.monotonic()
            if left_s <= 0:
                raise Silent(f"nothing more came; the last frames: {self.received[-5:]}")
            self.socket.settimeout(left_s)
            try:
                got = self.socket.recv(1 << 18)
            except TimeoutError:
                continue
            except OSError as error:
                raise Closed(str(error)) from error
            if not got:
                raise Closed("the server closed the connection")
            self._buffer += got
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _take(self, got: Frame) -> None:
        """What every peer does with a frame."""
        if got.type == FrameType.SETTINGS and not got.has(Flag.ACK):
            self.server_settings.update(got.settings)
            if self.acknowledge:
                self.send(frames.settings_ack())
        elif got.type == FrameType.PING and not got.has(Flag.ACK) and self.acknowledge:
            self.send(frames.ping(got.payload, ack=True))
        elif got.type == FrameType.WINDOW_UPDATE:
            if got.stream_id:
                window = self._stream_windows.get(got.stream_id, 0)
                self._stream_windows[got.stream_id] = window + got.increment
            else:
                self._send_window += got.increment
        elif got.type in (FrameType.HEADERS, FrameType.CONTINUATION):
            self._header_block += got.payload
            if got.has(Flag.END_HEADERS):
                self._decode(got.stream_id)
        elif got.type == FrameType.DATA and got.payload and self.open_windows:
            updates = frames.window_update(0, len(got.payload))
            if not got.end_stream:
                updates += frames.window_update(got.stream_id, len(got.payload))
            self.send(updates)

    def _decode(self, stream_id: int) -> None:
        block, self._header_block = bytes(self._header_block), bytearray()
        fields = [(str(name), str(value)) for name, value in self.decoder.decode(block)]
        self.fields.setdefault(stream_id, []).append(fields)
