"""The TLS options: what they mean together, and what cannot be.

Facts: etcd client/pkg/tlsutil (cipher suites and versions), client/pkg/transport/listener.go,
server/embed/etcd.go (schemes).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from kvstore.server.config.model import TlsConfig
from kvstore.server.config.urls import Url
from kvstore.server.config.values import ConfigError

__all__ = ["CIPHER_SUITES", "check_schemes", "read_tls"]

CIPHER_SUITES: Final = frozenset(
    {
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
        "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_256_CBC_SHA",
        "TLS_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_RSA_WITH_RC4_128_SHA",
    }
)
"""Every name that etcd takes, strong or weak."""

_VERSIONS: Final = ("TLS1.2", "TLS1.3")

_TRANSPORTS_WITHOUT_TLS: Final = ("grpcio",)


def read_tls(values: Mapping[str, Any]) -> TlsConfig:
    """The TLS part of the configuration; raises ConfigError for what contradicts itself."""
    low, high = values["tls-min-version"], values["tls-max-version"]
    for version in (low, high):
        if version and version not in _VERSIONS:
            raise ConfigError(f'unexpected TLS version "{version}"')
    if high and low > high:
        raise ConfigError(f"min version ({low}) is greater than max version ({high})")
    suites = values["cipher-suites"]
    if suites and low == "TLS1.3":
        raise ConfigError("cipher suites cannot be configured when only TLS1.3 is enabled")
    for suite in suites:
        if suite not in CIPHER_SUITES:
            raise ConfigError(f'unexpected TLS cipher suite "{suite}"')
    return TlsConfig(
        cert_file=values["cert-file"],
        key_file=values["key-file"],
        trusted_ca_file=values["trusted-ca-file"],
        client_cert_auth=values["client-cert-auth"],
        client_crl_file=values["client-crl-file"],
        client_cert_allowed_hostnames=values["client-cert-allowed-hostname"],
        auto_tls=values["auto-tls"],
        self_signed_cert_validity_years=values["self-signed-cert-validity"] or 1,
        cipher_suites=suites,
        min_version=low or "TLS1.2",
        max_version=high,
    )


def check_schemes(urls: Iterable[Url], tls: TlsConfig, *, transport: str) -> list[str]:
    """Warnings about TLS options that are left unused.

    Raises ConfigError for a secure URL without certificates, or where `transport` has no TLS.
    Whether the files are good is seen when they are loaded (`kvstore.server.tls`).
    """
    urls, warnings = list(urls), []
    if tls.auto_tls and not _has_no_files(tls):
        warnings.append("ignoring --auto-tls since certs given")
    for url in urls:
        if url.is_secure:
            _check_certificates(url, tls)
            if transport in _TRANSPORTS_WITHOUT_TLS:
                raise ConfigError(f"{url}: --transport {transport} serves no TLS, use http or unix")
            continue
        if not _has_no_files(tls):
            warnings.append(
                f"the scheme of client url {url} is plain: key and cert files are ignored"
            )
        if tls.client_cert_auth:
            warnings.append(
                f"the scheme of client url {url} is plain: --client-cert-auth is ignored"
            )
    if not any(url.is_secure for url in urls):
        warnings += [
            f"--{flag} is ignored: no URL to listen on is https or unixs" for flag in _unused(tls)
        ]
    return warnings


def _unused(tls: TlsConfig) -> Iterator[str]:
    """What would protect a secure URL, beside what is told of each plain one."""
    for flag, is_given in (
        ("trusted-ca-file", tls.trusted_ca_file),
        ("client-crl-file", tls.client_crl_file),
        ("client-cert-allowed-hostname", tls.client_cert_allowed_hostnames),
        ("auto-tls", tls.auto_tls and _has_no_files(tls)),
    ):
        if is_given:
            yield flag


def _check_certificates(url: Url, tls: TlsConfig) -> None:
    if _has_no_files(tls) and not tls.auto_tls:
        raise ConfigError(
            "TLS key/cert (--cert-file, --key-file) must be provided for client url "
            f"{url} with HTTPS scheme"
        )
    if bool(tls.cert_file) != bool(tls.key_file):
        raise ConfigError(
            f"KeyFile and CertFile must both be present[key: {tls.key_file}, cert: {tls.cert_file}]"
        )


def _has_no_files(tls: TlsConfig) -> bool:
    return not (tls.cert_file or tls.key_file)
