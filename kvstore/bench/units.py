"""How numbers are shown to people: times in the unit that fits, and counts of things."""

from __future__ import annotations

__all__ = ["counted", "duration", "has_enough"]


def duration(seconds: float) -> str:
    """Three digits and their unit: `456 µs`, `12.3 ms`, `1.20 s`."""
    if seconds <= 0:
        return "0"
    value_us = seconds * 1e6
    if value_us < 999.5:
        return f"{_three(value_us)} µs"
    if value_us < 999_500:
        return f"{_three(value_us / 1e3)} ms"
    return f"{_three(seconds)} s"


def _three(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def counted(number: int, what: str, plural: str = "") -> str:
    """`1 client`, `2 clients`; with `plural` if an s is not enough."""
    return f"{number:,} {what if number == 1 else plural or what + 's'}"


def has_enough(count: int, share: float) -> bool:
    """Is the quantile at `share` more than the slowest by another name? 99 % needs 100 samples,
    99.9 % needs 1,000."""
    return share < 0.9 or count >= round(1 / (1 - share))
