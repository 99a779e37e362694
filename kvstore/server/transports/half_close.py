"""The end of what we say on a connection, while the client may still be talking."""

from __future__ import annotations

import asyncio

__all__ = ["half_close"]


def half_close(transport: asyncio.Transport) -> None:
    """Tell the client that nothing more comes, after what was written.

    asyncio lets the error out when the client has reset the connection and the loop has not seen
    that yet. There is nobody left to tell then: `connection_lost` comes as for any lost one.
    """
    try:
        transport.write_eof()
    except OSError:
        transport.abort()
