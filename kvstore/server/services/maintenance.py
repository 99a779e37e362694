"""etcdserverpb.Maintenance: what the member says of itself (etcd api/v3rpc/maintenance.go)."""

from __future__ import annotations

from typing import Final

from kvstore.proto import rpc_pb2
from kvstore.server.header import Headers
from kvstore.server.method import Call, Kind, Method
from kvstore.server.services.served import ServedStore, Settings
from kvstore.server.status import Code, StatusError

__all__ = ["API_VERSION", "STORAGE_VERSION", "MaintenanceService"]

API_VERSION: Final = "3.7.1"
"""The etcd version whose behaviour is offered; clients switch features on by it."""
STORAGE_VERSION: Final = "3.7.0"

_NO_ALARMS: Final = "unknown method Alarm for service etcdserverpb.Maintenance"
"""What raising and clearing one is answered with, as if there were no such method."""


class MaintenanceService:
    def __init__(self, store: ServedStore, headers: Headers, settings: Settings) -> None:
        self._store, self._headers, self._settings = store, headers, settings

    def methods(self) -> list[Method]:
        rpc, unary = rpc_pb2, Kind.UNARY
        path = "/etcdserverpb.Maintenance/"
        return [
            Method(path + "Status", unary, rpc.StatusRequest, rpc.StatusResponse, self.status),
            Method(path + "Alarm", unary, rpc.AlarmRequest, rpc.AlarmResponse, self.alarm),
        ]

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

    def alarm(self, request: rpc_pb2.AlarmRequest, call: Call) -> rpc_pb2.AlarmResponse:
        """The list of alarms, of whatever kind, is empty; `etcdctl endpoint health` asks for it.

        Raises StatusError for the other actions.
        """
        if request.action != rpc_pb2.AlarmRequest.GET:
            raise StatusError(Code.UNIMPLEMENTED, _NO_ALARMS)
        return rpc_pb2.AlarmResponse(header=self._headers.message(self._store.revision))
