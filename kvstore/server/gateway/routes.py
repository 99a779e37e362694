"""Which path of the gateway is which method (the http options of etcd's rpc.proto)."""

from __future__ import annotations

from typing import Final

__all__ = ["ROUTES", "STREAMS"]

_KV: Final = "/etcdserverpb.KV/"
_LEASE: Final = "/etcdserverpb.Lease/Lease"
_CLUSTER: Final = "/etcdserverpb.Cluster/Member"
_MAINTENANCE: Final = "/etcdserverpb.Maintenance/"
_AUTH: Final = "/etcdserverpb.Auth/"
_LOCK: Final = "/v3lockpb.Lock/"
_ELECTION: Final = "/v3electionpb.Election/"

ROUTES: Final[dict[str, str]] = {
    "/v3/kv/range": _KV + "Range",
    "/v3/kv/put": _KV + "Put",
    "/v3/kv/deleterange": _KV + "DeleteRange",
    "/v3/kv/txn": _KV + "Txn",
    "/v3/kv/compaction": _KV + "Compact",
    "/v3/watch": "/etcdserverpb.Watch/Watch",
    "/v3/lease/grant": _LEASE + "Grant",
    "/v3/lease/revoke": _LEASE + "Revoke",
    "/v3/kv/lease/revoke": _LEASE + "Revoke",
    "/v3/lease/keepalive": _LEASE + "KeepAlive",
    "/v3/lease/timetolive": _LEASE + "TimeToLive",
    "/v3/kv/lease/timetolive": _LEASE + "TimeToLive",
    "/v3/lease/leases": _LEASE + "Leases",
    "/v3/kv/lease/leases": _LEASE + "Leases",
    "/v3/cluster/member/add": _CLUSTER + "Add",
    "/v3/cluster/member/remove": _CLUSTER + "Remove",
    "/v3/cluster/member/update": _CLUSTER + "Update",
    "/v3/cluster/member/list": _CLUSTER + "List",
    "/v3/cluster/member/promote": _CLUSTER + "Promote",
    "/v3/maintenance/alarm": _MAINTENANCE + "Alarm",
    "/v3/maintenance/status": _MAINTENANCE + "Status",
    "/v3/maintenance/defragment": _MAINTENANCE + "Defragment",
    "/v3/maintenance/hash": _MAINTENANCE + "Hash",
    "/v3/maintenance/hashkv": _MAINTENANCE + "HashKV",
    "/v3/maintenance/snapshot": _MAINTENANCE + "Snapshot",
    "/v3/maintenance/transfer-leadership": _MAINTENANCE + "MoveLeader",
    "/v3/maintenance/downgrade": _MAINTENANCE + "Downgrade",
    "/v3/auth/enable": _AUTH + "AuthEnable",
    "/v3/auth/disable": _AUTH + "AuthDisable",
    "/v3/auth/status": _AUTH + "AuthStatus",
    "/v3/auth/authenticate": _AUTH + "Authenticate",
    "/v3/auth/user/add": _AUTH + "UserAdd",
    "/v3/auth/user/get": _AUTH + "UserGet",
    "/v3/auth/user/list": _AUTH + "UserList",
    "/v3/auth/user/delete": _AUTH + "UserDelete",
    "/v3/auth/user/changepw": _AUTH + "UserChangePassword",
    "/v3/auth/user/grant": _AUTH + "UserGrantRole",
    "/v3/auth/user/revoke": _AUTH + "UserRevokeRole",
    "/v3/auth/role/add": _AUTH + "RoleAdd",
    "/v3/auth/role/get": _AUTH + "RoleGet",
    "/v3/auth/role/list": _AUTH + "RoleList",
    "/v3/auth/role/delete": _AUTH + "RoleDelete",
    "/v3/auth/role/grant": _AUTH + "RoleGrantPermission",
    "/v3/auth/role/revoke": _AUTH + "RoleRevokePermission",
    "/v3/lock/lock": _LOCK + "Lock",
    "/v3/lock/unlock": _LOCK + "Unlock",
    "/v3/election/campaign": _ELECTION + "Campaign",
    "/v3/election/proclaim": _ELECTION + "Proclaim",
    "/v3/election/leader": _ELECTION + "Leader",
    "/v3/election/observe": _ELECTION + "Observe",
    "/v3/election/resign": _ELECTION + "Resign",
}
"""path of the gateway -> path of the method."""

STREAMS: Final = frozenset({_MAINTENANCE + "Snapshot", _ELECTION + "Observe"})
"""Methods whose answers are a stream also when they are refused for not being there."""
