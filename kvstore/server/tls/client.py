"""What is asked of a client's certificate beyond that a trusted authority signed it.

    --client-crl-file              no certificate that the client sent is listed, by its serial
                                   number alone; the file is read for each client, and when it
                                   cannot be read no client is let in
    --client-cert-allowed-hostname the certificate is valid for one of the names, by Go's rules

Facts: etcd client/pkg/transport/listener_tls.go (checkCRL), Go crypto/x509/verify.go
(VerifyHostname; since Go 1.15 the common name is no host name).
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Iterable
from typing import Any, Final

from cryptography import x509

from kvstore.server.config import ConfigError
from kvstore.server.tls.key_pair import read_file

__all__ = ["check_hostnames", "check_revoked", "common_name", "read_crl"]

_HOSTNAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]+(\.(?!-)[A-Za-z0-9_-]+)*")


def common_name(ssl_object: ssl.SSLObject) -> str:
    """The CN of the verified client certificate; "" without one. The last of several counts."""
    name = ""
    for part in _fields(ssl_object).get("subject", ()):
        for key, value in part:
            if key == "commonName":
                name = value
    return name


def check_hostnames(ssl_object: ssl.SSLObject, allowed: Iterable[str]) -> str | None:
    """Why the certificate is valid for none of `allowed`; None when it is for one."""
    names = _fields(ssl_object).get("subjectAltName", ())
    if any(_is_valid_for(host, names) for host in allowed):
        return None
    return "client certificate authentication failed"


def check_revoked(ssl_object: ssl.SSLObject, crl_file: str) -> str | None:
    """Why a certificate of the client's chain is refused; None when none is listed."""
    try:
        crl = read_crl(crl_file)
    except ConfigError as error:
        return str(error)
    for certificate in _chain(ssl_object):
        serial = x509.load_der_x509_certificate(certificate).serial_number
        if crl.get_revoked_certificate_by_serial_number(serial) is not None:
            return f"certificate serial {serial:x} revoked"
    return None


def read_crl(path: str) -> x509.CertificateRevocationList:
    """The list in a file, PEM or DER. Raises ConfigError. Who signed it, and when, is not asked."""
    content = read_file(path)
    is_pem = content.lstrip().startswith(b"-----BEGIN")
    load = x509.load_pem_x509_crl if is_pem else x509.load_der_x509_crl
    try:
        return load(content)
    except ValueError:
        raise ConfigError(f"x509: malformed crl ({path})") from None


def _fields(ssl_object: ssl.SSLObject) -> dict[str, Any]:
    return ssl_object.getpeercert() or {}


def _chain(ssl_object: ssl.SSLObject) -> list[bytes]:
    """What the client sent, in DER, its own certificate first."""
    own = ssl_object.getpeercert(binary_form=True)
    if own is None:
        return []
    # Public from Python 3.13 on, and before that only on the object underneath. A resumed session
    # of TLS 1.2 has no chain any more, but still the client's own certificate.
    public: Any = getattr(ssl_object, "get_unverified_chain", None)
    if public is not None:
        return [own, *public()]
    inner: Any = ssl_object._sslobj  # type: ignore[attr-defined]
    return [own, *(each.public_bytes(_DER) for each in inner.get_unverified_chain() or ())]


_DER: Final = 2
"""ENCODING_DER of the module underneath `ssl`."""


def _is_valid_for(host: str, names: Iterable[tuple[str, str]]) -> bool:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return any(kind == "DNS" and _matches(name, host) for kind, name in names)
    return any(
        kind == "IP Address" and ipaddress.ip_address(name.strip()) == address
        for kind, name in names
    )


def _matches(pattern: str, host: str) -> bool:
    """Whether a name of a certificate covers `host`: `*` stands for one whole label, the first."""
    pattern, host = pattern.lower(), host.lower()
    absolute = host.removesuffix(".")
    rest = pattern.removeprefix("*.")
    if not (_HOSTNAME.fullmatch(absolute) and _HOSTNAME.fullmatch(rest)):
        return pattern == host and host not in ("", ".")
    if rest == pattern:
        return pattern == absolute
    return rest == absolute.partition(".")[2]
