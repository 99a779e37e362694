"""What a peer did wrong: to the whole connection, or to one stream (RFC 9113, section 5.4)."""

from __future__ import annotations

from kvstore.server.transports.http2.frames import ErrorCode

__all__ = ["ConnectionFault", "StreamFault"]


class ConnectionFault(Exception):
    """The connection ends with a GOAWAY of `code`; `text` is its debug data."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text

    def __str__(self) -> str:
        return f"{self.code.name}: {self.text}"


class StreamFault(Exception):
    """One stream ends with a RST_STREAM of `code`; the connection goes on."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text
