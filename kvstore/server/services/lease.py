"""etcdserverpb.Lease: grant, revoke, keep alive, time to live, list (etcd api/v3rpc/lease.go)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from kvstore.limits import KEEP_ALIVE_ANSWERS
from kvstore.proto import rpc_pb2
from kvstore.server import convert
from kvstore.server.header import Headers
from kvstore.server.method import Call, Hold, Kind, Method
from kvstore.server.services.served import ServedStore

__all__ = ["KeepAliveSession", "LeaseService"]


class LeaseService:
    def __init__(self, store: ServedStore, headers: Headers) -> None:
        self._store, self._headers = store, headers

    def methods(self) -> list[Method]:
        rpc, unary = rpc_pb2, Kind.UNARY
        path = "/etcdserverpb.Lease/Lease"
        return [
            Method(
                path + "Grant", unary, rpc.LeaseGrantRequest, rpc.LeaseGrantResponse, self.grant
            ),
            Method(
                path + "Revoke", unary, rpc.LeaseRevokeRequest, rpc.LeaseRevokeResponse, self.revoke
            ),
            Method(
                path + "KeepAlive",
                Kind.BIDI,
                rpc.LeaseKeepAliveRequest,
                rpc.LeaseKeepAliveResponse,
                self.keep_alive,
                session=self.session,
                once=self.keep_alive_once,
            ),
            Method(
                path + "TimeToLive",
                unary,
                rpc.LeaseTimeToLiveRequest,
                rpc.LeaseTimeToLiveResponse,
                self.time_to_live,
            ),
            Method(
                path + "Leases", unary, rpc.LeaseLeasesRequest, rpc.LeaseLeasesResponse, self.leases
            ),
        ]

    async def grant(
        self, request: rpc_pb2.LeaseGrantRequest, call: Call
    ) -> rpc_pb2.LeaseGrantResponse:
        lease = await self._store.lease_grant(request.TTL, request.ID)
        return rpc_pb2.LeaseGrantResponse(
            header=self._headers.message(lease.revision), ID=lease.id, TTL=lease.ttl_s
        )

    async def revoke(
        self, request: rpc_pb2.LeaseRevokeRequest, call: Call
    ) -> rpc_pb2.LeaseRevokeResponse:
        revision = await self._store.lease_revoke(request.ID)
        return rpc_pb2.LeaseRevokeResponse(header=self._headers.message(revision))

    async def keep_alive(
        self, requests: AsyncIterator[rpc_pb2.LeaseKeepAliveRequest], call: Call
    ) -> AsyncIterator[bytes]:
        """One answer for each request, in order; TTL 0 for a lease that is gone."""
        async for request in requests:
            yield await self.keep_alive_later(request.ID)

    async def keep_alive_later(self, lease_id: int) -> bytes:
        """One answer of `keep_alive`, which may have to wait."""
        revision = self._store.revision
        lease = await self._store.lease_keep_alive(lease_id)
        return self._kept_alive(revision, lease_id, lease.ttl_s)

    def _kept_alive(self, revision: int, lease_id: int, ttl_s: int) -> bytes:
        header = self._headers.encoded(revision)
        return header + convert.number(2, lease_id) + convert.number(3, ttl_s)

    def keep_alive_once(self, request: rpc_pb2.LeaseKeepAliveRequest) -> bytes | None:
        """One answer of `keep_alive`, unless it has to wait."""
        store, lease_id = self._store, request.ID
        revision, ttl_s = store.revision, store.lease_keep_alive_now(lease_id)
        return self._kept_alive(revision, lease_id, ttl_s) if ttl_s else None

    def session(self, call: Call, on_ready: Callable[[], None], hold: Hold) -> KeepAliveSession:
        """`keep_alive` without a task, for leases that need not be waited for."""
        return KeepAliveSession(self, on_ready)

    async def time_to_live(
        self, request: rpc_pb2.LeaseTimeToLiveRequest, call: Call
    ) -> rpc_pb2.LeaseTimeToLiveResponse:
        status = await self._store.lease_time_to_live(request.ID, keys=request.keys)
        return rpc_pb2.LeaseTimeToLiveResponse(
            header=self._headers.message(status.revision),
            ID=status.id,
            TTL=status.ttl_s,
            grantedTTL=status.granted_ttl_s,
            keys=status.keys,
        )

    async def leases(
        self, request: rpc_pb2.LeaseLeasesRequest, call: Call
    ) -> rpc_pb2.LeaseLeasesResponse:
        ids = await self._store.lease_leases()
        return rpc_pb2.LeaseLeasesResponse(
            header=self._headers.message(self._store.revision),
            leases=[rpc_pb2.LeaseStatus(ID=lease_id) for lease_id in ids],
        )


class KeepAliveSession:
    """Implements Session: one answer for each request, in order.

    A lease whose time is up is revoked before it is said to be gone, and one that was just granted
    is not durable yet: a task waits for these, and all requests after them wait with it.
    """

    __slots__ = (
        "_answers",
        "_error",
        "_has_ended",
        "_on_ready",
        "_service",
        "_slow",
        "_task",
    )

    def __init__(self, service: LeaseService, on_ready: Callable[[], None]) -> None:
        self._service, self._on_ready = service, on_ready
        self._answers: deque[bytes] = deque()
        self._slow: deque[int] | None = None
        """Ids that the task is about; None while there is no task."""
        self._task: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self._has_ended = False

    def receive(self, request: rpc_pb2.LeaseKeepAliveRequest) -> None:
        if self._slow is None:
            answer = self._service.keep_alive_once(request)
            if answer is not None:
                self._answers.append(answer)
                self._on_ready()
                return
            self._slow = deque()
            self._task = asyncio.get_running_loop().create_task(self._wait(self._slow))
        self._slow.append(request.ID)

    async def _wait(self, slow: deque[int]) -> None:
        try:
            while slow:
                answer = await self._service.keep_alive_later(slow[0])
                slow.popleft()
                self._answers.append(answer)
                self._on_ready()
            self._slow = self._task = None
        except Exception as error:
            self._error = error
            self._on_ready()

    def pull(self) -> bytes | None:
        """The next response; None for none now. Raises what keeping alive raised."""
        if self._answers:
            return self._answers.popleft()
        if self._error is not None:
            raise self._error
        return None

    @property
    def room(self) -> int:
        return KEEP_ALIVE_ANSWERS - len(self._answers) - (len(self._slow) if self._slow else 0)

    is_spent = False

    @property
    def has_work(self) -> bool:
        return bool(self._answers) or self._error is not None

    def end(self) -> None:
        self._has_ended = True
        self._on_ready()

    @property
    def is_over(self) -> bool:
        return self._has_ended and not (self._slow or self.has_work)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
