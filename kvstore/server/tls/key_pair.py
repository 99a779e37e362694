"""A certificate with its key in two files, and what is wrong when they cannot be loaded.

Files are replaced under a running server, one after the other: between the two the pair does not
match. `Stamp` tells whether anything changed since the last look, without reading.

Facts: Go crypto/tls (X509KeyPair, whose texts the errors have), etcd client/pkg/tlsutil.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import NamedTuple

from kvstore.server.config import ConfigError

__all__ = ["KeyPair", "Stamp", "read_file"]

Stamp = tuple[tuple[int, int, int], ...]
"""Of each file: when it was changed (ns), its size, its inode."""


class KeyPair(NamedTuple):
    """Paths of PEM files: the certificate with those that vouch for it, and its private key."""

    cert_file: str
    key_file: str

    def stamp(self) -> Stamp | None:
        """What the files look like from outside; None when one of them is not there."""
        try:
            stats = [os.stat(path) for path in self]
        except OSError:
            return None
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def load_into(self, context: ssl.SSLContext) -> None:
        """Give `context` this certificate to show.

        Raises ConfigError with what etcd says about files that are missing, no PEM, or no pair.
        """
        for path, what in zip(self, ("certificate", "key"), strict=True):
            if b"-----BEGIN" not in read_file(path):
                raise ConfigError(f"tls: failed to find any PEM data in {what} input ({path})")
        try:
            # With a password, even an empty one, OpenSSL does not ask for one on the terminal.
            context.load_cert_chain(self.cert_file, self.key_file, password="")
        except (OSError, ValueError) as error:
            shown = f"(cert: {self.cert_file}, key: {self.key_file})"
            raise ConfigError(f"tls: {_describe(error)} {shown}") from None


def read_file(path: str) -> bytes:
    """The content; raises ConfigError as `open FILE: no such file or directory`."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"open {path}: {(error.strerror or str(error)).lower()}") from None


def _describe(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "private key does not match public key"
    if reason == "KEY_TYPE_MISMATCH":
        return "private key type does not match public key type"
    return f"failed to parse certificate or private key: {reason or error}"
