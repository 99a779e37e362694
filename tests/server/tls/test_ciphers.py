"""The names of cipher suites."""

from __future__ import annotations

from kvstore.server.config.tls import CIPHER_SUITES
from kvstore.server.tls.ciphers import OPENSSL_NAMES, choose_ciphers


class TestNames:
    def test_every_suite_that_is_accepted_has_one_or_is_of_tls_1_3(self) -> None:
        new = {
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
        }
        assert set(OPENSSL_NAMES) | new == CIPHER_SUITES


class TestChoice:
    def test_order_is_kept_and_nothing_is_said_twice(self) -> None:
        names = [
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_AES_128_GCM_SHA256",
        ]
        assert choose_ciphers(names) == (
            "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256",
            (),
        )

    def test_what_openssl_lacks_is_left_out(self) -> None:
        weak = "TLS_ECDHE_RSA_WITH_RC4_128_SHA"
        assert choose_ciphers([weak]) == ("", (weak,))
