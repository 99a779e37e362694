"""What a peer may have and do, and what is kept for one."""

from __future__ import annotations

__all__ = ["Limits"]


class Limits:
    """Of one connection; a test makes them smaller."""

    max_streams = 2**32 - 1
    """Open at a time on a connection."""
    open_bytes = 256 << 20
    """Of the objects of open streams, each with `stream_bytes` and what its head keeps."""
    stream_bytes = 1024
    """What a stream takes, and its call."""
    max_header_list_bytes = 1 << 20
    """Of one request, also of its encoded block; as Go's servers have it."""
    max_header_frames = 1024
    """CONTINUATION frames of one block."""
    stream_window_bytes = 1 << 18
    connection_window_bytes = 16 << 20
    turn_bytes = 1 << 18
    """DATA that goes from the queues to the socket before others have their turn."""
    room_bytes = 1 << 20
    """DATA of small answers that may be given to the socket without a queue, and that it holds."""
    late_streams = 4096
    """Streams that we reset whose late frames are still dropped without an error."""
    resets = (10_000, 500.0)
    """Burst and rate per second of RST_STREAM: a client that gives up calls, not rapid reset."""
    settings = (200, 20.0)
    empty_frames = (2_000, 100.0)
    """DATA without data, and PRIORITY, which is obsolete."""
    refused = (2_000, 100.0)
    """Stream errors."""
    idle_frames = (20_000, 1_000.0)
    """WINDOW_UPDATE, ACKs, GOAWAY, frames of unknown types, and what comes late on a stream."""
    idle_frames_per_request = 20
    """Each request lets the client send so many more of them."""
    idle_frames_per_data = 10
    """And each DATA frame that he is sent."""
    idle_frames_per_byte = 1 / 512
    """And what is in it: he may give it back in small pieces."""
