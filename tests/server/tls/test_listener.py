"""Handshakes over sockets: who is served, with what, and what happens when files change."""

from __future__ import annotations

import logging
import os
import shutil
import ssl
import warnings
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from kvstore.server.config import ConfigError, TlsConfig
from kvstore.server.tls import ServerTls, server_tls
from tests.server.tls.conftest import Configure
from tests.server.tls.greeting import greet, serving
from tests.support.certificates import Authority, Issued, client_context


def tls_of(config: TlsConfig) -> ServerTls:
    return server_tls(config, (), "")


def der(issued: Issued) -> bytes:
    return issued.certificate.public_bytes(Encoding.DER)


def copy(source: Issued, target: Issued) -> None:
    """Put the files of one in the place of another, as a renewal does."""
    for name in ("cert_file", "key_file"):
        path: Path = getattr(target, name)
        shutil.copy(getattr(source, name), f"{path}.new")
        os.replace(f"{path}.new", path)


class TestServerCertificate:
    def test_a_client_that_trusts_the_authority_is_served(
        self, authority: Authority, configure: Configure, server_pair: Issued
    ) -> None:
        with serving(tls_of(configure())) as server:
            greeted = greet(server.port, client_context(authority))
            assert greeted.is_served
            assert greeted.certificate == der(server_pair)
            assert greeted.version == "TLSv1.3"
            assert server.seen == ["CN="]

    def test_the_files_are_looked_at_for_each_handshake(
        self, authority: Authority, configure: Configure, server_pair: Issued
    ) -> None:
        with serving(tls_of(configure())) as server:
            context = client_context(authority)
            assert greet(server.port, context).is_served
            renewed = authority.issue("renewed", addresses=["127.0.0.1"])
            copy(renewed, server_pair)
            assert greet(server.port, context).certificate == der(renewed)
            again = authority.issue("again", addresses=["127.0.0.1"])
            copy(again, server_pair)
            assert greet(server.port, context).certificate == der(again)

    def test_a_renewal_does_not_depend_on_a_server_name(
        self, configure: Configure, authority: Authority, server_pair: Issued
    ) -> None:
        with serving(tls_of(configure())) as server:
            renewed = authority.issue("renewed", names=["kv.test"])
            copy(renewed, server_pair)
            for name in ("127.0.0.1", "kv.test"):  # an address is not sent as a server name
                assert greet(server.port, client_context(None), name=name).certificate == (
                    der(renewed)
                )

    def test_half_a_renewal_leaves_the_old_certificate_and_is_logged_once(
        self,
        authority: Authority,
        configure: Configure,
        server_pair: Issued,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with serving(tls_of(configure())) as server:
            context, old = client_context(authority), der(server_pair)
            renewed = authority.issue("renewed", addresses=["127.0.0.1"])
            shutil.copy(renewed.cert_file, server_pair.cert_file)
            with caplog.at_level(logging.WARNING, "kvstore"):
                assert greet(server.port, context).certificate == old
                assert greet(server.port, context).certificate == old
            (record,) = caplog.records
            assert "the last good certificate stays in use: tls: private key" in record.message
            shutil.copy(renewed.key_file, server_pair.key_file)
            assert greet(server.port, context).certificate == der(renewed)

    def test_files_that_are_gone_leave_the_old_certificate(
        self, authority: Authority, configure: Configure, server_pair: Issued
    ) -> None:
        with serving(tls_of(configure())) as server:
            server_pair.key_file.unlink()
            assert greet(server.port, client_context(authority)).is_served


class TestClientCertificate:
    @pytest.mark.parametrize("also", [(), ("--client-cert-auth",)], ids=["ca", "ca-and-auth"])
    def test_a_trusted_authority_makes_it_mandatory(
        self, authority: Authority, configure: Configure, client_pair: Issued, also: tuple[str, ...]
    ) -> None:
        tls = tls_of(configure(f"--trusted-ca-file={authority.cert_file}", *also))
        with serving(tls) as server:
            assert not greet(server.port, client_context(authority)).is_served
            assert greet(server.port, client_context(authority, client_pair)).is_served
            assert server.seen == ["CN=alice"]

    def test_one_of_another_authority_is_refused(
        self, authority: Authority, configure: Configure, tmp_path: Path
    ) -> None:
        stranger = Authority(tmp_path, "other").issue("stranger")
        with serving(tls_of(configure(f"--trusted-ca-file={authority.cert_file}"))) as server:
            assert not greet(server.port, client_context(authority, stranger)).is_served

    def test_client_cert_auth_alone_trusts_the_authorities_of_the_system(
        self, authority: Authority, configure: Configure, client_pair: Issued
    ) -> None:
        with serving(tls_of(configure("--client-cert-auth"))) as server:
            assert not greet(server.port, client_context(authority)).is_served
            assert not greet(server.port, client_context(authority, client_pair)).is_served

    def test_without_an_authority_a_certificate_is_not_looked_at(
        self, authority: Authority, configure: Configure, client_pair: Issued
    ) -> None:
        tls = tls_of(configure("--client-cert-allowed-hostname=other.test"))
        with serving(tls) as server:
            assert greet(server.port, client_context(authority, client_pair)).is_served
            assert server.seen == ["CN="]

    def test_an_intermediate_authority_may_be_the_trusted_one(
        self, authority: Authority, configure: Configure, tmp_path: Path
    ) -> None:
        inner = Authority(tmp_path, "inner", authority)
        issued = inner.issue("deep")
        with serving(tls_of(configure(f"--trusted-ca-file={inner.cert_file}"))) as server:
            assert greet(server.port, client_context(authority, issued)).is_served


class TestRevoked:
    @pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
    def test_a_listed_certificate_is_refused_from_the_next_connection_on(
        self, authority: Authority, configure: Configure, client_pair: Issued, encoding: Encoding
    ) -> None:
        crl = authority.revoke(encoding=encoding)
        tls = configure(f"--trusted-ca-file={authority.cert_file}", f"--client-crl-file={crl}")
        with serving(tls_of(tls)) as server:
            context = client_context(authority, client_pair)
            assert greet(server.port, context).is_served
            authority.revoke(client_pair.certificate, encoding=encoding)
            assert not greet(server.port, context).is_served
            serial = client_pair.certificate.serial_number
            assert server.seen == ["CN=alice", f"certificate serial {serial:x} revoked"]

    def test_so_is_one_whose_authority_is_listed(
        self, authority: Authority, configure: Configure, tmp_path: Path
    ) -> None:
        inner = Authority(tmp_path, "inner", authority)
        crl = authority.revoke(inner.certificate)
        tls = configure(f"--trusted-ca-file={authority.cert_file}", f"--client-crl-file={crl}")
        with serving(tls_of(tls)) as server:
            context = client_context(authority, inner.issue("deep"))
            assert not greet(server.port, context).is_served

    def test_nobody_is_served_while_the_list_cannot_be_read(
        self, authority: Authority, configure: Configure, client_pair: Issued
    ) -> None:
        crl = authority.revoke()
        tls = configure(f"--trusted-ca-file={authority.cert_file}", f"--client-crl-file={crl}")
        with serving(tls_of(tls)) as server:
            crl.unlink()
            assert not greet(server.port, client_context(authority, client_pair)).is_served
            assert server.seen == [f"open {crl}: no such file or directory"]

    def test_a_resumed_session_is_asked_again(
        self, authority: Authority, configure: Configure, client_pair: Issued
    ) -> None:
        crl = authority.revoke()
        tls = configure(
            f"--trusted-ca-file={authority.cert_file}",
            f"--client-crl-file={crl}",
            "--tls-max-version=TLS1.2",
        )
        with serving(tls_of(tls)) as server:
            context = client_context(authority, client_pair)
            first = greet(server.port, context)
            second = greet(server.port, context, session=first.session)
            assert (first.is_served, second.is_served, second.resumed) == (True, True, True)
            authority.revoke(client_pair.certificate)
            assert not greet(server.port, context, session=first.session).is_served


class TestHostname:
    @pytest.mark.parametrize(
        ("allowed", "is_served"),
        [
            ("client.test", True),
            ("CLIENT.test.", True),
            ("other.test,client.test", True),
            ("a.wild.test", True),
            ("wild.test", False),
            ("a.b.wild.test", False),
            ("10.0.0.1", True),
            ("[10.0.0.1]", True),
            ("::1", True),
            ("10.0.0.2", False),
            ("alice", False),
        ],
    )
    def test_the_certificate_must_be_valid_for_one_of_the_names(
        self, authority: Authority, configure: Configure, allowed: str, is_served: bool
    ) -> None:
        issued = authority.issue(
            "named",
            names=["client.test", "*.wild.test"],
            addresses=["10.0.0.1", "::1"],
            common_name="alice",
        )
        tls = configure(
            f"--trusted-ca-file={authority.cert_file}", f"--client-cert-allowed-hostname={allowed}"
        )
        with serving(tls_of(tls)) as server:
            assert greet(server.port, client_context(authority, issued)).is_served == is_served
            refusal = "client certificate authentication failed"
            assert server.seen == ["CN=alice" if is_served else refusal]


class TestVersions:
    def test_tls_1_1_is_refused(self, authority: Authority, configure: Configure) -> None:
        with serving(tls_of(configure())) as server:
            context = client_context(authority)
            context.set_ciphers("DEFAULT@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
            assert not greet(server.port, context).is_served

    def test_the_bounds_hold(self, authority: Authority, configure: Configure) -> None:
        old, new = client_context(authority), client_context(authority)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        new.minimum_version = ssl.TLSVersion.TLSv1_3
        with serving(tls_of(configure("--tls-min-version=TLS1.3"))) as server:
            assert greet(server.port, new).version == "TLSv1.3"
            assert not greet(server.port, old).is_served
        with serving(tls_of(configure("--tls-max-version=TLS1.2"))) as server:
            assert not greet(server.port, new).is_served
            assert greet(server.port, old).version == "TLSv1.2"

    def test_a_renewed_certificate_does_not_change_them(
        self, authority: Authority, configure: Configure, server_pair: Issued
    ) -> None:
        with serving(tls_of(configure("--tls-max-version=TLS1.2"))) as server:
            copy(authority.issue("renewed", addresses=["127.0.0.1"]), server_pair)
            assert greet(server.port, client_context(authority)).version == "TLSv1.2"


class TestCiphers:
    def test_only_the_named_suites_are_spoken(
        self, authority: Authority, configure: Configure
    ) -> None:
        tls = configure(
            "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "--tls-max-version=TLS1.2"
        )
        with serving(tls_of(tls)) as server:
            context = client_context(authority)
            assert greet(server.port, context).cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"
            context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
            assert not greet(server.port, context).is_served

    def test_suites_of_tls_1_3_alone_leave_no_other_version(
        self, authority: Authority, configure: Configure
    ) -> None:
        with serving(tls_of(configure("--cipher-suites=TLS_AES_128_GCM_SHA256"))) as server:
            context = client_context(authority)
            assert greet(server.port, context).version == "TLSv1.3"
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            assert not greet(server.port, context).is_served

    def test_a_suite_that_openssl_lacks_is_named(
        self, configure: Configure, caplog: pytest.LogCaptureFixture
    ) -> None:
        names = "TLS_RSA_WITH_RC4_128_SHA,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
        with caplog.at_level(logging.WARNING, "kvstore"):
            tls_of(configure(f"--cipher-suites={names}"))
        (record,) = caplog.records
        assert "OpenSSL does not have TLS_RSA_WITH_RC4_128_SHA" in record.message

    def test_no_suite_at_all_is_an_error(self, configure: Configure) -> None:
        flags = ["--cipher-suites=TLS_RSA_WITH_RC4_128_SHA", "--tls-max-version=TLS1.2"]
        with pytest.raises(ConfigError, match="OpenSSL has none of TLS_RSA_WITH_RC4_128_SHA for"):
            tls_of(configure(*flags))


class TestAlpn:
    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [
            (["h2"], "h2"),
            (["http/1.1", "h2"], "h2"),
            (["http/1.1"], "http/1.1"),
            (["spdy/1"], None),
            ([], None),
        ],
    )
    def test_h2_goes_first_and_nothing_is_demanded(
        self, authority: Authority, configure: Configure, offered: list[str], chosen: str | None
    ) -> None:
        with serving(tls_of(configure())) as server:
            context = client_context(authority)
            if offered:
                context.set_alpn_protocols(offered)
            greeted = greet(server.port, context)
            assert (greeted.is_served, greeted.alpn) == (True, chosen)


class TestFiles:
    """What a start says about files that cannot be used; the first parts are etcd's words."""

    def refuse(self, config: TlsConfig) -> str:
        with pytest.raises(ConfigError) as caught:
            tls_of(config)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_a_missing_file(self, configure: Configure, server_pair: Issued) -> None:
        server_pair.key_file.unlink()
        path = server_pair.key_file
        assert self.refuse(configure()) == f"open {path}: no such file or directory"

    def test_a_directory(self, configure: Configure, server_pair: Issued) -> None:
        server_pair.cert_file.unlink()
        server_pair.cert_file.mkdir()
        assert self.refuse(configure()) == f"open {server_pair.cert_file}: is a directory"

    @pytest.mark.parametrize("what", ["cert_file", "key_file"])
    def test_a_file_that_is_no_pem(
        self, configure: Configure, server_pair: Issued, what: str
    ) -> None:
        path: Path = getattr(server_pair, what)
        path.write_text("nothing")
        kind = {"cert_file": "certificate", "key_file": "key"}[what]
        text = f"tls: failed to find any PEM data in {kind} input ({path})"
        assert self.refuse(configure()) == text

    def test_a_pem_of_something_else(self, configure: Configure, server_pair: Issued) -> None:
        server_pair.key_file.write_text(server_pair.cert_file.read_text())
        text = self.refuse(configure())
        assert text.startswith("tls: failed to parse certificate or private key: ")

    def test_a_pair_that_is_none(
        self, configure: Configure, server_pair: Issued, client_pair: Issued
    ) -> None:
        shutil.copy(client_pair.key_file, server_pair.key_file)
        text = self.refuse(configure())
        assert text.startswith("tls: private key does not match public key (cert: ")

    def test_authorities(self, configure: Configure, server_pair: Issued, tmp_path: Path) -> None:
        missing = tmp_path / "nowhere.pem"
        assert self.refuse(configure(f"--trusted-ca-file={missing}")) == (
            f"open {missing}: no such file or directory"
        )
        no_certificate = f"--trusted-ca-file={server_pair.key_file}"
        assert self.refuse(configure(no_certificate)).endswith("no certificate in it can be read")

    def test_a_list_of_revoked(
        self, configure: Configure, server_pair: Issued, tmp_path: Path
    ) -> None:
        missing = tmp_path / "nowhere.crl"
        assert self.refuse(configure(f"--client-crl-file={missing}")) == (
            f"open {missing}: no such file or directory"
        )
        text = self.refuse(configure(f"--client-crl-file={server_pair.cert_file}"))
        assert text == f"x509: malformed crl ({server_pair.cert_file})"
