"""The page that envtest and the like poll on the address of the gRPC calls, over HTTP/1.1."""

from __future__ import annotations

import http.client
import json

import pytest

from tests.kubernetes_contract.conftest import Server
from tests.kubernetes_contract.storage import PATIENCE_S, Storage

# Not the grpcio transport, which speaks HTTP/2 alone.
pytestmark = pytest.mark.parametrize("server", ["native", "etcd34", "etcd37"], indirect=True)


def test_page_and_calls_are_served_at_one_address(
    server: Server, storage: Storage, prefix: bytes
) -> None:
    written = storage.create(prefix + b"a")
    connection = http.client.HTTPConnection(server.target, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["health"] == "true"
    finally:
        connection.close()
    assert written == storage.revision()
