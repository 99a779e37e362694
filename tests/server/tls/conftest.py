"""An authority for the tests of TLS, and the configuration that uses its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kvstore.server.config import TlsConfig, parse_config
from tests.support.certificates import Authority, Issued

Configure = Callable[..., TlsConfig]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


@pytest.fixture
def server_pair(authority: Authority) -> Issued:
    return authority.issue("server", addresses=["127.0.0.1"])


@pytest.fixture
def client_pair(authority: Authority) -> Issued:
    return authority.issue("client", names=["client.test"], common_name="alice")


@pytest.fixture
def configure(server_pair: Issued) -> Configure:
    """Makes the configuration of the server's files and further flags."""

    def make(*flags: str) -> TlsConfig:
        files = [f"--cert-file={server_pair.cert_file}", f"--key-file={server_pair.key_file}"]
        return parse_config([*files, *flags]).tls

    return make
