"""The sending half of a connection: windows, queues of the streams, and whose turn it is.

DATA that fits into one frame and all windows is put into `out` at once, as long as there is
`room_bytes`: a small answer or an event waits for nobody. All else waits in the queue of its stream
and leaves by turns: `turn_bytes` at most before what is in `out` has gone to the socket and others
were served, and nothing while the socket holds much (`next_turn`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Protocol

from kvstore.server.transports.http2.frames import (
    DATA,
    DEFAULT_MAX_FRAME_BYTES,
    DEFAULT_WINDOW,
    END_HEADERS,
    HEADERS,
    frame,
    pack_head,
)
from kvstore.server.transports.http2.limits import Limits
from kvstore.server.transports.http2.line import TURN_OF_STREAM_BYTES, Line
from kvstore.server.transports.http2.stream import Stream

__all__ = ["Sending"]


class _Sink(Protocol):
    def writable(self, stream: Stream) -> None:
        """All that was queued on the stream has left."""
        ...


class Sending(ABC):
    def __init__(self, sink: _Sink, limits: Limits) -> None:
        self._writer, self._limits = sink, limits
        self.out: list[bytes | memoryview] = []
        """To be written, in order; whoever writes it clears it."""
        self.window = DEFAULT_WINDOW
        """Bytes of DATA that the peer takes, of all streams."""
        self.initial_window = DEFAULT_WINDOW
        self.max_frame_bytes = DEFAULT_MAX_FRAME_BYTES
        self.queued_bytes = 0
        """Of DATA that waits on streams."""
        self.turn_bytes = limits.turn_bytes
        """DATA that may still be taken from the queues in this turn."""
        self.room_bytes = limits.room_bytes
        """DATA that may still be given to the socket, or made, in this turn."""
        self.has_sent = False
        """Set when something was sent on a stream; cleared by whoever looks."""
        self._used = 0.0
        """What the client may send of idle frames for the use that he made of the connection."""
        self._line = Line()

    def send_headers(self, stream: Stream, block: bytes) -> None:
        """Blocks are below the smallest frame: the sink makes them."""
        self.has_sent = True
        self.out.append(frame(HEADERS, END_HEADERS, stream.id, block))

    def send_data(self, stream: Stream, data: bytes | memoryview) -> None:
        """DATA in order, as the windows let it go; when all has left, `sink.writable`."""
        if stream.is_closed:
            return
        self.has_sent = True
        size = len(data)
        if (
            not stream.queue
            and size <= self.max_frame_bytes
            and size <= self.window
            and size <= stream.window
            and size <= self.room_bytes
        ):
            self.window -= size
            stream.window -= size
            self.room_bytes -= size
            self._used += self._limits.idle_frames_per_data
            self.out.append(pack_head(size >> 8, size & 0xFF, DATA, 0, stream.id))
            self.out.append(data)
            return
        if not size:  # with a window below 0, which an empty frame is not worth waiting for
            return
        if stream.queue is None:
            stream.queue = deque()
        stream.queue.append(memoryview(data))
        stream.queued_bytes += size
        self.queued_bytes += size
        self.room_bytes -= size
        self._opened(stream)

    def send_end(self, stream: Stream, block: bytes) -> None:
        """The trailers, after all DATA; empty for none. The stream is closed then."""
        if stream.is_closed:
            return
        stream.end = block
        if not stream.queue:
            self._finish(stream)

    # -- turns -----------------------------------------------------------------------------------

    def resume(self) -> None:
        """Send what waits, streams by turns."""
        line = self._line
        while line and self.window > 0 and self.turn_bytes > 0:
            self._send_some(line.next())

    def next_turn(self, unsent_bytes: int = 0) -> bool:
        """What was in `out` went to the socket, which still holds so many bytes of it.

        0: so little that it takes more; else nothing leaves the queues until the next call. True:
        there is more to `resume` soon.
        """
        self.room_bytes = self._limits.room_bytes - unsent_bytes
        self.turn_bytes = 0 if unsent_bytes else self._limits.turn_bytes
        return self.turn_bytes > 0 and self.window > 0 and bool(self._line)

    def _opened(self, stream: Stream) -> None:
        """There may be DATA and a window for it."""
        if stream.queue and stream.window > 0:
            self._line.join(stream)
            self.resume()

    def _send_some(self, stream: Stream) -> None:
        """As much as the windows let go of the stream's queue, and no more than its turn."""
        queue, limits = stream.queue, self._limits
        assert queue is not None
        left = min(TURN_OF_STREAM_BYTES, self.turn_bytes)
        while queue and left > 0:
            data = queue[0]
            size = min(len(data), self.max_frame_bytes, left, self.window, stream.window)
            if size <= 0:
                break
            left -= size
            self.has_sent = True
            self.turn_bytes -= size
            self.window -= size
            stream.window -= size
            stream.queued_bytes -= size
            self.queued_bytes -= size
            self._used += limits.idle_frames_per_data + size * limits.idle_frames_per_byte
            self.out.append(pack_head(size >> 8, size & 0xFF, DATA, 0, stream.id))
            if size == len(data):
                self.out.append(queue.popleft())
            else:
                self.out.append(data[:size])
                queue[0] = data[size:]
        if queue:
            if stream.window > 0:
                self._line.join(stream)
        elif stream.end is not None:
            self._finish(stream)
        else:
            self._writer.writable(stream)

    @abstractmethod
    def _finish(self, stream: Stream) -> None:
        """All DATA and the end of the stream were given: send its trailers."""
