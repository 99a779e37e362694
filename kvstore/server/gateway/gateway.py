"""From a request below /v3/ to the call of a method."""

from __future__ import annotations

from typing import Final

from kvstore.server.gateway.calls import UnaryCall, refuse
from kvstore.server.gateway.context import call_of, timeout_s_of
from kvstore.server.gateway.json_out import error_chunk
from kvstore.server.gateway.routes import ROUTES, STREAMS
from kvstore.server.gateway.streams import StreamCall
from kvstore.server.method import Kind, MethodTable, unknown_method
from kvstore.server.stats import CallStats
from kvstore.server.status import Code, Status, StatusError, status_of
from kvstore.server.transports.web.messages import Answer, Handler

__all__ = ["Gateway"]

_NOT_FOUND: Final = Status(Code.NOT_FOUND, "Not Found", 404)
_NOT_ALLOWED: Final = Status(Code.UNIMPLEMENTED, "Method Not Allowed", 501)
_FORM: Final = "application/x-www-form-urlencoded"


class Gateway:
    def __init__(self, methods: MethodTable, stats: CallStats, *, max_message_bytes: int) -> None:
        """`max_message_bytes` bounds a request as a message, whatever its JSON takes."""
        self._methods, self._stats = methods, stats
        self._max_message_bytes = max_message_bytes

    def begin(self, answer: Answer, path: str) -> Handler | None:
        """As Site.begin; `path` begins with /v3/."""
        route = ROUTES.get(path)
        if route is None or _verb(answer) != "POST":
            refuse(answer, _NOT_FOUND if route is None else _NOT_ALLOWED)
            return None
        method = self._methods.get(route)
        if method is None:
            self._refuse_unknown(answer, route)
            return None
        try:
            timeout_s, call = timeout_s_of(answer.request), call_of(answer.request)
        except StatusError as error:
            refuse(answer, status_of(error))
            return None
        kind = UnaryCall if method.kind is Kind.UNARY else StreamCall
        return kind(
            answer,
            method,
            call,
            self._stats.methods[route],
            timeout_s=timeout_s,
            max_message_bytes=self._max_message_bytes,
        )

    def _refuse_unknown(self, answer: Answer, route: str) -> None:
        self._stats.unknown(route)
        text = unknown_method(self._methods, route)
        status = status_of(StatusError(Code.UNIMPLEMENTED, text))
        if route in STREAMS:
            fields = [("Content-Type", "application/json")]
            answer.reply(status.http_status, fields, error_chunk(status))
        else:
            refuse(answer, status, has_trailer=True)


def _verb(answer: Answer) -> str:
    """A form that is posted may name another verb."""
    request = answer.request
    override = request.field("x-http-method-override")
    if override and request.method == "POST" and request.field("content-type") == _FORM:
        return override.upper()
    return request.method
