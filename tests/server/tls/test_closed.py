"""A connection that is closed leaves nothing that only the collector of cycles takes away."""

from __future__ import annotations

import asyncio
import gc
from asyncio.sslproto import SSLProtocol

from kvstore.backend import open_backend
from kvstore.server.config.urls import parse_urls
from kvstore.server.header import Headers
from kvstore.server.services import build_methods
from kvstore.server.services.served import Settings
from kvstore.server.stats import CallStats
from kvstore.server.tls import server_tls
from kvstore.server.transports.native.transport import NativeTransport
from kvstore.store.aio import LoopStore
from tests.server.tls.conftest import Configure
from tests.server.tls.greeting import greet
from tests.support.certificates import Authority, client_context


def held() -> int:
    """TLS connections that this process has in memory: 256 KiB each."""
    return sum(isinstance(each, SSLProtocol) for each in gc.get_objects())


def test_the_buffers_of_tls_go_with_the_connection(
    authority: Authority, configure: Configure
) -> None:
    """200 clients that had left kept 55 MB, until the collector came to the oldest objects."""

    async def test() -> None:
        store = await LoopStore.open(open_backend(":memory:"))
        methods = build_methods(store, Headers(1, 2, 3), Settings())
        transport = NativeTransport(max_message_bytes=1 << 20, tls=server_tls(configure(), (), ""))
        port = transport.bind(parse_urls("https://127.0.0.1:0")[0])
        stats = CallStats(methods)
        await transport.start(methods, stats)
        context = client_context(authority)
        context.set_alpn_protocols(["h2"])
        for _ in range(3):
            assert (await asyncio.to_thread(greet, port, context)).is_served
        async with asyncio.timeout(10):
            while held():  # noqa: ASYNC110  # each turn of the loop is one to look at
                await asyncio.sleep(0)
        await transport.drain(0.0)
        await store.close()

    gc.collect()
    gc.disable()
    try:
        asyncio.run(test())
    finally:
        gc.enable()
