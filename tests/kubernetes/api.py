"""A small client of the Kubernetes API that shows everything: statuses, pages, watch events.

kubectl hides conflicts, pages and expired revisions behind retries; the proofs need to see them.

    api = ApiClient(port, context)
    api.post("/api/v1/namespaces", {"metadata": {"name": "a"}})
    api.get("/api/v1/namespaces/a")["metadata"]["resourceVersion"]
    with api.watch("/api/v1/configmaps", resourceVersion="0") as watch:
        watch.next()["type"]

A call opens a connection of its own, so that nothing is left over from a server that was restarted.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

__all__ = ["APPLY", "JSON_PATCH", "MERGE_PATCH", "ApiClient", "ApiError", "Watch", "eventually"]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"

_Found = TypeVar("_Found")


class ApiError(Exception):
    """The API server refused a call; `body` is its Status object, or the text of its answer."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body

    @property
    def reason(self) -> str:
        """`Conflict`, `Expired`, `NotFound`, ...; empty when the answer was no Status."""
        return self.body.get("reason", "") if isinstance(self.body, dict) else ""


class ApiClient:
    """Calls the API server at `port` of the loopback as whoever `context` has a certificate of.

    Every method returns the decoded object, or the text where the answer is not JSON. They raise
    ApiError for a status of 400 and more, and OSError or http.client.HTTPException when there was
    no whole answer.
    """

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.port, self._context = port, context

    def __repr__(self) -> str:
        return f"<ApiClient 127.0.0.1:{self.port}>"

    def get(self, path: str, **params: object) -> Any:
        return self.call("GET", _with(path, params))

    def post(self, path: str, body: object, **params: object) -> Any:
        return self.call("POST", _with(path, params), body)

    def put(self, path: str, body: object, **params: object) -> Any:
        return self.call("PUT", _with(path, params), body)

    def patch(self, path: str, body: object, content_type: str, **params: object) -> Any:
        """`content_type` is MERGE_PATCH, JSON_PATCH or APPLY; APPLY needs `fieldManager`."""
        return self.call("PATCH", _with(path, params), body, content_type)

    def delete(self, path: str, body: object = None, **params: object) -> Any:
        return self.call("DELETE", _with(path, params), body)

    def call(
        self,
        method: str,
        target: str,
        body: object = None,
        content_type: str = "application/json",
        timeout_s: float = 60.0,
    ) -> Any:
        connection = self._connect(timeout_s)
        try:
            data = None if body is None else json.dumps(body)
            headers = {"Content-Type": content_type, "Accept": "application/json"}
            connection.request(method, target, data, headers)
            return _decoded(connection.getresponse())
        finally:
            connection.close()

    def pages(self, path: str, limit: int, **params: object) -> Iterator[Any]:
        """The lists that make up a collection, `limit` objects each."""
        page = self.get(path, limit=limit, **params)
        yield page
        while token := page["metadata"].get("continue"):
            page = self.get(path, limit=limit, **{**params, "continue": token})
            yield page

    def watch(self, path: str, timeout_s: float = 60.0, **params: object) -> Watch:
        """Events of a collection; `timeout_s` is how long `next` waits for one at most."""
        connection = self._connect(timeout_s)
        try:
            connection.request("GET", _with(path, {"watch": "1", **params}))
            response = connection.getresponse()
            if response.status >= 400:
                _decoded(response)
        except BaseException:
            connection.close()
            raise
        return Watch(connection, response)

    def _connect(self, timeout_s: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=timeout_s, context=self._context
        )


class Watch:
    """An open watch: `next()` is the next event, None at the end of the stream.

    An event is a dict of `type` (ADDED, MODIFIED, DELETED, BOOKMARK, ERROR) and `object`. An
    expired revision comes as an event ERROR whose object is a Status of code 410.
    """

    def __init__(
        self, connection: http.client.HTTPSConnection, response: http.client.HTTPResponse
    ) -> None:
        self._connection, self._response = connection, response

    def next(self) -> Any:
        """Raises TimeoutError when nothing comes in time: the watch is of no use afterwards."""
        line = self._response.readline()
        return json.loads(line) if line else None

    def until(self, *, name: str, event: str = "ADDED") -> list[Any]:
        """The events up to the first one of this type for the object `name`, that included."""
        seen: list[Any] = []
        while True:
            found = self.next()
            assert found is not None, f"the watch ended before {event} of {name}: {seen}"
            seen.append(found)
            if found["type"] == event and found["object"]["metadata"].get("name") == name:
                return seen

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def eventually(probe: Callable[[], _Found], what: str, timeout_s: float = 60.0) -> _Found:
    """What `probe` returns once that is true, asked again until then.

    No connection, half an answer, and ApiError (the API server is not ready, something is not
    there) count as not yet. Fails the test with the last of these when time is up.
    """
    deadline_monotonic_s = time.monotonic() + timeout_s
    last: object = None
    while time.monotonic() < deadline_monotonic_s:
        try:
            found = probe()
            if found:
                return found
            last = found
        except (OSError, http.client.HTTPException, ApiError) as failure:
            last = failure
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_s} s: {what}; last: {last!r}")


def _with(path: str, params: dict[str, Any]) -> str:
    return f"{path}?{urlencode(params)}" if params else path


def _decoded(response: http.client.HTTPResponse) -> Any:
    text = response.read().decode()
    is_json = response.headers.get_content_type() == "application/json"
    body = json.loads(text) if is_json else text
    if response.status >= 400:
        raise ApiError(response.status, body)
    return body
