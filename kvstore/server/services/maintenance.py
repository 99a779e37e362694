"""etcdserverpb.Maintenance: what the member says of itself (etcd api/v3rpc/maintenance.go)."""

from __future__ import annotations

from typing import Final

from kvstore.proto import rpc_pb2
from kvstore.server.header import Headers
from kvstore.server.method import Call, Kind, Method
from kvstore.server.services.served import ServedStore, Settings

__all__ = ["API_VERSION", "STORAGE_VERSION", "MaintenanceService"]

API_VERSION: Final = "3.7.1"
"""The etcd version whose behaviour is offered; clients switch features on by it."""
STORAGE_VERSION: Final = "3.7.0"


class MaintenanceService:
    def __init__(self, store: ServedStore, headers: Headers, settings: Settings) -> None:
        self._store, self._headers, self._settings = store, headers, settings

    def methods(self) -> list[Method]:
        path = "/etcdserverpb.Maintenance/Status"
        request, response = rpc_pb2.StatusRequest, rpc_pb2.StatusResponse
        return [Method(path, Kind.UNARY, request, response, self.status)]

    def status(self, request: rpc_pb2.StatusRequest, call: Call) -> rpc_pb2.StatusResponse:
        """The only member is the leader; an index counts write requests, as raft's does."""
        status = self._store.status()
        return rpc_pb2.StatusResponse(
            header=self._headers.message(status.revision),
            version=API_VERSION,
            dbSize=status.db_size_bytes,
            leader=self._headers.member_id,
            raftIndex=status.write_index,
            raftTerm=self._headers.raft_term,
            raftAppliedIndex=status.write_index,
            dbSizeInUse=status.db_size_in_use_bytes,
            storageVersion=STORAGE_VERSION,
            dbSizeQuota=self._settings.quota_backend_bytes,
            downgradeInfo=rpc_pb2.DowngradeInfo(),
        )
