"""What Go's scanner says of a document that is no JSON, from what Python's decoder says of it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["CUT_OFF", "MARK", "not_json", "syntax_error"]

MARK: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
"""A string, or a bracket that is in none."""
CUT_OFF: Final = "unexpected EOF"


def syntax_error(text: str, error: json.JSONDecodeError) -> str:
    """What Go's scanner says in this place; `text` was decoded with `surrogateescape`."""
    at, kind = min(error.pos, len(text)), error.msg.partition(": ")[0]
    if kind in _TRAILING:  # Python 3.13 is at the comma, those before it and Go at what follows
        at, kind = at + 1, _TRAILING[kind]
    place = _PLACES.get(kind, _VALUE)
    if kind == "Unterminated string starting at":
        at = len(text)
    elif kind == "Invalid control character at":
        pass
    elif kind.startswith("Invalid \\") and (escape := _ESCAPE.match(text, at)):
        at = escape.end()
    else:
        at, place = _between_strings(text, at, place)
    return CUT_OFF if at == len(text) else f"invalid character {_quoted(text[at])} {place}"


def _between_strings(text: str, at: int, place: str) -> tuple[int, str]:
    while text[at : at + 1] in _SPACE:
        at += 1
    if begun := (_SIGN if place is _VALUE else _BEGUN).match(text, at):
        return begun.end(), _NUMBERS[begun[0][0]]
    if place is _VALUE and text[at : at + 1] in ("t", "f", "n"):
        return _literal(text, at)
    if place is _AFTER_PAIR and _is_in_array(text, at):
        return at, "after array element"
    return at, place


def not_json(text: str) -> Any:
    """Python's decoder knows NaN, Infinity and -Infinity, and JSON does not."""
    where = "in numeric literal" if text[0] == "-" else "looking for beginning of value"
    raise ValueError(f"invalid character {_quoted(text.lstrip('-')[0])} {where}")


_VALUE: Final = "looking for beginning of value"
_AFTER_PAIR: Final = "after object key:value pair"
_TRAILING: Final = {
    "Illegal trailing comma before end of object": "Expecting property name enclosed in double "
    "quotes",
    "Illegal trailing comma before end of array": "Expecting value",
}
_PLACES: Final = {
    "Expecting property name enclosed in double quotes": "looking for beginning of object key "
    "string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": _AFTER_PAIR,
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
}
"""Of Python's messages."""
_ESCAPE: Final = re.compile(r"\\|u[0-9a-fA-F]{0,3}")
"""Right so far."""
_MOST_LOOKED_AT: Final = 256 * 1024
"""Characters before an error."""
_SPACE: Final = (" ", "\t", "\r", "\n")
_SIGN: Final = re.compile("-")
_BEGUN: Final = re.compile(r"(?<=[0-9])(?:\.|[eE][+-]?)")
"""A number that goes on: Python's decoder stops in front of it."""
_NUMBERS: Final = {
    "-": "in numeric literal",
    ".": "after decimal point in numeric literal",
    "e": "in exponent of numeric literal",
    "E": "in exponent of numeric literal",
}


def _literal(text: str, at: int) -> tuple[int, str]:
    """Where true, false or null is wrong, and what Go says of the place."""
    word = {"t": "true", "f": "false", "n": "null"}[text[at]]
    right = next(
        length for length in range(1, 5) if text[at : at + length + 1] != word[: length + 1]
    )
    return at + right, f"in literal {word} (expecting '{word[right]}')"


def _is_in_array(text: str, at: int) -> bool:
    """Is the innermost bracket that is open there one of an array? Not told of what is far in."""
    if at > _MOST_LOOKED_AT:
        return False
    opened = [""]
    for mark in MARK.finditer(text, 0, at):
        if mark[0] in "[{":
            opened.append(mark[0])
        elif mark[0] in "]}":
            opened.pop()
    return opened[-1] == "["


def _quoted(character: str) -> str:
    """As Go quotes a byte: what is not ASCII is taken for Latin-1."""
    code = character.encode("utf-8", "surrogateescape")[0]
    if chr(code) in _ESCAPES:
        return f"'{_ESCAPES[chr(code)]}'"
    if chr(code).isprintable():
        return f"'{chr(code)}'"
    return f"'\\x{code:02x}'" if code < 0x80 else f"'\\u{code:04x}'"


_ESCAPES: Final = {
    **{"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t"},
    **{"\v": r"\v", "\\": r"\\", "'": r"\'"},
}
