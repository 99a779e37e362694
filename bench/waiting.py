"""Reads one key again and again until stdin ends, then says how long the longest read took, in s.

python -m bench.waiting HOST:PORT
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time

from kvstore.bench.awaited import connect, unary
from kvstore.bench.http2 import Method
from kvstore.client.messages import range_request
from kvstore.keys import KeyRange
from kvstore.types import RangeOp

__all__ = ["main"]

_PAUSE_S = 0.001
"""Between two reads, so that waiting does not cost the server a core."""


async def main(target: str) -> float:
    """Seconds."""
    connection = await connect(target)
    request = range_request(RangeOp(KeyRange(b"waiting"))).SerializeToString()
    range_method = Method("/etcdserverpb.KV/Range")
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    longest_s = 0.0
    await unary(connection, range_method, request)
    print("ready", flush=True)
    while not ended.is_set():
        begin = time.monotonic()
        await unary(connection, range_method, request)
        longest_s = max(longest_s, time.monotonic() - begin)
        await asyncio.sleep(_PAUSE_S)
    connection.close()
    return longest_s


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])))
