"""etcdserverpb.Lease: grant, revoke, keep alive, time to live, list (etcd api/v3rpc/lease.go)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from kvstore.proto import rpc_pb2
from kvstore.server.header import Headers
from kvstore.server.method import Call, Kind, Method
from kvstore.server.services.served import ServedStore

__all__ = ["LeaseService"]


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
    ) -> AsyncIterator[rpc_pb2.LeaseKeepAliveResponse]:
        """One answer for each request, in order; TTL 0 for a lease that is gone."""
        async for request in requests:
            header = self._headers.message(self._store.revision)
            lease = await self._store.lease_keep_alive(request.ID)
            yield rpc_pb2.LeaseKeepAliveResponse(header=header, ID=request.ID, TTL=lease.ttl_s)

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
