"""grpc.health.v1: a server that answers is serving; only the server as a whole has a name, ""."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kvstore.proto import health_pb2
from kvstore.server.method import Call, Kind, Method
from kvstore.server.status import Code, StatusError

__all__ = ["HealthService"]

_STATUS = health_pb2.HealthCheckResponse


class HealthService:
    def methods(self) -> list[Method]:
        path = "/grpc.health.v1.Health/"
        check, answer = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        every, answers = health_pb2.HealthListRequest, health_pb2.HealthListResponse
        return [
            Method(path + "Check", Kind.UNARY, check, answer, self.check),
            Method(path + "List", Kind.UNARY, every, answers, self.list),
            Method(path + "Watch", Kind.SERVER_STREAM, check, answer, self.watch),
        ]

    def check(
        self, request: health_pb2.HealthCheckRequest, call: Call
    ) -> health_pb2.HealthCheckResponse:
        if request.service:
            raise StatusError(Code.NOT_FOUND, "unknown service")
        return _STATUS(status=_STATUS.SERVING)

    def list(
        self, request: health_pb2.HealthListRequest, call: Call
    ) -> health_pb2.HealthListResponse:
        return health_pb2.HealthListResponse(statuses={"": _STATUS(status=_STATUS.SERVING)})

    async def watch(
        self, request: health_pb2.HealthCheckRequest, call: Call
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now, then nothing: it only changes when the server goes away."""
        known = not request.service
        yield _STATUS(status=_STATUS.SERVING if known else _STATUS.SERVICE_UNKNOWN)
        await asyncio.Event().wait()
