"""What Go's scanner says of a document that is no JSON, from what Python's decoder says of it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["CUT_OFF", "not_json", "syntax_error"]

CUT_OFF: Final = "unexpected EOF"


def syntax_error(text: str, error: json.JSONDecodeError) -> str:
    """What Go's scanner says in this place."""
    at = min(error.pos, len(text))
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    place = _PLACES.get(error.msg.partition(": ")[0], _VALUE)
    if error.msg.startswith("Unterminated string"):
        at = len(text)
    elif error.msg.startswith("Invalid \\") and (escape := _ESCAPE.match(text, at)):
        at = escape.end()
    elif begun := (_SIGN if place is _VALUE else _BEGUN).match(text, at):
        at, place = begun.end(), _NUMBERS[begun[0][0]]
    elif place is _VALUE and text[at : at + 1] in ("t", "f", "n"):
        at, place = _literal(text, at)
    return CUT_OFF if at == len(text) else f"invalid character {_quoted(text[at])} {place}"


def not_json(text: str) -> Any:
    """Python's decoder knows NaN, Infinity and -Infinity, and JSON does not."""
    where = "in numeric literal" if text[0] == "-" else "looking for beginning of value"
    raise ValueError(f"invalid character {_quoted(text.lstrip('-')[0])} {where}")


_VALUE: Final = "looking for beginning of value"
_PLACES: Final = {
    "Expecting property name enclosed in double quotes": "looking for beginning of object key "
    "string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
}
"""Of Python's messages."""
_ESCAPE: Final = re.compile(r"\\|u[0-9a-fA-F]{0,3}")
"""Right so far."""
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


def _quoted(character: str) -> str:
    if character in "'\\":
        return f"'\\{character}'"
    return "'\"'" if character == '"' else f"'{character}'"
