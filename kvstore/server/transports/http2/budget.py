"""How often a peer may do what costs us more than it costs him."""

from __future__ import annotations

__all__ = ["Budget"]


class Budget:
    """A bucket of `burst` tokens that fills at `per_s` tokens a second."""

    __slots__ = ("_at", "_burst", "_left", "_per_s")

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._left, self._at = burst, 0.0

    def __repr__(self) -> str:
        return f"Budget({self._left:.0f} of {self._burst:.0f}, {self._per_s:.0f}/s)"

    def give(self, tokens: float) -> None:
        """For use that a peer makes of the connection; never above the burst."""
        self._left = min(self._burst, self._left + tokens)

    def spend(self, now: float) -> bool:
        """Take a token; False when there is none. `now` in seconds, never going back."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
