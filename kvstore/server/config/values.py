"""Values as they are written on a command line, in Go's syntax because etcd's flags are Go's.

Every `parse_*` raises ValueError whose text is the reason alone ("parse error"); the reader of a
source puts the name of the option around it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Final

__all__ = [
    "ConfigError",
    "UsageError",
    "format_duration",
    "is_utf8",
    "parse_bool",
    "parse_duration_s",
    "parse_int",
    "parse_strings",
]


class ConfigError(Exception):
    """The configuration cannot be used; str() is one line for whoever started the server."""

    exit_code = 1


class UsageError(ConfigError):
    """The command line itself cannot be read; the usage text belongs behind the line."""

    exit_code = 2


_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})

_INT: Final = re.compile(
    r"[+-]?(0[xX](_?[0-9a-fA-F])+|0[bB](_?[01])+|0[oO]?(_?[0-7])*|[1-9](_?[0-9])*)"
)

_UNIT_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DURATION_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_MAX_DURATION_NS: Final = 2**63 - 1


def parse_bool(text: str) -> bool:
    """One of Go's spellings: 1 t T TRUE true True, 0 f F FALSE false False."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("parse error")


def parse_int(text: str, lowest: int, highest: int) -> int:
    """A whole number in decimal, 0x, 0o, 0b or leading-zero octal, within [lowest, highest]."""
    if _INT.fullmatch(text) is None or (lowest == 0 and text[:1] in "+-"):
        raise ValueError("parse error")
    digits = text.lstrip("+-").replace("_", "").lower()
    if len(digits) > 1 and digits[0] == "0" and digits[1] not in "xbo":
        digits = "0o" + digits[1:]
    number = int(digits, 0) * (-1 if text.startswith("-") else 1)
    if not lowest <= number <= highest:
        raise ValueError("value out of range")
    return number


def parse_duration_s(text: str) -> float:
    """Seconds of a Go duration: `10m`, `1h30m`, `500ms`, `1.5s`, `0`; a number needs its unit."""
    if text in ("0", "+0", "-0"):
        return 0.0
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    parts = _DURATION_PART.findall(unsigned)
    if not parts or "".join(number + unit for number, unit in parts) != unsigned:
        raise ValueError("parse error")
    total_ns = int(sum(Fraction(Decimal(number)) * _UNIT_NS[unit] for number, unit in parts))
    if total_ns > _MAX_DURATION_NS:
        raise ValueError("value out of range")
    return (-total_ns if text.startswith("-") else total_ns) / 1_000_000_000


def format_duration(seconds: float) -> str:
    """A short Go duration: 600.0 is `10m`, 5400.0 is `1h30m`, 0.5 is `500ms`."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    left_ns = round(seconds * 1_000_000_000)
    if left_ns == 0:
        return "0s"
    text = ""
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, left_ns = divmod(left_ns, _UNIT_NS[unit])
        if count:
            text += f"{count}{unit}"
    return text


def parse_strings(text: str) -> tuple[str, ...]:
    """The parts of a comma separated list, in order, without empty ones."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def is_utf8(text: str) -> bool:
    """Was it text, or bytes that Python keeps as halves of surrogate pairs?"""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
