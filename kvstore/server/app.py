"""The composition root: configuration -> backend -> identity -> store -> services -> transport.

The addresses are taken first, so that a taken port is known before the data is touched; a client
that comes early waits. A stop goes the other way round: no new calls, streams ended, unary calls
finished, the store closed.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from kvstore.backend import open_backend
from kvstore.server.autocompact import AutoCompactor, PeriodicPlan, Plan, RevisionPlan
from kvstore.server.config import Config
from kvstore.server.config.urls import Url
from kvstore.server.header import Headers
from kvstore.server.http_side import HttpSide
from kvstore.server.log import configure_logging
from kvstore.server.services import Settings, build_methods
from kvstore.server.services.maintenance import API_VERSION
from kvstore.server.stats import CallStats
from kvstore.server.surroundings import permission_warnings, raise_file_limit
from kvstore.server.systemd import READY, STOPPING, notify
from kvstore.server.transports.interface import Face, Transport
from kvstore.server.transports.native.transport import NativeTransport
from kvstore.store.aio import LoopStore
from kvstore.store.identity import Identity, load_identity
from kvstore.store.options import StoreOptions

if TYPE_CHECKING:
    from kvstore.server.recording import CallRecord
    from kvstore.server.tls import ServerTls

__all__ = ["Server", "run", "serve"]

_log = logging.getLogger(__name__)

DRAIN_GRACE_S = 5.0
"""How long a stopping server waits for unary calls."""


class Server:
    """A server that takes calls, until `stop`. Made by `start`."""

    def __init__(
        self,
        config: Config,
        store: LoopStore,
        transports: Iterable[Transport],
        compactor: asyncio.Task[None] | None,
    ) -> None:
        self.config = config
        self.store = store
        self._transports, self._compactor = transports, compactor

    @classmethod
    async def start(cls, config: Config) -> Server:
        """Open everything; `config.client_urls` of the result are what was bound.

        Raises ConfigError for certificates that cannot be used, OpenError when the data cannot be
        opened, OSError when an address cannot be had; then nothing is left open.
        """
        client, native = _transports(config)
        try:
            face = Face.GRPC if config.client_http_urls else Face.CLIENT
            config = config.bound([client.bind(url, face) for url in config.client_urls])
            config = replace(
                config,
                client_http_urls=_bind(native, config.client_http_urls, Face.HTTP),
                metrics_urls=_bind(native, config.metrics_urls, Face.METRICS),
            )
            store, identity = await _open_store(config)
            try:
                headers = Headers(identity.cluster_id, identity.member_id, identity.raft_term)
                methods = build_methods(store, headers, _settings(config))
                stats = CallStats(methods, timed=config.metrics == "extensive")
                record = _record(config)
                if record is not None:
                    methods, stats.unknown = record.wrapped(methods), record.unknown
                pages = HttpSide(config, store, headers, methods, stats, record)
                for transport in {client, native}:
                    await transport.start(methods, stats, pages)
                store.tell_by(native.together)
            except BaseException:
                await store.close()
                raise
        except BaseException:
            await _drain((client, native), 0)
            raise
        plan = compaction_plan(config, time.monotonic())
        compactor = asyncio.create_task(AutoCompactor(store, plan).run()) if plan else None
        return cls(config, store, (client, native), compactor)

    @property
    def urls(self) -> list[str]:
        """Where clients are served, with the ports really bound."""
        return [str(url) for url in self.config.client_urls]

    async def stop(self, grace_s: float = DRAIN_GRACE_S) -> None:
        if self._compactor is not None:
            self._compactor.cancel()
            await asyncio.wait([self._compactor])
        await _drain(self._transports, grace_s)
        await self.store.close()

    def __repr__(self) -> str:
        return f"<Server {self.config.name} on {', '.join(self.urls)}>"


async def serve(
    config: Config,
    stop: Callable[[], Awaitable[object]],
    ready: Callable[[Server], None] = lambda server: None,
) -> None:
    """Serve until `stop()` is done; `ready` is told when clients are served.

    Raises as `Server.start`.
    """
    for warning in (*config.warnings, *permission_warnings(config.data_dir)):
        _log.warning("%s", warning)
    server = await Server.start(config)
    try:
        _log.info("serving client requests on %s", ", ".join(server.urls))
        for face, urls in (
            (Face.HTTP, server.config.client_http_urls),
            (Face.METRICS, server.config.metrics_urls),
        ):
            if urls:
                _log.info("serving %s on %s", face.value, ", ".join(map(str, urls)))
        _log.info("ready to serve client requests")
        ready(server)
        await stop()
    finally:
        _log.info("stopping")
        await server.stop()
        _log.info("stopped")


def run(config: Config) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status, 0. Raises as `Server.start`."""
    configure_logging(config)
    raise_file_limit()
    asyncio.run(_serve_until_signal(config))
    return 0


async def _serve_until_signal(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_for(name: str) -> None:
        _log.info("received %s", name)
        notify(STOPPING)
        stop.set()

    def ignore(name: str) -> None:
        _log.info("received %s: ignored", name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_for, number.name)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, ignore, number.name)
    await serve(config, stop.wait, _on_ready)


def _on_ready(server: Server) -> None:
    notify(READY)
    _calm_collector()


def _calm_collector() -> None:
    """Let the garbage collector stop the loop less often, and not look at what was loaded.

    A full collection looks at every key that has a history, 0.2 s for a million of them, and finds
    nothing: cycles are made at most with a connection.
    """
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def compaction_plan(config: Config, now_s: float) -> Plan | None:
    """The plan that the configuration asks for; None keeps everything."""
    if config.auto_compaction_mode == "revision":
        retention = config.auto_compaction_retention_revisions
        return RevisionPlan(retention, now_s) if retention else None
    period_s = config.auto_compaction_retention_s
    return PeriodicPlan(period_s, now_s) if period_s else None


def _bind(transport: Transport, urls: Iterable[Url], face: Face) -> tuple[Url, ...]:
    """The URLs with the ports really bound."""
    ports = [(url, transport.bind(url, face)) for url in urls]
    return tuple(url if url.is_unix else url._replace(port=port) for url, port in ports)


async def _drain(transports: Iterable[Transport], grace_s: float) -> None:
    await asyncio.gather(*(transport.drain(grace_s) for transport in set(transports)))


def _transports(config: Config) -> tuple[Transport, NativeTransport]:
    """What serves the client URLs, and what the URLs of HTTP alone: one and the same if it can."""
    native = NativeTransport(
        max_message_bytes=_settings(config).max_message_bytes,
        max_streams=config.max_concurrent_streams,
        min_ping_interval_s=config.grpc_keepalive_min_time_s,
        ping_interval_s=config.grpc_keepalive_interval_s,
        ping_timeout_s=config.grpc_keepalive_timeout_s,
        reuse_port=config.socket_reuse_port,
        tls=_tls(config),
    )
    return (_grpcio(config) if config.transport == "grpcio" else native), native


def _grpcio(config: Config) -> Transport:
    from kvstore.server.transports.grpc_aio import GrpcTransport  # nobody else waits for grpcio

    return GrpcTransport(
        max_message_bytes=_settings(config).max_message_bytes,
        max_streams=config.max_concurrent_streams,
        ping_interval_s=config.grpc_keepalive_interval_s,
        ping_timeout_s=config.grpc_keepalive_timeout_s,
        reuse_port=config.socket_reuse_port,
    )


def _tls(config: Config) -> ServerTls | None:
    """What secure URLs need; None, and nothing read, without one."""
    urls = (*config.client_urls, *config.client_http_urls, *config.metrics_urls)
    if not any(url.is_secure for url in urls):
        return None
    from kvstore.server.tls import server_tls  # the start of a plain server does not wait for it

    return server_tls(config.tls, urls, config.data_dir)


async def _open_store(config: Config) -> tuple[LoopStore, Identity]:
    path = ":memory:" if config.in_memory else config.data_dir
    backend = open_backend(path, fsync=not config.unsafe_no_fsync)
    try:
        identity = load_identity(backend, member_id=config.member_id, cluster_id=config.cluster_id)
        store = await LoopStore.open(backend, options=_store_options(config))
    except BaseException:
        backend.close()
        raise
    _log.info(
        "member %x of cluster %x, raft term %d, revision %d, data in %s, etcd API %s",
        identity.member_id,
        identity.cluster_id,
        identity.raft_term,
        store.revision,
        path,
        API_VERSION,
    )
    return store, identity


def _store_options(config: Config) -> StoreOptions:
    return StoreOptions(
        max_txn_ops=config.max_txn_ops,
        max_request_bytes=config.max_request_bytes,
        min_lease_ttl_s=config.min_lease_ttl_s,
        progress_notify_interval_s=config.watch_progress_notify_interval_s,
        compaction_batch_limit=config.compaction_batch_limit_keys,
        compaction_sleep_s=config.compaction_sleep_interval_s,
    )


def _record(config: Config) -> CallRecord | None:
    if not config.debug_record_calls:
        return None
    from kvstore.server.recording import CallRecord  # a server without it does not wait for it

    return CallRecord()


def _settings(config: Config) -> Settings:
    return Settings(
        name=config.name,
        peer_urls=config.peer_urls,
        client_urls=config.advertise_client_urls,
        max_request_bytes=config.max_request_bytes,
        max_txn_ops=config.max_txn_ops,
        quota_backend_bytes=config.quota_backend_bytes,
    )
