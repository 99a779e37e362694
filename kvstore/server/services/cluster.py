"""etcdserverpb.Cluster: the list of the one member (etcd api/v3rpc/member.go)."""

from __future__ import annotations

from kvstore.proto import rpc_pb2
from kvstore.server.header import Headers
from kvstore.server.method import Call, Kind, Method
from kvstore.server.services.served import Settings

__all__ = ["ClusterService"]


class ClusterService:
    def __init__(self, headers: Headers, settings: Settings) -> None:
        self._headers, self._settings = headers, settings

    def methods(self) -> list[Method]:
        path = "/etcdserverpb.Cluster/MemberList"
        request, response = rpc_pb2.MemberListRequest, rpc_pb2.MemberListResponse
        return [Method(path, Kind.UNARY, request, response, self.member_list)]

    def member_list(
        self, request: rpc_pb2.MemberListRequest, call: Call
    ) -> rpc_pb2.MemberListResponse:
        """The header of every cluster call has no revision."""
        member = rpc_pb2.Member(
            ID=self._headers.member_id,
            name=self._settings.name,
            peerURLs=self._settings.peer_urls,
            clientURLs=self._settings.client_urls,
        )
        return rpc_pb2.MemberListResponse(header=self._headers.message(0), members=[member])
