"""The certificate of --auto-tls: made once, kept beside the data, shown until it expires.

It lies where etcd has it, in `fixtures/client/` of the data directory. A pair that does not load or
is no longer valid is made anew; etcd goes on to show it. Nobody vouches for it, so clients must
skip the verification or trust this one certificate.

Facts: etcd client/pkg/transport/listener.go (SelfCert).
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kvstore.backend.directory import make_directory
from kvstore.server.config import ConfigError
from kvstore.server.tls.key_pair import KeyPair

__all__ = ["self_signed"]

_log = logging.getLogger(__name__)

_YEAR = timedelta(days=365)


def self_signed(directory: Path, hosts: Iterable[str], validity_years: int) -> KeyPair:
    """The pair `cert.pem` and `key.pem` in `directory`, made now unless a good one is there.

    Args:
        hosts: names and addresses that a new certificate is valid for.
        validity_years: of 365 days each, at least 1.

    Raises ConfigError when the directory or the files cannot be written.
    """
    hosts = tuple(dict.fromkeys(hosts)) or ("localhost",)
    shown = ", ".join(hosts)
    pair = KeyPair(str(directory / "cert.pem"), str(directory / "key.pem"))
    if _is_good(pair):
        return pair
    try:
        make_directory(directory)
        until = _write(pair, hosts, validity_years)
    except OSError as error:
        raise ConfigError(
            f"--auto-tls: {error.filename or directory}: {error.strerror or error}"
        ) from None
    _log.warning("made a self-signed certificate for %s, valid until %s", shown, until.date())
    return pair


def _is_good(pair: KeyPair) -> bool:
    if pair.stamp() is None:
        return False
    try:
        pair.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    except ConfigError as error:
        _log.warning("the self-signed certificate is made again: %s", error)
        return False
    certificate = x509.load_pem_x509_certificate(Path(pair.cert_file).read_bytes())
    return certificate.not_valid_before_utc <= datetime.now(UTC) < certificate.not_valid_after_utc


def _write(pair: KeyPair, hosts: Iterable[str], validity_years: int) -> datetime:
    """Write both files; returns until when the certificate is valid."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "kvstore")])
    now = datetime.now(UTC)
    until = _after(now, validity_years)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=True,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _replace(pair.key_file, secret, 0o600)
    _replace(pair.cert_file, certificate.public_bytes(Encoding.PEM), 0o644)
    return until


def _after(now: datetime, years: int) -> datetime:
    try:
        return now + years * _YEAR
    except OverflowError:
        return datetime(9999, 12, 31, tzinfo=UTC)


def _names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _replace(path: str, content: bytes, mode: int) -> None:
    """Write a file so that it is there as a whole or not at all, whatever the umask."""
    fresh = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
    os.replace(fresh, path)
