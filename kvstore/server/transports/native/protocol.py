"""One HTTP/2 connection on a socket of asyncio: bytes to the core, and its bytes to the socket.

Reads are handled where they arrive, and all that they bring about leaves in one write. What comes
later (a commit, an event) wakes the connection once for a turn of the loop, however many calls it
concerns; `Turns` runs those of all connections together.

    the client does not read   → `pause_writing`: nothing leaves the queues of the streams;
                                 with `Limits.room_bytes` unsent no more is read from him
    he is silent               → PING after `ping_interval_s`, dropped after `ping_timeout_s`
    the server drains          → GOAWAY, PING; on its answer the last GOAWAY; closed when done
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from kvstore.server.transports.half_close import half_close
from kvstore.server.transports.http2.connection import Connection
from kvstore.server.transports.http2.frames import ErrorCode
from kvstore.server.transports.http2.limits import Limits
from kvstore.server.transports.rpc.calls import TURN_WORK, Calls
from kvstore.server.transports.rpc.head import CallHead
from kvstore.server.transports.rpc.service import Service
from kvstore.server.transports.web.http2 import Web, WebHead

__all__ = ["Http2Protocol", "Pings", "Turns"]

AHEAD_BYTES: Final = 64 * 1024
"""Unsent bytes of one connection above which nothing leaves its queues."""
AHEAD_LOW_BYTES: Final = 16 * 1024
"""And at which it does again."""
KERNEL_AHEAD_BYTES: Final = 128 * 1024
"""What the kernel takes of a connection before it can send it (TCP_NOTSENT_LOWAT): what is said
later, though it is small, waits for all that. The kernel's own bound is 4 MiB."""
READ_BYTES: Final = 128 * 1024
"""Of one read."""
FRAMES_AT_ONCE: Final = 128
"""Of one connection, before others have their turn: a read may bring 3,000 that ask for a watch,
and 14,000 of the smallest. The rest waits, and no more is read until it is taken."""
SMALL_READ_BYTES: Final = 8 * 1024
"""In which nobody counts: 200 that ask for a watch."""
_KEEP_ALIVE: Final = b"kv-alive"
_DRAINING: Final = b"kv-drain"
_ACK_WAIT_S: Final = 1.0
_UNWANTED_BYTES: Final = 1024 * 1024
"""Read and dropped of a client who goes on sending after that."""
_WRITE_WORK: Final = 4
"""What a turn of a connection costs at least, beside a response."""
_ABANDONED_STREAMS: Final = 64
"""Of a connection that is lost, in one turn."""
_CLOSE_WAIT_S: Final = 2.0
"""How long a client has to take the last bytes of a connection that we end, and to end it, too."""


class Pings:
    """When silent clients are pinged, in seconds; 0 is never."""

    __slots__ = ("interval_s", "timeout_s")

    def __init__(self, interval_s: float, timeout_s: float) -> None:
        self.interval_s, self.timeout_s = interval_s, timeout_s


class Turns:
    """What connections share: turns for those woken, in one callback of the loop, and a buffer.

    Streams get `TURN_WORK` between two callbacks, of whichever connections they are, and those who
    were not heard are heard next: others wait for no more than that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._woken: deque[Http2Protocol] = deque()
        self._is_due = False
        self.work = 0
        """What was done in this turn; at `TURN_WORK` who has more to do should be woken for it."""
        self.buffer = memoryview(bytearray(READ_BYTES))
        """What one read brings, of whichever connection."""

    def wake(self, connection: Http2Protocol) -> None:
        self._woken.append(connection)
        if not self._is_due:
            self._run_soon()

    def together(self, work: Callable[[], None]) -> None:
        """Do what wakes connections; they have their turn at its end, not in the loop's next."""
        if self._is_due:
            work()
            return
        self._is_due = True
        try:
            work()
        finally:
            self._run()

    def spend(self, work: int) -> None:
        """A connection did some outside of the callback."""
        self.work += work
        if self.work >= TURN_WORK and not self._is_due:
            self._run_soon()

    def _run_soon(self) -> None:
        self._is_due = True
        self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._is_due = False
        work, woken = 0, self._woken
        for _ in range(len(woken)):
            work += woken.popleft().turn() + _WRITE_WORK
            if work >= TURN_WORK:
                break
        self.work = work
        if woken and not self._is_due:
            self._run_soon()


class Http2Protocol(asyncio.BufferedProtocol):
    """Reads into one buffer that all connections share, since what is read is used at once.

    A plain Protocol would have 256 KiB allocated for each read, which costs more than all the rest.
    """

    def __init__(
        self,
        service: Service,
        turns: Turns,
        limits: Limits,
        pings: Pings,
        on_closed: Callable[[Http2Protocol], None],
        web: Web | None = None,
    ) -> None:
        """`web` answers what is no gRPC."""
        self._service, self._turns, self._pings, self._web = service, turns, pings, web
        self._limits, self._on_closed = limits, on_closed
        self._loop = service.loop
        self._is_woken = self._is_draining = self._is_lost = False
        self._is_congested = self._is_paused = self._reads_on = False
        self._timer: asyncio.TimerHandle | None = None
        self._pinged_at: float | None = None
        self._is_parting = False
        self._unwanted_bytes = 0

    def __repr__(self) -> str:
        return f"<Http2Protocol {self._calls!r}>"

    # -- asyncio.BufferedProtocol ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(AHEAD_BYTES, AHEAD_LOW_BYTES)
        _keep_little_in_kernel(transport)
        self._calls = Calls(self._service, peer_text(transport), self._wake, self._web)
        self._last_read = self._loop.time()
        self._core: Connection[CallHead | WebHead] = Connection(
            self._calls, self._limits, self._last_read
        )
        self._calls.connection = self._core
        self._core.on_ack = self._on_ack
        self._service.stats.connections += 1
        if self._pings.interval_s:
            self._arm(self._pings.interval_s)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._turns.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._turns.buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        if self._is_parting:
            self._unwanted_bytes += len(data)
            if self._unwanted_bytes > _UNWANTED_BYTES:
                self._transport.abort()
            return
        size = len(data)
        self._service.stats.received_bytes += size
        self._last_read = now = self._loop.time()
        was_woken, self._is_woken = self._is_woken, True  # nobody need wake it now
        core, calls = self._core, self._calls
        if size <= SMALL_READ_BYTES and not core.is_behind:
            core.receive(data, now)
        else:
            core.receive_some(data, now, FRAMES_AT_ONCE)
            if core.is_behind:
                self._read_on_soon()
        if calls.is_idle:
            self._is_woken = was_woken
            self._flush()
            return
        if calls.has_work and self._turns.work < TURN_WORK:
            self._turns.spend(calls.turn())  # leaves with the answers to this read
        self._is_woken = was_woken
        self._flush()
        if calls.has_work:
            self._wake()

    def _read_on_soon(self) -> None:
        self._regulate()
        if not self._reads_on:
            self._reads_on = True
            self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """The rest of what was read, after others had their turn."""
        self._reads_on = False
        if not self._is_lost:
            self.data_received(b"")

    def pause_writing(self) -> None:
        self._is_congested = True

    def resume_writing(self) -> None:
        self._is_congested = False
        self._core.next_turn()
        self._core.resume()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._service.stats.connections -= 1
        self._is_lost = True
        self._transport = _GONE
        self._calls.backlog.close()
        self._abandon()
        self._on_closed(self)

    def _abandon(self) -> None:
        """Let the streams go, some in each turn of the loop."""
        self._core.abandon(_ABANDONED_STREAMS)
        self._core.out.clear()
        if self._core.streams:
            self._loop.call_soon(self._abandon)

    # -- turns -----------------------------------------------------------------------------------

    def turn(self) -> int:
        """Send what has come up since the last read or turn; returns the work that was."""
        self._is_woken = False
        core, calls = self._core, self._calls
        if self._is_lost or (core.is_closed and not core.out):
            return 0
        if calls.is_idle:
            self._flush()
            return 0
        work = calls.turn()
        self._flush()
        if calls.has_work:
            self._wake()
        return work

    def _wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            self._turns.wake(self)

    def _flush(self) -> None:
        core = self._core
        out = core.out
        if out:
            data = b"".join(out)
            out.clear()
            self._service.stats.sent_bytes += len(data)
            self._transport.write(data)
        if (
            core.queued_bytes
            or self._is_congested
            or self._is_paused
            or self._is_draining
            or core.is_closed
            or self._calls.backlog.is_waiting
        ):
            self._look_ahead()
        else:  # as `next_turn`, without the calls, for nearly every answer comes here
            core.room_bytes, core.turn_bytes = self._limits.room_bytes, self._limits.turn_bytes

    def _look_ahead(self) -> None:
        """What comes after a write: the next turn, more reads or none, the end."""
        core = self._core
        unsent_bytes = self._transport.get_write_buffer_size() if self._is_congested else 0
        if core.next_turn(unsent_bytes):
            self._loop.call_soon(self._go_on)
        if unsent_bytes or self._is_paused or self._calls.backlog.is_waiting:
            self._regulate()
        is_drained = self._is_draining and not core.streams and not core.accepts_streams
        if core.is_closed or is_drained:
            self._part()

    def _regulate(self) -> None:
        """Read from the socket, or do not."""
        core = self._core
        is_paused = core.is_behind or core.room_bytes <= 0 or self._calls.backlog.is_crowded
        if is_paused != self._is_paused and not self._is_parting:
            self._is_paused = is_paused
            if is_paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _part(self) -> None:
        """Say that nothing more comes, and wait for the client to say the same.

        A socket that is closed with something unread resets the connection, and what the client has
        not read yet is lost to him.
        """
        self._core.is_closed = True
        if self._is_parting:
            return
        self._is_parting = True
        self._loop.call_later(_CLOSE_WAIT_S, self._transport.abort)
        if self._transport.can_write_eof():
            half_close(self._transport)
            self._transport.resume_reading()
        else:
            self._transport.close()

    def _go_on(self) -> None:
        """The rest of large answers, after others had their turn."""
        if not self._core.is_closed:
            self._core.resume()
            self._flush()
            if self._calls.has_work:  # somebody waited for what has left
                self._wake()

    # -- silence ---------------------------------------------------------------------------------

    def _arm(self, delay_s: float) -> None:
        self._timer = self._loop.call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        now = self._loop.time()
        interval_s, timeout_s = self._pings.interval_s, self._pings.timeout_s
        if self._pinged_at is not None and self._last_read >= self._pinged_at:
            self._pinged_at = None
        if self._pinged_at is not None:
            if timeout_s:  # it was waited for
                self._transport.abort()
            return
        silent_s = now - self._last_read
        if silent_s < interval_s:
            self._arm(interval_s - silent_s)
            return
        self._pinged_at = now
        self._core.ping(_KEEP_ALIVE)
        self._flush()
        self._arm(timeout_s or interval_s)

    # -- the end ---------------------------------------------------------------------------------

    def drain(self) -> None:
        """Ask the client to leave, end his streams; closes itself when his calls are done."""
        self._is_draining = True
        if self._core.is_closed:
            return
        self._core.go_away(last=False)
        self._core.ping(_DRAINING)
        self._calls.drain()
        self._flush()
        self._loop.call_later(_ACK_WAIT_S, self._last_call)

    def _on_ack(self, payload: bytes) -> None:
        if payload == _DRAINING:
            self._last_call()

    def _last_call(self) -> None:
        if not self._core.is_closed and self._core.accepts_streams:
            self._core.go_away(last=True)
            self._calls.drain()
            self._flush()

    def eof_received(self) -> bool:
        return False

    def close(self) -> None:
        """End the connection now, with whatever it was doing."""
        self._core.close(ErrorCode.NO_ERROR)
        self._flush()
        self._transport.abort()


class _Gone(asyncio.Transport):
    """In the place of a transport that is closed, for what still comes up.

    That of TLS has 256 KiB, and asyncio leaves it methods of its protocol: as long as that has it,
    too, both stay until the collector of cycles comes by.
    """

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def write(self, data: object) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


_GONE = _Gone()


def _keep_little_in_kernel(transport: asyncio.Transport) -> None:
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_AHEAD_BYTES)


def peer_text(transport: asyncio.BaseTransport) -> str:
    """The other side as gRPC spells it: `ipv4:127.0.0.1:5000`, `ipv6:[::1]:5000`, `unix:`."""
    address = transport.get_extra_info("peername")
    if not isinstance(address, tuple):
        return "unix:"
    host, port = address[:2]
    host = host.removeprefix("::ffff:")  # an IPv4 client of a socket for both families
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
