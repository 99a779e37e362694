"""etcdserverpb.Auth of a store without authentication: it says so (etcd api/v3rpc/auth.go).

Clients with a user name log in first, and go on without a token when they are told that
authentication is not enabled. Of users and roles nothing is served.
"""

from __future__ import annotations

from typing import Final, NoReturn

from kvstore.proto import rpc_pb2
from kvstore.server.header import Headers
from kvstore.server.method import Call, Kind, Method
from kvstore.server.services.served import ServedStore
from kvstore.server.status import Code, StatusError

__all__ = ["AuthService"]

_NOT_ENABLED: Final = "etcdserver: authentication is not enabled"
_FIRST_REVISION: Final = 1
"""Of a store whose users and roles were never changed."""


class AuthService:
    def __init__(self, store: ServedStore, headers: Headers) -> None:
        self._store, self._headers = store, headers

    def methods(self) -> list[Method]:
        rpc, path = rpc_pb2, "/etcdserverpb.Auth/Auth"
        return [
            Method(
                path + "enticate",
                Kind.UNARY,
                rpc.AuthenticateRequest,
                rpc.AuthenticateResponse,
                self.authenticate,
            ),
            Method(
                path + "Status",
                Kind.UNARY,
                rpc.AuthStatusRequest,
                rpc.AuthStatusResponse,
                self.auth_status,
            ),
        ]

    def authenticate(self, request: rpc_pb2.AuthenticateRequest, call: Call) -> NoReturn:
        """Raises StatusError."""
        raise StatusError(Code.FAILED_PRECONDITION, _NOT_ENABLED)

    def auth_status(
        self, request: rpc_pb2.AuthStatusRequest, call: Call
    ) -> rpc_pb2.AuthStatusResponse:
        """The revision in the header is the store's, as for every call of Auth."""
        header = self._headers.message(self._store.revision)
        return rpc_pb2.AuthStatusResponse(header=header, authRevision=_FIRST_REVISION)
