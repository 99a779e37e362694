"""Endpoints with TLS: the right certificates work, each wrong one is a sentence."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kvstore.bench import EndpointError, Options, run
from kvstore.bench.endpoint import Tls
from tests.bench_tool.fake_server import FakeConnection, serving

pytestmark = pytest.mark.slow


def ok(connection: FakeConnection, stream: int) -> None:
    connection.ok(stream)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem signs server.pem (for 127.0.0.1) and client.pem; other.pem is a CA of its own."""
    place = tmp_path_factory.mktemp("pki")
    ca = _make(place, "ca", None, is_ca=True)
    _make(place, "other", None, is_ca=True)
    _make(place, "server", ca)
    _make(place, "client", ca)
    return place


Signer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _make(place: Path, name: str, signer: Signer | None, *, is_ca: bool = False) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(signer[1] if signer else key, hashes.SHA256())
    )
    (place / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (place / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, key


def server_context(pki: Path, *, alpn: bool = True, client_ca: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.pem", pki / "server.key")
    if alpn:
        context.set_alpn_protocols(["h2"])
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pki / "ca.pem")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def load(target: str, tls: Tls) -> int:
    return run("put", target, Options(total=20, conns=1, tls=tls)).main.count


class TestTls:
    def test_a_server_of_the_ca_is_loaded(self, pki: Path) -> None:
        with serving(ok, tls=server_context(pki)) as server:
            assert load(f"https://{server.target}", Tls(cacert=str(pki / "ca.pem"))) == 20
            assert {fields[":scheme"] for fields in server.fields} == {"https"}

    def test_without_a_scheme_the_files_say_that_it_is_tls(self, pki: Path) -> None:
        with serving(ok, tls=server_context(pki)) as server:
            assert load(server.target, Tls(cacert=str(pki / "ca.pem"))) == 20

    def test_an_unknown_ca_is_refused(self, pki: Path) -> None:
        tls = Tls(cacert=str(pki / "other.pem"))
        with (
            serving(ok, tls=server_context(pki)) as server,
            pytest.raises(EndpointError, match="its certificate is not accepted"),
        ):
            load(server.target, tls)

    def test_unless_it_is_not_to_be_verified(self, pki: Path) -> None:
        with serving(ok, tls=server_context(pki)) as server:
            assert load(server.target, Tls(insecure_skip_verify=True)) == 20

    def test_a_client_certificate_is_shown(self, pki: Path) -> None:
        files = {"cert": str(pki / "client.pem"), "key": str(pki / "client.key")}
        tls = Tls(cacert=str(pki / "ca.pem"), **files)
        with serving(ok, tls=server_context(pki, client_ca=True)) as server:
            assert load(server.target, tls) == 20

    def test_a_missing_client_certificate_is_refused(self, pki: Path) -> None:
        tls = Tls(cacert=str(pki / "ca.pem"))
        with (
            serving(ok, tls=server_context(pki, client_ca=True)) as server,
            pytest.raises(EndpointError, match=r"TLS failed|was lost|was closed|was reset"),
        ):
            load(server.target, tls)

    def test_a_server_without_alpn_is_refused(self, pki: Path) -> None:
        tls = Tls(cacert=str(pki / "ca.pem"))
        with (
            serving(ok, tls=server_context(pki, alpn=False)) as server,
            pytest.raises(EndpointError, match="no h2 in ALPN"),
        ):
            load(server.target, tls)

    def test_a_file_that_is_not_there_is_an_os_error(self, pki: Path) -> None:
        with pytest.raises(OSError, match="No such file"):
            load("https://127.0.0.1:1", Tls(cacert=str(pki / "nothing.pem")))
