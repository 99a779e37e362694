"""The certificate of --auto-tls."""

from __future__ import annotations

import ipaddress
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from kvstore.server.config import ConfigError, TlsConfig, Url, parse_config
from kvstore.server.tls import server_tls
from tests.server.tls.greeting import greet, serving
from tests.support.certificates import Authority, client_context

URLS = (Url("https", "127.0.0.1", 0), Url("https", "localhost", 0), Url("unixs", "s", 0))


@pytest.fixture
def config() -> TlsConfig:
    return parse_config(["--auto-tls", "--self-signed-cert-validity=3"]).tls


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "fixtures" / "client"


def read(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "cert.pem").read_bytes())


class TestMade:
    def test_it_lies_where_etcd_has_it_and_the_key_is_private(
        self, config: TlsConfig, tmp_path: Path, directory: Path
    ) -> None:
        server_tls(config, URLS, str(tmp_path))
        assert sorted(path.name for path in directory.iterdir()) == ["cert.pem", "key.pem"]
        assert stat.S_IMODE((directory / "key.pem").stat().st_mode) == 0o600

    def test_it_is_valid_for_the_hosts_and_the_years(
        self, config: TlsConfig, tmp_path: Path, directory: Path
    ) -> None:
        server_tls(config, URLS, str(tmp_path))
        certificate = read(directory)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["localhost"]
        assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
        left = certificate.not_valid_after_utc - datetime.now(UTC)
        assert timedelta(days=3 * 365 - 1) < left <= timedelta(days=3 * 365)

    def test_a_client_can_trust_this_one_certificate(
        self, config: TlsConfig, tmp_path: Path, directory: Path
    ) -> None:
        with serving(server_tls(config, URLS, str(tmp_path))) as server:
            context = client_context(None)
            context.check_hostname = True
            context.load_verify_locations(directory / "cert.pem")
            assert greet(server.port, context).is_served

    def test_without_a_data_directory_nothing_is_left_behind(
        self, config: TlsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with serving(server_tls(config, URLS, "")) as server:
            assert list(tmp_path.iterdir()) == []
            assert greet(server.port, client_context(None)).is_served

    def test_a_directory_that_cannot_be_made_is_said(
        self, config: TlsConfig, tmp_path: Path
    ) -> None:
        (tmp_path / "fixtures").write_text("")
        with pytest.raises(ConfigError, match=r"^--auto-tls: .*: Not a directory$"):
            server_tls(config, URLS, str(tmp_path))


class TestKept:
    def test_a_good_one_is_used_again(
        self, config: TlsConfig, tmp_path: Path, directory: Path
    ) -> None:
        server_tls(config, URLS, str(tmp_path))
        first = read(directory)
        server_tls(config, URLS, str(tmp_path))
        assert read(directory) == first

    def test_an_expired_one_is_made_again(
        self, config: TlsConfig, tmp_path: Path, directory: Path
    ) -> None:
        directory.mkdir(parents=True)
        old = Authority(tmp_path, "ca").issue(
            "old", start=timedelta(days=-2), end=timedelta(days=-1)
        )
        old.cert_file.rename(directory / "cert.pem")
        old.key_file.rename(directory / "key.pem")
        server_tls(config, URLS, str(tmp_path))
        assert read(directory) != old.certificate
        assert read(directory).not_valid_after_utc > datetime.now(UTC)

    def test_so_is_one_without_its_key(
        self, config: TlsConfig, tmp_path: Path, directory: Path
    ) -> None:
        server_tls(config, URLS, str(tmp_path))
        first = read(directory)
        (directory / "key.pem").write_text("torn")
        server_tls(config, URLS, str(tmp_path))
        assert read(directory) != first
