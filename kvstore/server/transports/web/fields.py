"""Header fields that the server itself adds to an answer, whichever version of HTTP carries it."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Final

__all__ = ["PLAIN", "date"]

PLAIN: Final = ("Content-Type", "text/plain; charset=utf-8")
"""Of a body whose type the site did not set."""
_date_at = 0
_date_text = ""


def date() -> str:
    """Now, as a Date field; made once a second."""
    global _date_at, _date_text
    now = int(time.time())
    if now != _date_at:
        _date_at, _date_text = now, formatdate(now, usegmt=True)
    return _date_text
