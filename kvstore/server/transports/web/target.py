"""What a request asks for: the target of its first line, or `:path` (RFC 9112, section 3.2).

As Go's url.ParseRequestURI takes it: a path, an absolute URL with or without a host, `*`, or behind
CONNECT a bare authority.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

__all__ = ["LONGEST_PATH", "Target", "parse_target"]

LONGEST_PATH: Final = 8192
"""Bytes of a path that may be one of ours; a longer one is left as it is."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_USER: Final = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_HOST: Final = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+(?:%25[^\]]*)?\]"
    r"|(?:[A-Za-z0-9\-._~!$&'()*+,;=<>\"\x80-\xff]|%25|%[89A-Fa-f][0-9A-Fa-f])*)"
    r"(?::[0-9]*)?"
)


class Target(NamedTuple):
    host: str
    """Of an absolute URL or an authority; empty for all others."""
    path: str
    """Decoded, unless it is longer than any that is known; empty when there is none."""
    query: str
    """As it came."""


def parse_target(method: str, text: str) -> Target | None:
    """None when it is no target of a request."""
    if not text or _CONTROL.search(text):
        return None
    if text == "*":
        return Target("", text, "")
    if method == "CONNECT" and text[0] != "/":
        text = "http://" + text
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    rest, _, query = rest.partition("?")
    host = ""
    if rest[:1] != "/":
        return Target("", "", query) if scheme else None
    if scheme and rest.startswith("//"):
        authority, slash, rest = rest[2:].partition("/")
        user, _, host = authority.rpartition("@")
        rest = slash + rest
        if not _USER.fullmatch(user) or not _HOST.fullmatch(host):
            return None
    if _BAD_ESCAPE.search(rest):
        return None
    return Target(host, unquote(rest) if len(rest) <= LONGEST_PATH else rest, query)
