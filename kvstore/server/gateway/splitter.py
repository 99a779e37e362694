"""Cuts a body that arrives bit by bit into its JSON documents, each byte looked at once."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Splitter"]

_MARK: Final = re.compile(rb'["\\{}\[\]]')
_STRING_MARK: Final = re.compile(rb'["\\]')
_SPACE: Final = b" \t\r\n"


class Splitter:
    """Documents are objects or arrays; anything else ends what can be understood.

    A document comes out when its last bracket is there, whether or not it is JSON inside.
    """

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` bounds one document."""
        self._max_bytes = max_bytes
        self._document = bytearray()  # many small pieces would take many times their size
        self._depth = 0
        self._in_string = self._is_escaped = False
        self.is_broken = self.is_too_large = False

    def __repr__(self) -> str:
        return f"Splitter({len(self._document)} bytes of a document, depth {self._depth})"

    def feed(self, data: bytes) -> list[bytes]:
        documents: list[bytes] = []
        start = at = 0
        while not self.is_broken:
            if not self._depth:
                start = at = len(data) - len(data[at:].lstrip(_SPACE))
                if at == len(data):
                    return documents
                if data[at : at + 1] not in (b"{", b"["):
                    self.is_broken = True
                    return documents
            at = self._scan(data, at)
            self._document += data[start:at]
            start = at
            if len(self._document) > self._max_bytes:
                self.is_broken = self.is_too_large = True
            elif not self._depth:
                documents.append(bytes(self._document))
                self._document.clear()
            if at == len(data):
                return documents
        return documents

    def _scan(self, data: bytes, at: int) -> int:
        """The end of the document, or of the data."""
        if self._is_escaped and at < len(data):
            self._is_escaped = False
            at += 1
        while True:
            mark = (_STRING_MARK if self._in_string else _MARK).search(data, at)
            if mark is None:
                return len(data)
            at = mark.end()
            match mark[0]:
                case b'"':
                    self._in_string = not self._in_string
                case b"\\" if self._in_string:
                    self._is_escaped = at == len(data)
                    at += not self._is_escaped
                case b"{" | b"[":
                    self._depth += 1
                case b"}" | b"]":
                    self._depth -= 1
                    if not self._depth:
                        return at
