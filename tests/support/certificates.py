"""Certificates for tests: an authority that signs, and files as a server or client wants them.

    authority = Authority(tmp_path, "ca")
    server = authority.issue("server", addresses=["127.0.0.1"])
    client = authority.issue("client", names=["client.test"], common_name="alice")
    crl = authority.revoke(client)

Everything is written into the directory of the authority as PEM and named after its owner.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Authority", "Issued", "client_context"]

_DAY = timedelta(days=1)
_ORGANIZATION = "kvstore tests"


class Issued:
    """A certificate with its key; `cert_file` holds the intermediate authorities, too."""

    def __init__(
        self, path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, rest: str
    ) -> None:
        self.certificate = certificate
        self.cert_file, self.key_file = Path(f"{path}.pem"), Path(f"{path}.key")
        self.cert_file.write_text(pem(certificate) + rest)
        self.key_file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )

    def __repr__(self) -> str:
        return f"<Issued {self.cert_file.stem}>"


class Authority:
    """Signs certificates; signed by itself, or by `parent` and then an intermediate one."""

    def __init__(self, directory: Path, name: str, parent: Authority | None = None) -> None:
        self.directory, self.name = directory, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._rest = ""
        subject = _name(name)
        signer, issuer = (self._key, subject) if parent is None else (parent._key, parent.subject)
        builder = _builder(subject, issuer, self._key, -_DAY, 30 * _DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        self.certificate = builder.sign(signer, hashes.SHA256())
        if parent is not None:
            self._rest = pem(self.certificate) + parent._rest
        self.cert_file = directory / f"{name}.pem"
        self.cert_file.write_text(pem(self.certificate))

    @property
    def subject(self) -> x509.Name:
        return self.certificate.subject

    def issue(
        self,
        name: str,
        *,
        common_name: str = "",
        organization: str = _ORGANIZATION,
        names: Iterable[str] = (),
        addresses: Iterable[str] = (),
        start: timedelta = -_DAY,
        end: timedelta = 10 * _DAY,
        usages: Iterable[x509.ObjectIdentifier] = (
            ExtendedKeyUsageOID.SERVER_AUTH,
            ExtendedKeyUsageOID.CLIENT_AUTH,
        ),
    ) -> Issued:
        """A certificate for `names` (DNS) and `addresses` (IP), valid from now + start to + end."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(common_name, organization), self.subject, key, start, end)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
        known: list[x509.GeneralName] = [x509.DNSName(each) for each in names]
        known += [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
        if known:
            builder = builder.add_extension(x509.SubjectAlternativeName(known), False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Issued(self.directory / name, certificate, key, self._rest)

    def revoke(self, *revoked: x509.Certificate, encoding: Encoding = Encoding.PEM) -> Path:
        """The file of a list with these certificates; the one before is replaced."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.subject)
        builder = builder.last_update(now - _DAY).next_update(now + _DAY)
        for each in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(each.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(now).build())
        path = self.directory / f"{self.name}.crl"
        path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(encoding))
        return path


def client_context(authority: Authority | None, issued: Issued | None = None) -> ssl.SSLContext:
    """How a client connects to 127.0.0.1; without an authority it trusts whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_verify_locations(authority.cert_file)
    if issued is not None:
        context.load_cert_chain(issued.cert_file, issued.key_file)
    return context


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _name(common_name: str, organization: str = _ORGANIZATION) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)]
    if common_name:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    start: timedelta,
    end: timedelta,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
    )
