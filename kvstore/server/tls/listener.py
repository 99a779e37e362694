"""The TLS of a server: one context for all its secure listeners.

The context that a listener was given stays the same; the certificate does not. OpenSSL calls back
once per handshake, before a certificate is chosen; when the files have changed since the last look,
a new context is made of them and this and all later connections go on with it:

    listener ──handshake──▶ context ──callback──▶ files changed? ──▶ connection.context = newest

A pair that cannot be loaded (one of the two files is already new) leaves the last good one in use.
The authorities that client certificates must come from are read once, as etcd does.

Facts: etcd client/pkg/transport/listener.go (baseConfig, ServerConfig).
"""

from __future__ import annotations

import logging
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from kvstore.server.config import ConfigError, TlsConfig, Url
from kvstore.server.tls.ciphers import choose_ciphers
from kvstore.server.tls.key_pair import KeyPair, Stamp, read_file

__all__ = ["ALPN", "ServerTls", "server_tls"]

_log = logging.getLogger(__name__)

ALPN: Final = ("h2", "http/1.1")
"""Protocols in the order of preference; a client that names none or others is still met."""

_VERSIONS: Final = {
    "TLS1.2": ssl.TLSVersion.TLSv1_2,
    "TLS1.3": ssl.TLSVersion.TLSv1_3,
    "": ssl.TLSVersion.MAXIMUM_SUPPORTED,
}


def server_tls(tls: TlsConfig, urls: Iterable[Url], data_dir: str) -> ServerTls:
    """The TLS that the configuration asks for; made before anything listens.

    Args:
        urls: what is listened on; the certificate of --auto-tls is valid for their hosts.
        data_dir: where that certificate is kept; "" for nowhere.

    Raises ConfigError, in one line, for files that are missing, unreadable or do not fit.
    """
    if tls.cert_file or tls.key_file:
        return ServerTls(tls, KeyPair(tls.cert_file, tls.key_file))
    # Only here, because it takes tens of milliseconds and megabytes to import.
    from kvstore.server.tls.self_signed import self_signed

    hosts = [url.host for url in urls if not url.is_unix]
    years = tls.self_signed_cert_validity_years
    if data_dir:
        directory = Path(data_dir, "fixtures", "client")
        return ServerTls(tls, self_signed(directory, hosts, years))
    with tempfile.TemporaryDirectory(prefix="kvstore-tls-") as directory_name:
        pair = self_signed(Path(directory_name), hosts, years)
        return ServerTls(tls, pair, watched=False)


class ServerTls:
    """How clients are met: `context` for the handshake, `refusal` right after it."""

    def __init__(self, tls: TlsConfig, pair: KeyPair, *, watched: bool = True) -> None:
        """Without `watched` the files may be gone afterwards. Raises ConfigError."""
        self._tls, self._pair = tls, pair
        self._authorities = _read_authorities(tls.trusted_ca_file)
        self._crl_file = tls.client_crl_file
        self._allowed = tls.client_cert_allowed_hostnames
        if self._crl_file:
            from kvstore.server.tls.client import read_crl

            read_crl(self._crl_file)
        for name in choose_ciphers(tls.cipher_suites).missing:
            _log.warning("--cipher-suites: OpenSSL does not have %s, it is left out", name)
        self._stamp: Stamp | None = pair.stamp()
        self._failed: Stamp | None = None
        self.context = self._newest = self._make_context()
        if watched:
            self.context.sni_callback = self._swap

    @property
    def asks_for_certificate(self) -> bool:
        """Whether a client must show a certificate of a trusted authority."""
        return bool(self._tls.trusted_ca_file) or self._tls.client_cert_auth

    def refusal(self, ssl_object: ssl.SSLObject) -> str | None:
        """Why the client must not be served although the handshake went well; None to serve it.

        To be asked once, right after the handshake; the connection is then closed without a word.
        """
        if not self.asks_for_certificate or not (self._crl_file or self._allowed):
            return None
        from kvstore.server.tls.client import check_hostnames, check_revoked

        reason = check_hostnames(ssl_object, self._allowed) if self._allowed else None
        if reason is None and self._crl_file:
            reason = check_revoked(ssl_object, self._crl_file)
        return reason

    def common_name(self, ssl_object: ssl.SSLObject) -> str:
        """The CN of the client's verified certificate, "" when there is none."""
        if not self.asks_for_certificate:
            return ""
        from kvstore.server.tls.client import common_name

        return common_name(ssl_object)

    def __repr__(self) -> str:
        asks = ", asks for certificates" if self.asks_for_certificate else ""
        return f"<ServerTls {self._pair.cert_file}{asks}>"

    def _swap(self, ssl_object: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """OpenSSL's callback of a handshake, called with or without a server name."""
        self._reload()
        if self._newest is not context:
            ssl_object.context = self._newest

    def _reload(self) -> None:
        stamp = self._pair.stamp()
        # What could not be loaded is tried again each time: a file that is written in place
        # can change without its stamp changing, but then it was no pair when it was looked at.
        if stamp == self._stamp and self._failed is None:
            return
        try:
            self._newest = self._make_context()
        except ConfigError as error:
            if self._failed != (stamp or ()):
                _log.warning("the last good certificate stays in use: %s", error)
            self._failed = stamp or ()
            return
        _log.info("loaded the certificate again from %s", self._pair.cert_file)
        self._stamp, self._failed = stamp, None

    def _make_context(self) -> ssl.SSLContext:
        tls = self._tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[tls.min_version]
        context.maximum_version = _VERSIONS[tls.max_version]
        context.options |= ssl.OP_NO_RENEGOTIATION
        # A ticket would cost each connection some packets, and clients keep theirs for long.
        context.num_tickets = 0
        context.set_alpn_protocols(ALPN)
        if tls.cipher_suites:
            _set_ciphers(context, tls)
        if self.asks_for_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            # In Go whatever is trusted is a root, signed by another authority or not.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            if self._authorities:
                context.load_verify_locations(cadata=self._authorities)
            else:
                context.set_default_verify_paths()
        self._pair.load_into(context)
        return context


def _set_ciphers(context: ssl.SSLContext, tls: TlsConfig) -> None:
    chosen = choose_ciphers(tls.cipher_suites)
    if chosen.openssl:
        context.set_ciphers(chosen.openssl)
    elif tls.max_version == "TLS1.2":
        raise ConfigError(
            f"--cipher-suites: OpenSSL has none of {','.join(tls.cipher_suites)} for TLS1.2"
        )
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3


def _read_authorities(path: str) -> str:
    """The certificates of --trusted-ca-file as PEM; "" without that option."""
    if not path:
        return ""
    text = read_file(path).decode("ascii", "ignore")
    try:
        probe = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        probe.load_verify_locations(cadata=text)
        if not probe.cert_store_stats()["x509"]:
            raise ValueError
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"--trusted-ca-file {path}: no certificate in it can be read") from None
    return text
